"""Goals."""

from omi_async import Goal, GoalHistoryEntry, GoalType

from ..statement import (
    FLAG,
    INTEGER,
    NUMBER,
    SUCCESS,
    TIME,
    Call,
    Field,
    Operation,
    array,
    body,
    in_path,
    limited,
    nullable,
    read_off,
    text,
)

PREFIX = "/v1/dev/user/goals"

_ONE = f"{PREFIX}/{{goal_id}}"
_GOAL = read_off(Goal)
_TITLE = text(minLength=1, maxLength=500)
_LONG = Field(nullable(text(maxLength=2000)))
_CRITERIA = array(text(), maxItems=20)

_MORE = {
    "horizon_at": Field(nullable(TIME)),
    "target_value": Field(nullable(NUMBER)),
    "current_value": Field(nullable(NUMBER)),
    "min_value": Field(nullable(NUMBER)),
    "max_value": Field(nullable(NUMBER)),
    "unit": Field(nullable(text())),
}

OPERATIONS = (
    Operation(
        id="listGoals",
        method="GET",
        path=PREFIX,
        parameters={
            ("query", "limit"): Field(INTEGER, default=10),
            ("query", "include_inactive"): Field(FLAG, default=False),
        },
        answers={"200": array(_GOAL)},
    ),
    Operation(id="getGoal", method="GET", path=_ONE, parameters=in_path("goal_id"), answers={"200": _GOAL}),
    Operation(
        id="createGoal",
        method="POST",
        path=PREFIX,
        body=body(
            {
                "title": Field(_TITLE, required=True),
                "desired_outcome": _LONG,
                "why_it_matters": _LONG,
                "success_criteria": Field(_CRITERIA),
                "goal_type": Field(nullable(read_off(GoalType | str))),
                **_MORE,
            }
        ),
        answers={"200": _GOAL},
    ),
    Operation(
        id="updateGoal",
        method="PATCH",
        path=_ONE,
        parameters=in_path("goal_id"),
        body=body(
            {
                "title": Field(nullable(_TITLE)),
                "desired_outcome": _LONG,
                "why_it_matters": _LONG,
                "success_criteria": Field(nullable(_CRITERIA)),
                **_MORE,
            }
        ),
        answers={"200": _GOAL},
    ),
    Operation(
        id="updateGoalProgress",
        method="PATCH",
        path=f"{_ONE}/progress",
        parameters={**in_path("goal_id"), ("query", "current_value"): Field(NUMBER, required=True)},
        answers={"200": _GOAL},
    ),
    Operation(
        id="listGoalHistory",
        method="GET",
        path=f"{_ONE}/history",
        parameters={**in_path("goal_id"), ("query", "days"): Field(limited(INTEGER, 1, 365), default=30)},
        answers={"200": array(read_off(GoalHistoryEntry))},
    ),
    Operation(id="deleteGoal", method="DELETE", path=_ONE, parameters=in_path("goal_id"), answers={"200": SUCCESS}),
)

CALLS = {
    "listGoals": Call("goals.list"),
    "getGoal": Call("goals.get"),
    "createGoal": Call("goals.create"),
    "updateGoal": Call("goals.update"),
    "updateGoalProgress": Call("goals.update_progress"),
    "listGoalHistory": Call("goals.history"),
    "deleteGoal": Call("goals.delete"),
}
