"""What pydantic is told of models: their fields, which it reads, writes and describes by its own rules."""

from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import attrs

from ..errors import OmiError, from_plain, to_plain

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


def schema(model: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
    """Return the schema of a model, or of one with parameters."""
    from pydantic_core import core_schema

    cls = get_origin(model) or model
    if getattr(cls, "__parameters__", None) and not get_args(model):
        raise TypeError(f"{cls.__name__} must name the class of the result: {cls.__name__}[...]")
    names = [field.name for field in attrs.fields(cls)]
    fields = core_schema.typed_dict_schema(
        {
            field.name: core_schema.typed_dict_field(
                handler.generate_schema(_in_words_of_pydantic(_in_place(field.type, model))),
                required=field.default is attrs.NOTHING,
            )
            for field in attrs.fields(cls)
        }
    )
    made = core_schema.no_info_after_validator_function(lambda values: cls(**values), fields)
    return core_schema.json_or_python_schema(
        json_schema=made,
        python_schema=core_schema.no_info_wrap_validator_function(
            lambda value, read: value if isinstance(value, cls) else read(value), made
        ),
        # It hands its fields on, so that `include` and `exclude` hold within it.
        serialization=core_schema.wrap_serializer_function_ser_schema(
            lambda value, write: write(
                {name: getattr(value, name) for name in names} if isinstance(value, cls) else value
            ),
            schema=fields,
        ),
        # Under this name all fields of the model's type share one description of it.
        ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}" if model is cls else None,
    )


def _in_place(kind: Any, model: Any) -> Any:
    """A field's type with the model's parameters in place."""
    parameters = get_args(model)
    return kind[parameters] if parameters and getattr(kind, "__parameters__", ()) else kind


def _in_words_of_pydantic(kind: Any) -> Any:
    """A field's type as pydantic has to be told it."""
    from pydantic import AwareDatetime, Field, PlainSerializer, PlainValidator

    if isinstance(kind, type) and issubclass(kind, datetime):
        return AwareDatetime
    if kind is OmiError:
        read = PlainValidator(lambda value: value if isinstance(value, OmiError) else from_plain(value))
        return Annotated[Any, read, PlainSerializer(to_plain, return_type=dict[str, Any])]
    if get_origin(kind) not in (Union, UnionType):
        return kind
    kinds = get_args(kind)
    words: Any = Union[tuple(map(_in_words_of_pydantic, kinds))]  # noqa: UP007 - made of any number
    is_open_enum = str in kinds and any(isinstance(each, type) and issubclass(each, StrEnum) for each in kinds)
    # A known value becomes the member, in Python as in JSON.
    return Annotated[words, Field(union_mode="left_to_right")] if is_open_enum else words
