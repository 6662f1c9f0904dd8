"""Action items."""

from omi_async import ActionItem

from ..statement import (
    FLAG,
    INTEGER,
    SUCCESS,
    TIME,
    Call,
    Field,
    Operation,
    an_object,
    array,
    body,
    in_path,
    nullable,
    read_off,
    text,
)

PREFIX = "/v1/dev/user/action-items"

_ITEM = read_off(ActionItem)
_DESCRIPTION = text(minLength=1, maxLength=500)

_NEW = {
    "description": Field(_DESCRIPTION, required=True),
    "completed": Field(FLAG, default=False),
    "due_at": Field(nullable(TIME)),
}

OPERATIONS = (
    Operation(
        id="listActionItems",
        method="GET",
        path=PREFIX,
        parameters={
            ("query", "conversation_id"): Field(nullable(text())),
            ("query", "completed"): Field(nullable(FLAG)),
            ("query", "start_date"): Field(nullable(TIME)),
            ("query", "end_date"): Field(nullable(TIME)),
            ("query", "limit"): Field(INTEGER, default=100),
            ("query", "offset"): Field(INTEGER, default=0),
        },
        answers={"200": array(_ITEM)},
    ),
    Operation(id="createActionItem", method="POST", path=PREFIX, body=body(_NEW), answers={"200": _ITEM}),
    Operation(
        id="createActionItemsBatch",
        method="POST",
        path=f"{PREFIX}/batch",
        body=body({"action_items": Field(array(an_object(_NEW), maxItems=50), required=True)}),
        answers={
            "200": an_object(
                {
                    "action_items": Field(array(_ITEM), required=True),
                    "created_count": Field(INTEGER, required=True),
                }
            )
        },
    ),
    Operation(
        id="updateActionItem",
        method="PATCH",
        path=f"{PREFIX}/{{action_item_id}}",
        parameters=in_path("action_item_id"),
        body=body(
            {
                "description": Field(nullable(_DESCRIPTION)),
                "completed": Field(nullable(FLAG)),
                "due_at": Field(nullable(TIME)),
            }
        ),
        answers={"200": _ITEM},
    ),
    Operation(
        id="deleteActionItem",
        method="DELETE",
        path=f"{PREFIX}/{{action_item_id}}",
        parameters=in_path("action_item_id"),
        answers={"200": SUCCESS},
    ),
)

CALLS = {
    "listActionItems": Call("action_items.list", filled=frozenset({"limit", "offset"}), own=frozenset({"limit"})),
    "createActionItem": Call("action_items.create"),
    "createActionItemsBatch": Call("action_items.create_batch", renamed={"action_items": "items"}),
    "updateActionItem": Call("action_items.update"),
    "deleteActionItem": Call("action_items.delete"),
}
