"""What a bulk job reports: the outcome of each item, and how far the job is."""

from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

import attrs

from ..errors import OmiError, to_plain
from .shared import Model

R = TypeVar("R")


class BulkStatus(StrEnum):
    """How an item ended."""

    DONE = "done"
    """The server confirmed it."""
    UNCONFIRMED = "unconfirmed"
    """A record is gone, but no answer said that this job removed it; see `Deletion.confirmed`."""
    FAILED = "failed"
    """Certainly not applied; `BulkOutcome.error` says why."""
    UNKNOWN = "unknown"
    """May or may not have been applied."""


def _by_value(error: OmiError | None) -> object:
    """What two outcomes compare of their errors, which by themselves are equal to nothing else."""
    return error and repr(to_plain(error))


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BulkOutcome(Model, Generic[R]):
    """How one item ended; `result` and `error` are None if there is none."""

    id: str
    status: BulkStatus
    result: R | None = None
    error: OmiError | None = attrs.field(default=None, eq=_by_value)
    attempts: int = 0


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BulkProgress(Model):
    """How far a job is. The counts include what earlier runs with the same journal had settled."""

    done: int
    unconfirmed: int
    failed: int
    unknown: int
    resumed: int
    """How many of these an earlier run had settled."""
    total: int | None
    """Items in all, if the input tells its length."""
    rate: float
    """Items an hour: by the server's window once it is known, otherwise as measured in this run."""
    waiting_until: datetime | None
    """When the server's window opens again, while the job waits for it."""
    estimated_end: datetime | None

    @property
    def settled(self) -> int:
        """Items that were reported, in this run or an earlier one."""
        return self.done + self.unconfirmed + self.failed + self.unknown
