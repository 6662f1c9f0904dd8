"""The endpoints, without any input or output: one call in, one answer out.

The order of the checks is the real server's: the request's age, the path, the verb, the JSON, the key with
its scope and rate window, the shape of the body, and only then the conversation.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, quote

import attrs

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
from omi_async.sandbox.gate import CONVERSATIONS_READ, CONVERSATIONS_WRITE, WRITE_POLICY, Gate
from omi_async.sandbox.records import SandboxConversation
from omi_async.sandbox.schema import read_json, read_query_flag, read_update

_logger = logging.getLogger("omi_async.sandbox")

# What Starlette leaves unquoted in a Location header.
_LOCATION_SAFE = ":/%#?=@[]!$&'()*+,;"


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
class _Operation:
    handler: Callable[[Call], Answer]
    scope: str
    policy: str | None = None
    takes_json: bool = False


@attrs.frozen
class _Path:
    pattern: re.Pattern[str]
    operations: Mapping[str, _Operation]


class Api:
    """Answers calls from *conversations*, which it changes in place.

    A new endpoint is one entry in the table below and one method.
    """

    def __init__(self, conversations: dict[str, SandboxConversation], gate: Gate) -> None:
        self._conversations = conversations
        self._gate = gate
        self._paths = (
            # No verb of its own, but a known path: a request with an empty id is redirected here.
            _Path(re.compile("/v1/dev/user/conversations"), {}),
            _Path(
                re.compile("/v1/dev/user/conversations/(?P<conversation_id>[^/]+)"),
                {
                    "GET": _Operation(handler=self._get, scope=CONVERSATIONS_READ),
                    "DELETE": _Operation(handler=self._delete, scope=CONVERSATIONS_WRITE, policy=WRITE_POLICY),
                    "PATCH": _Operation(
                        handler=self._update,
                        scope=CONVERSATIONS_WRITE,
                        policy=WRITE_POLICY,
                        takes_json=True,
                    ),
                },
            ),
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

    def conversation_id(self, path: str) -> str | None:
        """Return the conversation that the decoded *path* is about, or None."""
        found = self._find(path)
        return None if found is None else found[1].get("conversation_id")

    def _answer(self, call: Call) -> Answer:
        _check_age(call.headers.get("x-request-start-time"))
        found = self._find(call.path)
        if found is None:
            return self._redirect(call)
        operations, call.parameters = found
        operation = operations.get(call.method)
        if operation is None:
            # Starlette names the verb of its first route for the path only.
            return refusal(405, "Method Not Allowed", {"Allow": "GET"})
        if operation.takes_json:
            call.content = read_json(call.body, call.headers.get("Content-Type"))
        self._gate.admit(call.headers.get("Authorization"), operation.scope, operation.policy)
        return operation.handler(call)

    def _find(self, path: str) -> tuple[Mapping[str, _Operation], Mapping[str, str]] | None:
        for candidate in self._paths:
            match = candidate.pattern.fullmatch(path)
            if match is not None:
                return candidate.operations, match.groupdict()
        return None

    def _redirect(self, call: Call) -> Answer:
        path = call.path.rstrip("/")
        if path == call.path or self._find(path) is None:
            return refusal(404, NO_ROUTE)
        query = f"?{call.query}" if call.query else ""
        return Answer(307, headers={"Location": quote(f"{call.origin}{path}{query}", safe=_LOCATION_SAFE)})

    def _get(self, call: Call) -> Answer:
        query = dict(parse_qsl(call.query, keep_blank_values=True))
        include_transcript = read_query_flag(query, "include_transcript")
        conversation = self._conversations.get(call.parameters["conversation_id"])
        # A locked conversation does not exist for readers; only writers are told that it is locked.
        if conversation is None or conversation.locked:
            return refusal(404, NO_CONVERSATION)
        return json_answer(200, conversation.to_json(include_transcript=include_transcript))

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
        del self._conversations[call.parameters["conversation_id"]]
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
