"""Goals: what is stored, and their endpoints."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from omi_async.sandbox.allowance import RateWindow
from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.fields import (
    ABSENT,
    Field,
    blank,
    choice,
    finite,
    flag,
    integer,
    list_of,
    number,
    optional,
    refusing,
    text,
    within,
)
from omi_async.sandbox.moments import moment
from omi_async.sandbox.replies import Kind, Reply, json_reply, refusal, success
from omi_async.sandbox.schema import read_body, read_query
from omi_async.sandbox.store import Store, check_aware, check_readable, slice_2026_05, stored_time, wire_time

GOAL = Kind("Goal")

_COLLECTION = "/v1/dev/user/goals"

_READS = RateWindow("dev:goals_read", 120, "reads")
_WRITES = RateWindow("dev:goals_write", 120, "writes")

_LARGEST_PAGE = 1000
_LONGEST_UNIT = 64
_MOST_ACTIVE = 4
"""The older server keeps so many goals active."""

_TYPE = choice("boolean", "scale", "numeric")
_METRIC_FIELDS = ("type", "current", "target", "min", "max", "unit")
_METRIC_NAMES = {"target_value": "target", "current_value": "current", "min_value": "min", "max_value": "max"}

_LIST = {"limit": Field(integer, 10), "include_inactive": Field(flag, False)}

_CREATE = {
    "title": Field(text(minimum=1, maximum=500)),
    "desired_outcome": Field(optional(text(maximum=2000)), None),
    "why_it_matters": Field(optional(text(maximum=2000)), None),
    "success_criteria": Field(list_of(text(), maximum=20), ()),
    "horizon_at": Field(optional(moment), None),
    "goal_type": Field(optional(_TYPE), None),
    "target_value": Field(optional(finite), None),
    "current_value": Field(optional(finite), None),
    "min_value": Field(optional(finite), None),
    "max_value": Field(optional(finite), None),
    "unit": Field(optional(text()), None),
}
_CREATE_2026_05 = {
    "title": Field(text(minimum=1, maximum=500)),
    "goal_type": Field(_TYPE, "scale"),
    "target_value": Field(number),
    "current_value": Field(number, 0.0),
    "min_value": Field(number, 0.0),
    "max_value": Field(number, 10.0),
    "unit": Field(optional(text()), None),
}

_NULL_TEXT = "required goal text cannot be null or blank"
_NULL_LIST = "success_criteria cannot be null; use an empty list to clear it"
_VALUE = refusing(optional(finite), lambda value: value is None, "metric value cannot be null")
_UPDATE = {
    "title": Field(refusing(optional(text(minimum=1, maximum=500)), blank, _NULL_TEXT), ABSENT),
    "desired_outcome": Field(refusing(optional(text(maximum=2000)), blank, _NULL_TEXT), ABSENT),
    "why_it_matters": Field(optional(text(maximum=2000)), ABSENT),
    "success_criteria": Field(
        refusing(optional(list_of(text(), maximum=20)), lambda value: value is None, _NULL_LIST), ABSENT
    ),
    "horizon_at": Field(optional(moment), ABSENT),
    "target_value": Field(_VALUE, ABSENT),
    "current_value": Field(_VALUE, ABSENT),
    "min_value": Field(optional(finite), ABSENT),
    "max_value": Field(optional(finite), ABSENT),
    "unit": Field(optional(text()), ABSENT),
}
_UPDATE_2026_05 = {
    "title": Field(optional(text(minimum=1, maximum=500)), ABSENT),
    "target_value": Field(optional(number), ABSENT),
    "current_value": Field(optional(number), ABSENT),
    "min_value": Field(optional(number), ABSENT),
    "max_value": Field(optional(number), ABSENT),
    "unit": Field(optional(text()), ABSENT),
}


@attrs.frozen
class SandboxGoal:
    """One stored goal, by the API's field names; to change it, put another in its place.

    `metric` is the API's object: `type`, `current` and `target`, perhaps `min`, `max` and `unit`. `history`
    has the entries of the API, the newest first, with `recorded_at` as an aware datetime. `unreadable` stands
    for a row that the server cannot send. Raises ValueError for a time without a zone.
    """

    id: str
    title: str = attrs.field(default="A goal", repr=False)
    desired_outcome: str = attrs.field(default="It is reached.", repr=False)
    why_it_matters: str | None = attrs.field(default=None, repr=False)
    success_criteria: tuple[str, ...] = attrs.field(default=(), repr=False)
    horizon_at: datetime | None = attrs.field(default=None, validator=check_aware)
    status: str = "background"
    focus_rank: int | None = None
    metric: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    source: str = "user"
    created_at: datetime = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    updated_at: datetime = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    history: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)
    unreadable: bool = False

    @property
    def is_active(self) -> bool:
        """Whether the goal is still pursued."""
        return self.status not in {"achieved", "abandoned"}


class Goals:
    """The endpoints of goals."""

    def __init__(self, store: Store[SandboxGoal], generation: Generation) -> None:
        self._store = store
        self._old = generation != "newest"

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them; the older server limits none."""
        item = f"{_COLLECTION}/{{goal_id}}"
        read = partial(Route, method="GET", kind=GOAL, scope="goals:read", windows=(_READS,))
        write = partial(Route, kind=GOAL, scope="goals:write", windows=(_WRITES,))
        return (
            read(path=_COLLECTION, handler=self._list),
            write(method="POST", path=_COLLECTION, handler=self._create, takes_json=True),
            read(path=item, handler=self._get),
            write(method="PATCH", path=item, handler=self._update, takes_json=True),
            write(method="PATCH", path=f"{item}/progress", handler=self._update_progress),
            read(path=f"{item}/history", handler=self._list_history),
            write(method="DELETE", path=item, handler=self._delete),
        )

    def _list(self, incoming: Incoming) -> Reply:
        query = read_query(incoming.query, _LIST)
        goals = self._store.all()
        if query["include_inactive"]:
            goals.sort(key=_creation, reverse=True)
            # The older server forgets the limit here.
            page = goals if self._old else goals[: _largest(query["limit"])]
        else:
            active = [goal for goal in goals if goal.is_active]
            # Chosen before they are sorted: which ones are left out is not said.
            page = slice_2026_05(active, 0, query["limit"]) if self._old else active[: _largest(query["limit"])]
            page.sort(key=_creation)
        return json_reply(200, self._store.rows(page, self._to_json))

    def _get(self, incoming: Incoming) -> Reply:
        return json_reply(200, self._to_json(self._find(incoming)))

    def _create(self, incoming: Incoming) -> Reply:
        request = read_body(incoming.content, _CREATE_2026_05 if self._old else _CREATE)
        if blank(request["title"]):
            return refusal(422, "title cannot be empty")
        title = request["title"].strip()
        now = datetime.now(UTC)
        goal = SandboxGoal(f"goal_{secrets.token_hex(6)}", title, title, created_at=now, updated_at=now)
        if self._old:
            goal = attrs.evolve(goal, metric=_metric(request, None, request["goal_type"]))
            self._make_room()
        else:
            goal = self._new_goal(goal, request)
        incoming.applied = True
        return json_reply(200, self._to_json(self._store.put(goal)))

    def _new_goal(self, goal: SandboxGoal, request: Mapping[str, Any]) -> SandboxGoal:
        metric: Mapping[str, Any] | None = None
        # Without one of these two there is no metric, and its other fields are dropped without a word.
        if request["target_value"] is not None or request["goal_type"] is not None:
            metric = _checked(_metric(request, None, request["goal_type"] or "scale"))
        outcome, horizon_at = request["desired_outcome"], request["horizon_at"]
        if outcome is not None and blank(outcome):
            raise ValueError("a goal needs an outcome: the server notices it when it stores the goal")
        return attrs.evolve(
            goal,
            desired_outcome=goal.title if outcome is None else outcome.strip(),
            why_it_matters=request["why_it_matters"],
            success_criteria=tuple(request["success_criteria"]),
            horizon_at=None if horizon_at is None else stored_time(horizon_at),
            metric=metric,
        )

    def _make_room(self) -> None:
        active = sorted((goal for goal in self._store.all() if goal.is_active), key=_creation)
        if len(active) >= _MOST_ACTIVE:
            self._store.put(attrs.evolve(active[0], status="abandoned"))

    def _update(self, incoming: Incoming) -> Reply:
        update = read_body(incoming.content, _UPDATE_2026_05 if self._old else _UPDATE)
        given = {name: value for name, value in update.items() if value is not ABSENT}
        if not given:
            return GOAL.unchanged()
        goal = self._find(incoming)
        if self._old and any(value is None for name, value in given.items() if name != "unit"):
            # The null is stored and breaks every answer from then on.
            return self._store_change(incoming, attrs.evolve(goal, unreadable=True))
        measured = {name: given.pop(name) for name in (*_METRIC_NAMES, "unit") if name in given}
        if measured:
            metric = _metric(measured, goal.metric, "scale")
            given["metric"] = metric if self._old else _checked(metric)
        if given.get("horizon_at") is not None:
            given["horizon_at"] = stored_time(given["horizon_at"])
        if "success_criteria" in given:
            given["success_criteria"] = tuple(given["success_criteria"])
        for name in ("title", "desired_outcome"):
            if given.get(name) is not None:
                given[name] = given[name].strip()
        return self._store_change(incoming, attrs.evolve(goal, **given))

    def _update_progress(self, incoming: Incoming) -> Reply:
        value = read_query(incoming.query, {"current_value": Field(number if self._old else finite)})["current_value"]
        goal = self._find(incoming)
        now = datetime.now(UTC)
        entry = {"date": now.date().isoformat(), "value": value, "recorded_at": now}
        # The last value of a day takes the place of earlier ones.
        history = (entry, *(each for each in goal.history if each["date"] != entry["date"]))
        metric = _metric({"current_value": value}, goal.metric, "numeric")
        return self._store_change(incoming, attrs.evolve(goal, metric=metric, history=history))

    def _list_history(self, incoming: Incoming) -> Reply:
        days = read_query(incoming.query, {"days": Field(within(None if self._old else 1, 365), 30)})["days"]
        goal = self._store.get(incoming.parameters["goal_id"])
        # The history of a goal that does not exist is empty.
        entries = [] if goal is None else sorted(goal.history, key=lambda entry: str(entry["date"]), reverse=True)
        shown = slice_2026_05(entries, 0, days) if self._old else entries[:days]
        return json_reply(200, [self._entry(entry) for entry in shown])

    def _delete(self, incoming: Incoming) -> Reply:
        goal = self._find(incoming)
        if self._old:
            incoming.applied = True
            self._store.delete(goal.id)
        elif goal.status != "abandoned":
            # Not deleted but given up: it can still be read, and deleted again.
            self._store_change(incoming, attrs.evolve(goal, status="abandoned", focus_rank=None))
        return success()

    def _find(self, incoming: Incoming) -> SandboxGoal:
        return self._store.find(incoming.parameters["goal_id"])

    def _store_change(self, incoming: Incoming, goal: SandboxGoal) -> Reply:
        incoming.applied = True
        return json_reply(200, self._to_json(self._store.put(attrs.evolve(goal, updated_at=datetime.now(UTC)))))

    def _entry(self, entry: Mapping[str, Any]) -> dict[str, object]:
        recorded_at = entry["recorded_at"].astimezone(UTC)
        shown = recorded_at.isoformat() if self._old else wire_time(recorded_at)
        return {"date": entry["date"], "value": float(entry["value"]), "recorded_at": shown}

    def _to_json(self, goal: SandboxGoal) -> dict[str, object]:
        check_readable(goal)
        times = {"created_at": wire_time(goal.created_at), "updated_at": wire_time(goal.updated_at)}
        if self._old:
            # A null that was stored in place of a value breaks every answer from then on.
            return {
                "id": goal.id,
                "title": goal.title.strip(),
                **_aliases(goal.metric),
                "is_active": goal.is_active,
                **times,
            }
        metric = goal.metric
        return {
            "id": goal.id,
            "goal_id": goal.id,
            "title": goal.title,
            "desired_outcome": goal.desired_outcome,
            "why_it_matters": goal.why_it_matters,
            "success_criteria": goal.success_criteria,
            "horizon_at": wire_time(goal.horizon_at),
            "status": goal.status,
            "focus_rank": goal.focus_rank,
            "metric": None if metric is None else {name: metric.get(name) for name in _METRIC_FIELDS},
            "source": goal.source,
            **_aliases(goal.metric),
            "is_active": goal.is_active,
            **times,
        }


