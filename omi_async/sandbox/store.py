"""Records of one kind: a dictionary by id, and what the resources have in common in reading it."""

import copy
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import attrs

from omi_async.sandbox.replies import Kind, ReplyError

_logger = logging.getLogger("omi_async.sandbox")

_IMPOSSIBLE_ID = re.compile(r"\.|\.\.|__[\s\S]*__")
_LONGEST_ID = 1500


class Record(Protocol):
    """What is stored: anything with an id."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Store(Generic[R]):
    """The records of one *kind*, beginning with *given*.

    `records` belongs to the user of the sandbox, who may change it from another thread. With *lenient*, lists
    leave out what cannot be sent; otherwise it breaks them. Raises ValueError for an id that comes twice,
    which names *argument*.
    """

    def __init__(self, given: Iterable[R], kind: Kind, argument: str, *, lenient: bool) -> None:
        self.records: dict[str, R] = {}
        self.deleted: set[str] = set()
        """The ids of what requests have deleted."""
        self.kind = kind
        self._lenient = lenient
        for record in given:
            if record.id in self.records:
                raise ValueError(f"{argument} has the id {record.id!r} twice")
            self.records[record.id] = record
        # Deep copies, because what a record holds may be changed in place.
        self._beginning = copy.deepcopy(self.records)

    def reset(self) -> None:
        """Hold again what was given in the beginning."""
        self.replace(copy.deepcopy(self._beginning).values())

    def replace(self, records: Iterable[R]) -> None:
        """Hold *records* and nothing else, not even what was deleted."""
        self.deleted.clear()
        self.records.clear()
        self.records.update({record.id: record for record in records})

    def all(self) -> list[R]:
        """Return the records of this moment, in the dictionary's order."""
        return list(self.records.values())

    def get(self, record_id: str) -> R | None:
        """Return the record with *record_id*, or None.

        Raises ValueError for an id that the real server's database refuses: a 500 there as well.
        """
        if _IMPOSSIBLE_ID.fullmatch(record_id) or len(record_id.encode()) > _LONGEST_ID:
            raise ValueError("no record can have this id")
        return self.records.get(record_id)

    def find(self, record_id: str) -> R:
        """Return the record with *record_id*, or raise `ReplyError` with the 404."""
        record = self.get(record_id)
        if record is None:
            raise ReplyError(self.kind.missing())
        return record

    def put(self, record: R) -> R:
        """Store *record*, in the place of an older one with its id, and return it."""
        self.records[record.id] = record
        return record

    def delete(self, record_id: str) -> None:
        """Forget the record with *record_id*, but for its id."""
        self.records.pop(record_id, None)
        self.deleted.add(record_id)

    def rows(self, records: Iterable[R], show: Callable[[R], object]) -> list[object]:
        """Return each of *records* as *show* gives it, without those that cannot be shown."""
        rows: list[object] = []
        for record in records:
            try:
                rows.append(show(record))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                if not self._lenient:
                    raise
                # The error's own words may be the user's.
                _logger.warning("The sandbox cannot list %s: %s", record.id, type(error).__name__)
        return rows


class Row(Protocol):
    """A record that may be said to be unreadable."""

    @property
    def unreadable(self) -> bool: ...


def check_readable(record: Row) -> None:
    """Raise ValueError if *record* stands for one that the server cannot send."""
    if record.unreadable:
        raise ValueError("the record is unreadable")


def slice_2026_05(rows: list[T], offset: int, limit: int) -> list[T]:
    """Return a page as the server of May 2026 cuts it.

    Its database takes a limit of 0 for none. Raises ValueError for numbers below zero, which break that server.
    """
    if offset < 0 or limit < 0:
        raise ValueError("a page begins and ends at zero or later")
    return rows[offset : offset + limit] if limit else rows[offset:]


def check_aware(_: object, attribute: "attrs.Attribute[Any]", value: datetime | None) -> None:
    """Refuse a time without a zone; a validator of attrs."""
    if value is not None and value.utcoffset() is None:
        raise ValueError(f"{attribute.name} must be a datetime with a time zone")


def wire_time(value: datetime | str | None) -> str | None:
    """Return a time as the server sends it; text is sent as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def in_some_zone(time: datetime) -> datetime:
    """Return *time*, in UTC where it names no zone: so does the real server's database read it."""
    return time.replace(tzinfo=UTC) if time.utcoffset() is None else time


def stored_time(time: datetime) -> datetime:
    """Return *time* as the database keeps it; raises OverflowError for one that has no name in UTC."""
    return in_some_zone(time).astimezone(UTC)
