"""What several resources take or return."""

from collections.abc import ItemsView, Iterable, KeysView, Set
from enum import Enum
from typing import Any

import attrs

from .._late import load

_fields: Any = attrs.fields  # whose own type wants to know that the class is one of attrs


class Value:
    """What is shown, compared and hashed by its fields.

    attrs would write these three methods for each class anew, which takes more than all else of making a class.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown = [f"{each.name}={getattr(self, each.name)!r}" for each in _fields(type(self)) if each.repr]
        return f"{type(self).__qualname__.rpartition('.')[2]}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value) or type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), *self._compared()))

    def _compared(self) -> tuple[object, ...]:
        fields = [(each, getattr(self, each.name)) for each in _fields(type(self)) if each.eq]
        return tuple([value if each.eq_key is None else each.eq_key(value) for each, value in fields])


class Model(Value):
    """The base of all models, by which `to_dict` and `from_dict` know them. Pydantic takes them as types of fields."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return load("omi_async.models.schemas").schema(source, handler)


def kept(values: Iterable[str] | None) -> Any:
    """The texts as a tuple, so that every use of a model finds the same ones: a generator gives them only once.

    A set, which has another order in each process, is sorted. What is no collection of texts is left to the checks.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        return values
    if isinstance(values, Set) and not isinstance(values, (KeysView, ItemsView)):
        return tuple(sorted(values, key=str))
    return tuple(values)


class Clear(Enum):
    """The type of `CLEAR`."""

    CLEAR = "CLEAR"

    def __repr__(self) -> str:
        return self.value


CLEAR = Clear.CLEAR
"""Takes a value away, where an update can do that. None leaves a value as it is."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Deletion(Model):
    """A record is gone."""

    id: str
    confirmed: bool
    """True: the server said that it deleted the record. False: an attempt stayed unanswered and the next one found
    nothing. The record is gone; who removed it, or whether it ever existed, cannot be known."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class RawResponse(Model):
    """A success as it came, of an operation that has no method of its own."""

    status: int
    headers: dict[str, str] = attrs.field(repr=False)
    """By names in lower case; several values of one name are joined by commas."""
    json: Any = attrs.field(repr=False)
    """The decoded body; None where it was empty."""
