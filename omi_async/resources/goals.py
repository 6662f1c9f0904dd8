"""The goals resource: the requests it builds, and one short method for each operation."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from .._protocol import arguments
from .._protocol.arguments import LARGEST_INTEGER, refused
from .._protocol.collection import Collection, record, rows
from .._protocol.request import Request, builder
from ..models.goals import Goal, GoalHistoryEntry, GoalType
from ..models.shared import CLEAR, Clear, Deletion
from ..retry import Retrier, RetryPolicy, Timeout

_GOALS = Collection("goals", "/v1/dev/user/goals", "Goal", Goal)

_TITLE_LENGTH = 500  # characters
_TEXT_LENGTH = 2000  # characters
_MOST_CRITERIA = 20
_UNIT_LENGTH = 64  # characters; of a longer one the server fails
_LONGEST_HISTORY = 365  # days

# Of more goals than it is asked for, the server does not say which it leaves out. So all are asked for.
_ALL = 1000

_CLEARED = {
    "why_it_matters": "why_it_matters",
    "horizon_at": "horizon_at",
    "unit": "unit",
    "min_value": "metric.min",
    "max_value": "metric.max",
}
"""Where an answer shows that a field was cleared."""


# Requests


@builder
def list_goals(include_inactive: bool) -> Request[tuple[Goal, ...]]:
    """Build the request of `list`."""
    asked = {"limit": str(_ALL)}
    if arguments.flag(include_inactive, "include_inactive"):
        asked["include_inactive"] = "true"
    return _GOALS.read("list", _GOALS.path + arguments.query(asked), rows(Goal))


@builder
def get_goal(goal_id: str) -> Request[Goal]:
    """Build the request of `get`."""
    return _GOALS.get(arguments.identifier(goal_id, "goal_id"))


@builder
def create_goal(
    title: str,
    desired_outcome: str | None,
    why_it_matters: str | None,
    success_criteria: Iterable[str],
    horizon_at: datetime | None,
    goal_type: GoalType | str | None,
    target_value: float | None,
    current_value: float | None,
    min_value: float | None,
    max_value: float | None,
    unit: str | None,
) -> Request[Goal]:
    """Build the request of `create`."""
    metric = _metric(arguments.optional, target_value, current_value, min_value, max_value, unit)
    if metric and target_value is None and goal_type is None:
        raise refused(f"target_value or goal_type must be given with {', '.join(metric)}, which the server drops else.")
    fields = {
        "title": _title(title, "title"),
        "desired_outcome": arguments.optional(_long, desired_outcome, "desired_outcome"),
        "why_it_matters": arguments.optional(_long, why_it_matters, "why_it_matters"),
        "success_criteria": _criteria(success_criteria, "success_criteria") or None,
        "horizon_at": arguments.optional(arguments.moment, horizon_at, "horizon_at"),
        "goal_type": arguments.optional(arguments.word, goal_type, "goal_type"),
        **metric,
    }
    return _GOALS.create({name: value for name, value in fields.items() if value is not None})


def _metric(
    check: Callable[..., object], target: Any, current: Any, lowest: Any, highest: Any, unit: Any
) -> dict[str, object]:
    """The fields of the metric that were given; `check` says whether those that can be cleared may be."""
    fields = {
        "target_value": arguments.optional(_value, target, "target_value"),
        "current_value": arguments.optional(_value, current, "current_value"),
        "min_value": check(_value, lowest, "min_value"),
        "max_value": check(_value, highest, "max_value"),
        "unit": check(arguments.word, unit, "unit", longest=_UNIT_LENGTH),
    }
    least, most = fields["min_value"], fields["max_value"]
    if isinstance(least, float) and isinstance(most, float) and least > most:
        raise refused("min_value must not be above max_value.")
    return {name: value for name, value in fields.items() if value is not None}


def _value(value: float, name: str) -> float:
    return arguments.number(value, name, lowest=-LARGEST_INTEGER, highest=LARGEST_INTEGER)


def _title(text: str, name: str) -> str:
    return arguments.text(text, name, longest=_TITLE_LENGTH, strip=True)


def _long(text: str, name: str) -> str:
    return arguments.text(text, name, longest=_TEXT_LENGTH, strip=True)


def _criteria(criteria: Iterable[str], name: str) -> tuple[str, ...]:
    return arguments.listed(criteria, name, largest=_MOST_CRITERIA)


@builder
def update_goal(
    goal_id: str,
    title: str | None,
    desired_outcome: str | None,
    why_it_matters: str | Clear | None,
    success_criteria: Iterable[str] | None,
    horizon_at: datetime | Clear | None,
    target_value: float | None,
    current_value: float | None,
    min_value: float | Clear | None,
    max_value: float | Clear | None,
    unit: str | Clear | None,
) -> Request[Goal]:
    """Build the request of `update`."""
    record_id = arguments.identifier(goal_id, "goal_id")
    given: dict[str, object] = {
        "title": arguments.optional(_title, title, "title"),
        "desired_outcome": arguments.optional(_long, desired_outcome, "desired_outcome"),
        "why_it_matters": arguments.clearable(_long, why_it_matters, "why_it_matters"),
        "success_criteria": arguments.optional(_criteria, success_criteria, "success_criteria"),
        "horizon_at": arguments.clearable(arguments.moment, horizon_at, "horizon_at"),
        "target_value": None,
        "current_value": None,
        "min_value": None,
        "max_value": None,
        "unit": None,
        **_metric(arguments.clearable, target_value, current_value, min_value, max_value, unit),
    }
    cleared = [place for name, place in _CLEARED.items() if given[name] is CLEAR]
    return _GOALS.update(record_id, arguments.changes(**given), cleared=cleared)


@builder
def update_goal_progress(goal_id: str, current_value: float) -> Request[Goal]:
    """Build the request of `update_progress`."""
    record_id = arguments.identifier(goal_id, "goal_id")
    value = _value(current_value, "current_value")
    # The server takes the value from the query and does not look at a body.
    return Request(
        "goals.update_progress",
        "PATCH",
        f"{_GOALS.of(record_id)}/progress{arguments.query({'current_value': repr(value)})}",
        record(Goal, record_id),
        (_GOALS.writes,),
        missing=_GOALS.missing,
    )


@builder
def list_goal_history(goal_id: str, days: int) -> Request[tuple[GoalHistoryEntry, ...]]:
    """Build the request of `history`."""
    record_id = arguments.identifier(goal_id, "goal_id")
    asked = {"days": str(arguments.whole(days, "days", largest=_LONGEST_HISTORY))}
    path = f"{_GOALS.of(record_id)}/history{arguments.query(asked)}"
    return _GOALS.read("history", path, rows(GoalHistoryEntry), missing=_GOALS.missing)


@builder
def delete_goal(goal_id: str) -> Request[Deletion]:
    """Build the request of `delete`."""
    return _GOALS.delete(arguments.identifier(goal_id, "goal_id"))


# Calls


class AsyncGoals:
    """Goals of the key's user, reached as `client.goals`.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without `goals:read`
    or, for writes, `goals:write`; `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server that does
    not have the operation; `TransportError`, `ServerError` and `ResponseError`. The `outcome` of each tells whether the
    write may have been applied.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    async def list(
        self,
        *,
        include_inactive: bool = False,
        limit: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[Goal, ...]:
        """List the active goals, the oldest first, or with `include_inactive` all of them, the newest first.

        `limit` is how many goals the result has at most. The server gives 1000, and the API has no way to ask for more.

        Source: https://docs.omi.me (listGoals) and observed behavior.
        """
        most = arguments.limit(limit)
        goals = await self._retrier.call(list_goals(include_inactive), timeout, retry)
        return goals[:most]

    async def get(
        self,
        goal_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Goal:
        """Fetch a goal by its id, an inactive one as well.

        Raises `NotFoundError`.

        Source: https://docs.omi.me (getGoal) and observed behavior.
        """
        return await self._retrier.call(get_goal(goal_id), timeout, retry)

    async def create(
        self,
        title: str,
        *,
        desired_outcome: str | None = None,
        why_it_matters: str | None = None,
        success_criteria: Iterable[str] = (),
        horizon_at: datetime | None = None,
        goal_type: GoalType | str | None = None,
        target_value: float | None = None,
        current_value: float | None = None,
        min_value: float | None = None,
        max_value: float | None = None,
        unit: str | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Goal:
        """Create a goal.

        `title` is 1 to 500 characters; `desired_outcome` and `why_it_matters` are at most 2000, and there are at most
        20 `success_criteria`. Texts are sent stripped, and `horizon_at` must be timezone-aware. Progress is measured
        where `target_value` or `goal_type` is given; the other values go with one of these.

        The server cannot tell a repeated goal from a second one, so an attempt that may have been carried out is not
        repeated: the error's `outcome` is then `unknown`, and making the call again may make a second goal.

        Servers of May 2026 need `target_value`, ignore what they do not know, and end the oldest active goal for the
        fifth.

        Source: https://docs.omi.me (createGoal) and observed behavior.
        """
        request = create_goal(
            title,
            desired_outcome,
            why_it_matters,
            success_criteria,
            horizon_at,
            goal_type,
            target_value,
            current_value,
            min_value,
            max_value,
            unit,
        )
        return await self._retrier.call(request, timeout, retry)

    async def update(
        self,
        goal_id: str,
        *,
        title: str | None = None,
        desired_outcome: str | None = None,
        why_it_matters: str | Clear | None = None,
        success_criteria: Iterable[str] | None = None,
        horizon_at: datetime | Clear | None = None,
        target_value: float | None = None,
        current_value: float | None = None,
        min_value: float | Clear | None = None,
        max_value: float | Clear | None = None,
        unit: str | Clear | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Goal:
        """Change a goal; the values are those of `create`.

        None leaves a value as it is, and giving none is refused. `CLEAR` takes away `why_it_matters`, `horizon_at`,
        `unit`, `min_value` or `max_value`; an empty `success_criteria` removes them all. A value of a goal whose
        progress is not measured begins to measure it, which cannot be taken back. The values are absolute, so
        repeating an update does no harm.

        Raises `NotFoundError`, and `ResponseError` where the server did not clear what it was to clear. Servers of May
        2026 ignore what they do not know. Never clear `min_value` or `max_value` there: they store it and fail to show
        the goal from then on.

        Source: https://docs.omi.me (updateGoal) and observed behavior.
        """
        request = update_goal(
            goal_id,
            title,
            desired_outcome,
            why_it_matters,
            success_criteria,
            horizon_at,
            target_value,
            current_value,
            min_value,
            max_value,
            unit,
        )
        return await self._retrier.call(request, timeout, retry)

    async def update_progress(
        self,
        goal_id: str,
        current_value: float,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Goal:
        """Set how far a goal is.

        The value is absolute, so repeating it does no harm. It need not be within the goal's bounds, and reaching the
        target does not end the goal. A server that fails in between may have set the value without an entry in the
        history.

        Raises `NotFoundError`.

        Source: https://docs.omi.me (updateGoalProgress) and observed behavior.
        """
        return await self._retrier.call(update_goal_progress(goal_id, current_value), timeout, retry)

    async def history(
        self,
        goal_id: str,
        *,
        days: int = 30,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[GoalHistoryEntry, ...]:
        """Fetch how a goal progressed: one entry a day on which it did, the newest first.

        `days` is how many entries there are at most, from 1 to 365. A goal that does not exist has an empty history.

        Source: https://docs.omi.me (listGoalHistory) and observed behavior.
        """
        return await self._retrier.call(list_goal_history(goal_id, days), timeout, retry)

    async def delete(
        self,
        goal_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Deletion:
        """Give a goal up.

        The newest servers keep it as `abandoned`: `get` and `list(include_inactive=True)` still find it, and a further
        deletion succeeds too. Older ones delete it with its history. If an attempt went unanswered and the next one
        found nothing, the goal is gone and `Deletion.confirmed` is False.

        Raises `NotFoundError` if no attempt before can have removed it.

        Source: https://docs.omi.me (deleteGoal) and observed behavior.
        """
        return await self._retrier.call(delete_goal(goal_id), timeout, retry)
