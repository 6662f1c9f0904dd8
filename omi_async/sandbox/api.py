"""The endpoints, without any input or output: one call in, one answer out.

The order of the checks is the real server's: the request's age, the path, the verb, the JSON, the key with
its scope and rate window, the shape of the body, and only then the conversation.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import attrs

from omi_async.models import Category
from omi_async.sandbox.answers import (
    LOCKED,
    NO_CONVERSATION,
    NO_ROUTE,
    NOTHING_TO_CHANGE,
    STALE_AFTER_SECONDS,
    Answer,
    RefusedError,
    clock_skew,
    json_answer,
    refusal,
    server_error,
)
from omi_async.sandbox.creation import from_segments, from_text
from omi_async.sandbox.gate import (
    CONVERSATIONS_READ,
    CONVERSATIONS_WRITE,
    DETAIL_POLICY,
    LIST_POLICY,
    READS_POLICY,
    TRANSCRIPT_POLICY,
    WRITE_POLICY,
    Gate,
)
from omi_async.sandbox.records import SandboxConversation, in_some_zone
from omi_async.sandbox.schema import (
    ConversationQuery,
    read_json,
    read_list_query,
    read_segments_creation,
    read_text_creation,
    read_transcript_flag,
    read_update,
)

_logger = logging.getLogger("omi_async.sandbox")

# What Starlette leaves unquoted in a Location header.
_LOCATION_SAFE = ":/%#?=@[]!$&'()*+,;"

_COLLECTION = re.compile("/v1/dev/user/conversations")
_FROM_SEGMENTS = re.compile("/v1/dev/user/conversations/from-segments")
_ITEM = re.compile("/v1/dev/user/conversations/(?P<conversation_id>[^/]+)")

_CATEGORIES = frozenset(Category)

# More is asked for in vain: the server hands out that much without a word.
_LARGEST_PAGE = 100
_LARGEST_PAGE_WITH_TRANSCRIPTS = 25


@attrs.define(kw_only=True)
class Call:
    """One request on its way through the checks.

    `path` is decoded, `query` is not; `origin` is scheme and host as the client named them. The checks fill
    in `parameters` (from the path) and `content` (the parsed body); `applied` turns True with the first
    change.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    origin: str
    parameters: Mapping[str, str] = attrs.field(factory=dict[str, str])
    content: object = None
    applied: bool = False


