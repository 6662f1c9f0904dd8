"""The usual requests of a collection of records: one page, get, create, update, delete."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from ..models.shared import Deletion
from . import arguments
from .convert import Unreadable, encode, parse_carefully
from .meaning import checked, done, structured, unreadable
from .request import Answer, Effect, Request, window

T = TypeVar("T")


@attrs.frozen(eq=False, repr=False)
class Page(Generic[T]):
    """One page of a list."""

    rows: tuple[T, ...]
    truncated: bool = attrs.field(kw_only=True)
    """The server says that it gave less than it has."""


@attrs.frozen(eq=False, repr=False)
class Collection(Generic[T]):
    """Records of one kind, and where the API keeps them."""

    name: str
    """As the client's attribute: `memories`."""
    path: str
    record: str
    """As the API's words for one: `Memory`."""
    model: type[T]

    reads: str = attrs.field(
        kw_only=True, default=attrs.Factory(lambda self: window("GET", self.path), takes_self=True)
    )
    """The rate window of reads."""
    needs_grant: bool = attrs.field(kw_only=True, default=False)
    """Its keys need a grant beside their scope."""
    writes: str = attrs.field(
        init=False, default=attrs.Factory(lambda self: window("POST", self.path), takes_self=True)
    )
    """The rate window of writes."""
    missing: str = attrs.field(
        init=False, default=attrs.Factory(lambda self: f"{self.record} not found", takes_self=True)
    )
    """What the API says of a record that does not exist."""

    def of(self, record_id: str) -> str:
        """The path of one record; `record_id` has been checked."""
        return f"{self.path}/{record_id}"

    def page(self, filters: Mapping[str, str], size: int, offset: int) -> Request[Page[T]]:
        """One page of a list."""
        query = arguments.query({**filters, "limit": str(size), "offset": str(offset)})
        return self.read("list", self.path + query, page(rows(self.model)))

    def get(self, record_id: str, query: str = "") -> Request[T]:
        """One record by its id."""
        return self.read("get", self.of(record_id) + query, record(self.model, record_id), missing=self.missing)

    def read(
        self, verb: str, path: str, decode: Callable[[Answer], Any], *, missing: str | None = None
    ) -> Request[Any]:
        """Any read of the collection."""
        return Request(
            f"{self.name}.{verb}",
            "GET",
            path,
            decode,
            (self.reads,),
            effect="none",
            missing=missing,
            needs_grant=self.needs_grant,
        )

    def create(self, fields: Mapping[str, object], *, effect: Effect = "once") -> Request[T]:
        """Make a record."""
        return self.write("create", self.path, fields, value(self.model), effect=effect)

    def write(
        self, verb: str, path: str, fields: Mapping[str, object], decode: Callable[[Answer], Any], *, effect: Effect
    ) -> Request[Any]:
        """Any POST of the collection."""
        return Request(
            f"{self.name}.{verb}",
            "POST",
            path,
            decode,
            (self.writes,),
            encode(fields),
            effect,
            needs_grant=self.needs_grant,
        )

    def update(
        self,
        record_id: str,
        fields: Mapping[str, object],
        *,
        cleared: Iterable[str] = (),
        may_change_id: bool = False,
    ) -> Request[T]:
        """Change fields of a record. `cleared` names what the answer must show as None, as `due_at` or `metric.min`.

        Where the change may give the record a new id, an answer with another one is not asked for again.
        """
        return Request(
            f"{self.name}.update",
            "PATCH",
            self.of(record_id),
            record(self.model, record_id, tuple(cleared), may_change_id=may_change_id),
            (self.writes,),
            encode(fields),
            missing=self.missing,
            may_change_id=may_change_id,
            needs_grant=self.needs_grant,
        )

    def delete(self, record_id: str) -> Request[Deletion]:
        """Remove a record."""
        return Request(
            f"{self.name}.delete",
            "DELETE",
            self.of(record_id),
            functools.partial(_deletion, record_id),
            (self.writes,),
            missing=self.missing,
            needs_grant=self.needs_grant,
            result_if_missing=functools.partial(Deletion, id=record_id, confirmed=False),
        )


# Readers of answers


def value(model: type[T]) -> Callable[[Answer], T]:
    """Read one value."""
    return functools.partial(_value, model)


def record(
    model: type[T], record_id: str, cleared: tuple[str, ...] = (), *, may_change_id: bool = False
) -> Callable[[Answer], T]:
    """Read the record that was asked for, and no other, with nothing left of what was to be cleared."""
    return functools.partial(_record, model, record_id, cleared, may_change_id)


def rows(model: type[T]) -> Callable[[Answer], tuple[T, ...]]:
    """Read an array of records."""
    return functools.partial(_value, tuple[model, ...])  # type: ignore[valid-type]  # known when it runs


def page(rows: Callable[[Answer], tuple[T, ...]]) -> Callable[[Answer], Page[T]]:
    """Read a page, whose records `rows` finds in the answer."""
    return functools.partial(_page, rows)


def part(model: type[Any], name: str, *, count: int | None = None) -> Callable[[Answer], Any]:
    """Read the records in one field of an object; `count` of them, where that is known."""
    return functools.partial(_part, model, name, count)


def _value(model: Any, answer: Answer) -> Any:
    return structured(answer, model)


def _page(rows: Callable[[Answer], tuple[T, ...]], answer: Answer) -> Page[T]:
    return Page(rows(answer), truncated=answer.headers.get("X-Omi-List-Truncated", "").lower() == "true")


def _part(model: Any, name: str, count: int | None, answer: Answer) -> Any:
    found = getattr(structured(answer, model), name)
    if count is not None and len(found) != count:
        raise unreadable(
            answer, f"the server answered {len(found)} records for {count}.", path=f"$.{name}", retryable=False
        )
    return found


def _record(model: Any, record_id: str, cleared: tuple[str, ...], may_change_id: bool, answer: Answer) -> Any:
    found = structured(answer, model)
    if found.id != record_id:
        raise unreadable(
            answer,
            "the server answered with another record than the one asked for.",
            path="$.id",
            retryable=not may_change_id,
        )
    for name in cleared:
        left = functools.reduce(lambda value, part: getattr(value, part, None), name.split("."), found)
        if left is not None:
            raise unreadable(
                answer, "the server did not clear what was to be cleared.", path=f"$.{name}", retryable=False
            )
    return found


def _deletion(record_id: str, answer: Answer) -> Deletion:
    # The API answered an empty 204 for a while. An empty body with any other status is not its answer.
    done(answer, 200, 204)
    if answer.body or answer.status != 204:
        success = checked(answer, _success, parse_carefully)
        if not success:
            raise unreadable(
                answer,
                f"the server answered {answer.status} but denies success.",
                path="$.success",
                retryable=False,
            )
    return Deletion(id=record_id, confirmed=True)


def _success(document: Any) -> bool:
    if type(document) is not dict:
        raise Unreadable("not an object")
    success = document.get("success")
    if type(success) is not bool:
        raise Unreadable("not a boolean" if "success" in document else "missing", "$.success")
    return success