def _metric(request: Mapping[str, Any], metric: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    """Return *metric*, or a new one of *kind*, with the values of *request*."""
    changed: dict[str, Any] = {"type": kind, "current": 0.0, "target": 0.0, "min": None, "max": None, "unit": None}
    changed.update(metric or {})
    for name, short in (*_METRIC_NAMES.items(), ("unit", "unit")):
        if name in request and not (metric is None and request[name] is None):
            changed[short] = request[name]
    return changed


def _checked(metric: dict[str, Any]) -> dict[str, Any]:
    """Return *metric*; raises ValueError for one that the newest server fails to store."""
    if metric["min"] is not None and metric["max"] is not None and metric["min"] > metric["max"]:
        raise ValueError("min is above max: the server notices it when it stores the goal")
    if metric["unit"] is not None and len(metric["unit"]) > _LONGEST_UNIT:
        raise ValueError("unit is too long: the server notices it when it stores the goal")
    return metric


def _aliases(metric: Mapping[str, Any] | None) -> dict[str, object]:
    """Return the older names of a metric's parts, which are numbers even where there is no metric."""
    metric = metric or {"type": "scale", "target": 0.0, "current": 0.0}
    target, least, most = metric["target"], metric.get("min"), metric.get("max")
    return {
        "goal_type": metric["type"],
        "target_value": float(target),
        "current_value": float(metric["current"]),
        "min_value": 0.0 if least is None else float(least),
        "max_value": max(10.0, float(target)) if most is None else float(most),
        "unit": metric.get("unit"),
    }


def _largest(limit: int) -> int:
    return max(1, min(limit, _LARGEST_PAGE))


def _creation(goal: SandboxGoal) -> datetime:
    return goal.created_at