@attrs.frozen(kw_only=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: Callable[[Call], Answer]
    scope: str = CONVERSATIONS_WRITE
    policies: tuple[str, ...] = (WRITE_POLICY,)
    takes_json: bool = False


class Api:
    """Answers calls from *conversations*, which it changes in place.

    A new endpoint is one entry in the table below and one method.
    """

    def __init__(self, conversations: dict[str, SandboxConversation], gate: Gate) -> None:
        self._conversations = conversations
        self._gate = gate
        self._deleted: set[str] = set()
        # In the real server's order: of the routes for a path the first is named in a 405.
        self._routes = (
            _Route(
                method="GET",
                pattern=_COLLECTION,
                handler=self._list,
                scope=CONVERSATIONS_READ,
                policies=(READS_POLICY, LIST_POLICY),
            ),
            _Route(method="POST", pattern=_COLLECTION, handler=self._create, takes_json=True),
            _Route(
                method="GET",
                pattern=_ITEM,
                handler=self._get,
                scope=CONVERSATIONS_READ,
                policies=(READS_POLICY, DETAIL_POLICY),
            ),
            _Route(method="POST", pattern=_FROM_SEGMENTS, handler=self._create_from_segments, takes_json=True),
            _Route(method="DELETE", pattern=_ITEM, handler=self._delete),
            _Route(method="PATCH", pattern=_ITEM, handler=self._update, takes_json=True),
        )

    def answer(self, call: Call) -> Answer:
        """Return the answer to *call*, carrying out its change; `call.applied` tells whether there was one.

        Whatever breaks on the way is logged and becomes the real server's bare 500.
        """
        try:
            return self._answer(call)
        except RefusedError as refused:
            return refused.answer
        except Exception:
            _logger.exception("The sandbox could not handle %s %s", call.method, call.path)
            return server_error()

    def conversation_id(self, method: str, path: str) -> str | None:
        """Return the conversation that a request of *method* for the decoded *path* is about, or None."""
        found = self._find(method, path)
        return None if found is None else found[1].get("conversation_id")

    def _answer(self, call: Call) -> Answer:
        _check_age(call.headers.get("x-request-start-time"))
        found = self._find(call.method, call.path)
        if found is None:
            return self._redirect(call)
        route, call.parameters = found
        if route.method != call.method:
            return refusal(405, "Method Not Allowed", {"Allow": route.method})
        if route.takes_json:
            call.content = read_json(call.body, call.headers.get("Content-Type"))
        self._gate.admit(call.headers.get("Authorization"), route.scope, *route.policies)
        return route.handler(call)

    def _find(self, method: str, path: str) -> tuple[_Route, Mapping[str, str]] | None:
        """Return the first route for *method* and *path*, or else the first for *path* alone, as Starlette does."""
        partial = None
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return route, match.groupdict()
            partial = partial or (route, match.groupdict())
        return partial

    def _redirect(self, call: Call) -> Answer:
        path = call.path.rstrip("/")
        if path == call.path or self._find(call.method, path) is None:
            return refusal(404, NO_ROUTE)
        query = f"?{call.query}" if call.query else ""
        return Answer(307, headers={"Location": quote(f"{call.origin}{path}{query}", safe=_LOCATION_SAFE)})

    def _list(self, call: Call) -> Answer:
        query = read_list_query(call.query)
        if query.include_transcript:
            self._gate.admit(call.headers.get("Authorization"), CONVERSATIONS_READ, TRANSCRIPT_POLICY)
        largest = _LARGEST_PAGE_WITH_TRANSCRIPTS if query.include_transcript else _LARGEST_PAGE
        first = max(0, query.offset)
        last = first + max(1, min(query.limit, largest))
        listed = _selection(query)
        # A copy, because a test may change the conversations from another thread meanwhile.
        found = [conversation for conversation in list(self._conversations.values()) if listed(conversation)]
        found.sort(key=lambda conversation: conversation.created_at, reverse=True)
        rows: list[dict[str, object]] = []
        for conversation in found[first:last]:
            # Locked and broken ones take up a place on the page and are dropped only now, as by the real server.
            if conversation.locked:
                continue
            try:
                rows.append(conversation.to_json(include_transcript=query.include_transcript))
            except (KeyError, TypeError, ValueError):
                _logger.warning("The sandbox cannot list %s", conversation.id, exc_info=True)
        return json_answer(200, rows)

    def _get(self, call: Call) -> Answer:
        include_transcript = read_transcript_flag(call.query)
        if include_transcript:
            self._gate.admit(call.headers.get("Authorization"), CONVERSATIONS_READ, TRANSCRIPT_POLICY)
        conversation = self._conversations.get(call.parameters["conversation_id"])
        # A locked conversation does not exist for readers; only writers are told that it is locked.
        if conversation is None or conversation.locked:
            return refusal(404, NO_CONVERSATION)
        return json_answer(200, conversation.to_json(include_transcript=include_transcript))

    def _create(self, call: Call) -> Answer:
        return self._add(call, from_text(read_text_creation(call.content)))

    def _create_from_segments(self, call: Call) -> Answer:
        conversation = from_segments(read_segments_creation(call.content))
        known = self._conversations.get(conversation.id)
        if known is not None:
            return _created(known.id, known.status, known.discarded)
        if conversation.id in self._deleted:
            return _created(conversation.id, "deleted", True)
        return self._add(call, conversation)

    def _add(self, call: Call, conversation: SandboxConversation) -> Answer:
        call.applied = True
        self._conversations[conversation.id] = conversation
        return _created(conversation.id, conversation.status, conversation.discarded)

    def _update(self, call: Call) -> Answer:
        update = read_update(call.content)
        conversation = self._writable(call)
        if update.title is None and update.discarded is None:
            return refusal(422, NOTHING_TO_CHANGE)
        call.applied = True
        if update.title is not None:
            conversation.title = update.title.strip()
        if update.discarded is not None:
            conversation.discarded = update.discarded
        # The real server forgets to leave the transcript out here.
        return json_answer(200, conversation.to_json(include_transcript=True))

    def _delete(self, call: Call) -> Answer:
        self._writable(call)
        call.applied = True
        conversation_id = call.parameters["conversation_id"]
        del self._conversations[conversation_id]
        # A session that is sent again must not bring its conversation back.
        self._deleted.add(conversation_id)
        return json_answer(200, {"success": True})

    def _writable(self, call: Call) -> SandboxConversation:
        conversation = self._conversations.get(call.parameters["conversation_id"])
        if conversation is None:
            raise RefusedError(refusal(404, NO_CONVERSATION))
        if conversation.locked:
            raise RefusedError(refusal(402, LOCKED))
        return conversation


def _check_age(started: str | None) -> None:
    try:
        client_time = float(started) if started is not None else None
    except ValueError:
        return
    if client_time is not None and time.time() - client_time > STALE_AFTER_SECONDS:
        raise RefusedError(clock_skew(client_time))


def _created(conversation_id: str, status: str, discarded: bool) -> Answer:
    return json_answer(200, {"id": conversation_id, "status": status, "discarded": discarded})


def _selection(query: ConversationQuery) -> Callable[[SandboxConversation], bool]:
    """Return whether a conversation belongs to the list that *query* asks for, page aside."""
    categories = [name for name in map(str.strip, (query.categories or "").split(",")) if name]
    for name in categories:
        if name not in _CATEGORIES:
            raise RefusedError(refusal(400, f"Invalid category {name!r} is not a valid CategoryEnum"))
    begin = None if query.start_date is None else in_some_zone(query.start_date)
    end = None if query.end_date is None else in_some_zone(query.end_date)

    def listed(conversation: SandboxConversation) -> bool:
        return (
            not conversation.discarded
            and conversation.status == "completed"
            and (begin is None or begin <= conversation.created_at)
            and (end is None or conversation.created_at <= end)
            and (not categories or conversation.category in categories)
            and query.folder_id in {None, conversation.folder_id}
            and query.starred in {None, conversation.starred}
        )

    return listed
