"""How the project states what it believes of the endpoints that it wraps; `stated` has them, one file a resource.

Answers are read off the models, so that a wrong model is a wrong statement; requests are written out.
"""

import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Schema:
    """A JSON value: its types, and what else a JSON Schema says of it."""

    types: frozenset[str]
    """Names of JSON Schema, among them "null"; empty: any value."""
    limits: Mapping[str, object] = attrs.field(factory=dict)
    """format, minLength, maximum and every other keyword that is not named here."""
    values: tuple[object, ...] | None = None
    """Those of an enum."""
    items: "Schema | None" = None
    """Of an array."""
    fields: "Mapping[str, Field] | None" = None
    """Of an object."""
    name: str | None = attrs.field(default=None, eq=False)
    """What differences call it; a document may call it otherwise."""


@attrs.frozen
class Field:
    """A field of an object, a parameter, or a body."""

    schema: Schema
    required: bool = False
    default: object = attrs.field(default=None, kw_only=True)
    """None where there is none; a default of null says no more than that the field is optional."""


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    parameters: Mapping[tuple[str, str], Field] = attrs.field(factory=dict)
    """By place ("path", "query", ...) and name."""
    body: Field | None = None
    answers: Mapping[str, Schema | None]
    """By status, those that mean success; None where there is no body."""
    security: str = "http bearer"
    deprecated: bool = False


@attrs.frozen
class Call:
    """The method that makes an operation's requests, as `memories.update`."""

    method: str
    renamed: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    """Parameter or body field -> argument, where the names differ."""
    filled: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    """Parameters that the method itself fills in."""
    own: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    """Arguments that are not sent."""


# Answers: out of the models

_LEAVES: dict[object, Schema] = {
    str: Schema(types=frozenset({"string"})),
    bool: Schema(types=frozenset({"boolean"})),
    int: Schema(types=frozenset({"integer"})),
    float: Schema(types=frozenset({"number"})),
    datetime: Schema(types=frozenset({"string"}), limits={"format": "date-time"}),
    Any: Schema(types=frozenset()),
}


def read_off(hint: Any) -> Schema:
    """The JSON that becomes a value of this type."""
    if hint in _LEAVES:
        return _LEAVES[hint]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else ()
    if type(None) in kinds:
        (member, *others) = [each for each in kinds if each is not type(None)]
        return nullable(read_off(member | others[0] if others else member))
    enums = [each for each in kinds if issubclass(each, StrEnum)]
    if enums:  # open: what the model takes besides is a matter of older clients, not of the contract
        return Schema(types=frozenset({"string"}), values=tuple(enums[0]))
    if typing.get_origin(hint) is tuple:
        return array(read_off(typing.get_args(hint)[0]))
    hints = typing.get_type_hints(hint)
    fields = {each.name: Field(read_off(hints[each.name]), **_optional(each.default)) for each in attrs.fields(hint)}
    return attrs.evolve(an_object(fields), name=hint.__name__)


def _optional(default: Any) -> dict[str, Any]:
    if default is attrs.NOTHING:
        return {"required": True}
    return {} if default is None else {"default": list(default) if isinstance(default, tuple) else default}


# Requests: by hand


def nullable(schema: Schema) -> Schema:
    return attrs.evolve(schema, types=schema.types | {"null"})


def array(items: Schema, **limits: object) -> Schema:
    return Schema(types=frozenset({"array"}), items=items, limits=limits)


def an_object(fields: Mapping[str, Field]) -> Schema:
    return Schema(types=frozenset({"object"}), fields=fields)


def text(**limits: object) -> Schema:
    return Schema(types=frozenset({"string"}), limits=limits)


def body(fields: Mapping[str, Field]) -> Field:
    return Field(an_object(fields), required=True)


FLAG = read_off(bool)
TIME = read_off(datetime)
NUMBER = read_off(float)
INTEGER = read_off(int)

SUCCESS = an_object({"success": Field(FLAG, required=True)})
"""Not read off `Deletion`: that says what became of the record, whatever the answer was."""


def in_path(name: str) -> Mapping[tuple[str, str], Field]:
    return {("path", name): Field(text(), required=True)}


def limited(schema: Schema, minimum: float, maximum: float | None = None) -> Schema:
    return attrs.evolve(schema, limits={"minimum": minimum, **({} if maximum is None else {"maximum": maximum})})
