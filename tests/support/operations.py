"""The operations of the API as the truth-model server serves them: what one changes, and what it answers.

A subject names what a request is about, so that its record can be found and its answer told from any other: an id,
the text of what is created, what is searched for, the user of an ID token.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import attrs

from tests.support import http1
from tests.support.raw import conversation

Effect = Literal["none", "update", "delete", "abandon", "revoke", "make", "keep"]
"""`make` makes one more each time, and `keep` only one. What is gone can be abandoned and revoked again."""

Form = Literal["record", "deletion", "nothing", "value"]
"""Of the answer: the record that was named, a deletion's success, an empty 204, or anything else."""

_NOW = "2026-01-20T10:00:00Z"


@attrs.define(eq=False)
class Record:
    """All that was done to one subject."""

    exists: bool
    stored: dict[str, list[Any]] = attrs.field(factory=dict)
    """By field, every value that was stored, in order."""
    deletions: int = 0
    made: int = 0
    """Records that were created for it."""
    requests: int = 0
    """Requests on the wire that named it."""

    def value(self, field: str, before: Any) -> Any:
        """What is stored now."""
        return self.stored[field][-1] if field in self.stored else before


@attrs.define(eq=False)
class Asked:
    """One request."""

    operation: "Operation"
    id: str
    """The subject."""
    fields: dict[str, Any]
    record: Record

    def apply(self, *, half: bool = False) -> bool:
        """Make the change, as the real server does: field after field; whether there was anything to change."""
        record = self.record
        match self.operation.effect:
            case "make":
                record.made += 1
            case "keep":
                record.made = 1
            case "revoke":
                record.deletions = 1
            case "abandon" if record.deletions:
                return True
            case _ if not record.exists:
                return False
            case "delete" | "abandon":
                record.exists = False
                record.deletions += 1
            case "update":
                for name, value in list(self.fields.items())[: 1 if half else None]:
                    record.stored.setdefault(name, []).append(value)
        return True

    def body(self) -> bytes:
        return self.operation.body(self)

    def good(self) -> bytes:
        return b"HTTP/1.1 204 No Content\r\n\r\n" if self.operation.form == "nothing" else ok(self.body())

    def missing(self) -> bytes:
        return ok(json.dumps({"detail": f"{self.operation.record} not found"}).encode(), status=404)


def ok(body: bytes, *extra: str, status: int = 200) -> bytes:
    """An answer with some JSON."""
    lines = "".join(f"{line}\r\n" for line in extra)
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode("latin-1") + body


@attrs.frozen(eq=False)
class Operation:
    """One operation. A `*` in the path stands for the subject."""

    name: str
    """As errors name it, and where a client has it."""
    method: str
    path: str
    effect: Effect
    form: Form
    body: Callable[[Asked], bytes]
    subject: Callable[[dict[str, Any]], str] = attrs.field(default=lambda said: "", kw_only=True)
    """Reads it off the query or the JSON body, where the path does not name it."""
    record: str = attrs.field(default="", kw_only=True)
    """As the API names one that is missing."""
    in_parts: bool = attrs.field(default=False, kw_only=True)
    """Its fields are stored one after the other."""


# Answers


def _text(template: object) -> Callable[[Asked], bytes]:
    """The template, with the subject for `@ID@`: without JSON's machinery, for the many."""
    whole = json.dumps(template)
    return lambda asked: whole.replace("@ID@", asked.id).encode()


def _json(made: Callable[[Asked], object]) -> Callable[[Asked], bytes]:
    return lambda asked: json.dumps(made(asked)).encode()


_CONVERSATION = json.dumps(conversation("@ID@", structured={"title": "@T@", "overview": "", "category": "work"}))


def _conversation(asked: Asked) -> bytes:
    title = json.dumps(asked.record.value("title", "Before"))[1:-1]
    return _CONVERSATION.replace("@ID@", asked.id).replace("@T@", title).encode()


def _memory(subject: str, content: str = "Before", **fields: Any) -> dict[str, Any]:
    return {"id": subject, "content": content, "created_at": _NOW, "updated_at": None, **fields}


def _action_item(subject: str, description: str = "Before", **fields: Any) -> dict[str, Any]:
    return {"id": subject, "description": description, "completed": False, "created_at": _NOW, **fields}


def _goal(subject: str, title: str = "Before", **fields: Any) -> dict[str, Any]:
    values = {"target_value": 10, "current_value": 0, "min_value": 0, "max_value": 10, **fields}
    times = {"created_at": _NOW, "updated_at": _NOW}
    return {"id": subject, "title": title, "goal_type": "scale", "is_active": True, **values, **times}


def _key(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"made_{name}", "name": name, "key_prefix": "omi_dev_abcd...wxyz", "created_at": _NOW, **fields}


def _now(made: Callable[..., dict[str, Any]]) -> Callable[[Asked], bytes]:
    """The record with what is stored now."""
    return _json(lambda asked: made(asked.id, **{name: values[-1] for name, values in asked.record.stored.items()}))


def _batch(made: Callable[..., dict[str, Any]], list_name: str, text: str) -> Callable[[Asked], bytes]:
    def body(asked: Asked) -> object:
        texts = [each[text] for each in asked.fields[list_name]]
        return {list_name: [made(f"made_{each}", each) for each in texts], "created_count": len(texts)}

    return _json(body)


_CREATED = _text({"id": "made_@ID@", "status": "completed", "discarded": False})
_GONE = _text({"success": True})
_NOTHING = _text({})


