# Made from omi_async/resources/goals.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The goals resource for synchronous code."""

from collections.abc import Iterable
from datetime import datetime

from omi_async.client import AsyncOmiClient
from omi_async.models.goals import Goal, GoalHistoryEntry, GoalType
from omi_async.models.shared import Clear, Deletion
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge


class Goals:
    """Goals of the key's user, reached as `client.goals`.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without `goals:read`
    or, for writes, `goals:write`; `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server that does
    not have the operation; `TransportError`, `ServerError` and `ResponseError`. The `outcome` of each tells whether the
    write may have been applied.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def list(
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
        coroutine = self._bridge.target.goals.list(
            include_inactive=include_inactive, limit=limit, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def get(
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
        coroutine = self._bridge.target.goals.get(goal_id, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def create(
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
        coroutine = self._bridge.target.goals.create(
            title,
            desired_outcome=desired_outcome,
            why_it_matters=why_it_matters,
            success_criteria=success_criteria,
            horizon_at=horizon_at,
            goal_type=goal_type,
            target_value=target_value,
            current_value=current_value,
            min_value=min_value,
            max_value=max_value,
            unit=unit,
            timeout=timeout,
            retry=retry,
        )
        return self._bridge.run(coroutine)

    def update(
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
        coroutine = self._bridge.target.goals.update(
            goal_id,
            title=title,
            desired_outcome=desired_outcome,
            why_it_matters=why_it_matters,
            success_criteria=success_criteria,
            horizon_at=horizon_at,
            target_value=target_value,
            current_value=current_value,
            min_value=min_value,
            max_value=max_value,
            unit=unit,
            timeout=timeout,
            retry=retry,
        )
        return self._bridge.run(coroutine)

    def update_progress(
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
        coroutine = self._bridge.target.goals.update_progress(goal_id, current_value, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def history(
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
        coroutine = self._bridge.target.goals.history(goal_id, days=days, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def delete(
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
        coroutine = self._bridge.target.goals.delete(goal_id, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)