def _field(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda said: str(said[name])


def _first(list_name: str, text: str) -> Callable[[dict[str, Any]], str]:
    return lambda said: str(said[list_name][0][text])


_TOKEN = "id token"

OPERATIONS = (
    Operation(
        "conversations.update",
        "PATCH",
        "user/conversations/*",
        "update",
        "record",
        _conversation,
        record="Conversation",
        in_parts=True,
    ),
    Operation(
        "conversations.delete", "DELETE", "user/conversations/*", "delete", "deletion", _GONE, record="Conversation"
    ),
    Operation(
        "conversations.get", "GET", "user/conversations/*", "none", "record", _conversation, record="Conversation"
    ),
    Operation(
        "conversations.list",
        "GET",
        "user/conversations",
        "none",
        "value",
        _text([conversation("listed", folder_id="@ID@")]),
        subject=_field("folder_id"),
    ),
    Operation("conversations.create", "POST", "user/conversations", "make", "value", _CREATED, subject=_field("text")),
    Operation(
        "conversations.create_from_segments",
        "POST",
        "user/conversations/from-segments",
        "keep",
        "value",
        _CREATED,
        subject=_field("client_session_id"),
    ),
    Operation(
        "conversations.ask",
        "POST",
        "user/ask",
        "none",
        "value",
        _text({"answer": "@ID@", "sources": []}),
        subject=_field("question"),
    ),
    Operation(
        "memories.update",
        "PATCH",
        "user/memories/*",
        "update",
        "record",
        _now(_memory),
        record="Memory",
        in_parts=True,
    ),
    Operation("memories.delete", "DELETE", "user/memories/*", "delete", "deletion", _GONE, record="Memory"),
    Operation(
        "memories.list",
        "GET",
        "user/memories",
        "none",
        "value",
        _text([_memory("listed", category="@ID@")]),
        subject=_field("categories"),
    ),
    Operation(
        "memories.search",
        "GET",
        "user/memories/vector/search",
        "none",
        "value",
        _text({"items": [{"id": "found", "content": "@ID@", "category": "work", "relevance_score": 0.5}]}),
        subject=_field("query"),
    ),
    Operation(
        "memories.create",
        "POST",
        "user/memories",
        "keep",
        "value",
        _text(_memory("made_@ID@", "@ID@")),
        subject=_field("content"),
    ),
    Operation(
        "memories.create_batch",
        "POST",
        "user/memories/batch",
        "keep",
        "value",
        _batch(_memory, "memories", "content"),
        subject=_first("memories", "content"),
    ),
    Operation(
        "action_items.update",
        "PATCH",
        "user/action-items/*",
        "update",
        "record",
        _now(_action_item),
        record="Action item",
    ),
    Operation(
        "action_items.delete", "DELETE", "user/action-items/*", "delete", "deletion", _GONE, record="Action item"
    ),
    Operation(
        "action_items.list",
        "GET",
        "user/action-items",
        "none",
        "value",
        _text([_action_item("listed", conversation_id="@ID@")]),
        subject=_field("conversation_id"),
    ),
    Operation(
        "action_items.create",
        "POST",
        "user/action-items",
        "make",
        "value",
        _text(_action_item("made_@ID@", "@ID@")),
        subject=_field("description"),
    ),
    Operation(
        "action_items.create_batch",
        "POST",
        "user/action-items/batch",
        "make",
        "value",
        _batch(_action_item, "action_items", "description"),
        subject=_first("action_items", "description"),
    ),
    Operation("goals.update", "PATCH", "user/goals/*", "update", "record", _now(_goal), record="Goal"),
    Operation(
        "goals.update_progress", "PATCH", "user/goals/*/progress", "update", "record", _now(_goal), record="Goal"
    ),
    Operation("goals.delete", "DELETE", "user/goals/*", "abandon", "deletion", _GONE, record="Goal"),
    Operation("goals.get", "GET", "user/goals/*", "none", "record", _now(_goal), record="Goal"),
    Operation(
        "goals.history",
        "GET",
        "user/goals/*/history",
        "none",
        "value",
        _text([{"date": "@ID@", "value": 1, "recorded_at": _NOW}]),
        record="Goal",
    ),
    Operation(
        "goals.create",
        "POST",
        "user/goals",
        "make",
        "value",
        _text(_goal("made_@ID@", "@ID@")),
        subject=_field("title"),
    ),
    Operation(
        "daily_summaries.get",
        "GET",
        "user/daily-summaries/*",
        "none",
        "record",
        _text({"id": "@ID@"}),
        record="Daily summary",
    ),
    Operation("keys.list", "GET", "keys", "none", "value", _text([_key("@ID@")]), subject=_field(_TOKEN)),
    Operation(
        "keys.create", "POST", "keys", "make", "value", _text(_key("@ID@", key="shown once")), subject=_field("name")
    ),
    Operation("keys.revoke", "DELETE", "keys/*", "revoke", "nothing", _NOTHING),
)
"""All that name a subject. An answer to any other, as `folders.list`, could not be told from the answer to the next."""

BY_NAME: Mapping[str, Operation] = {each.name: each for each in OPERATIONS}

_BY_PATH = {(each.method, each.path): each for each in OPERATIONS}


def read(request: http1.Request) -> tuple[Operation, str, dict[str, Any]]:
    """Operation, subject and fields of a request."""
    path, _, query = request.path.partition("?")
    said: dict[str, Any] = json.loads(request.body) if request.body else dict(parse_qsl(query))
    parts = path.split("/")[3:]
    operation = _BY_PATH.get((request.method, "/".join(parts)))
    if operation is None:
        at = 1 if parts[0] == "keys" else 2
        subject, parts[at] = parts[at], "*"
        operation = _BY_PATH[request.method, "/".join(parts)]
        if operation.name == "goals.update_progress":
            said = {"current_value": float(said["current_value"])}
        return operation, subject, said
    if parts == ["keys"]:
        said[_TOKEN] = request.headers["authorization"].removeprefix("Bearer ")
    return operation, operation.subject(said), said
