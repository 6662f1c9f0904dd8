"""The endpoint that answers a question from conversations.

No language model is asked: the conversations that share the most words with the question are the answer.
"""

import zoneinfo

from omi_async.sandbox.allowance import RateWindow
from omi_async.sandbox.api import Incoming, Route
from omi_async.sandbox.conversations import READ, SandboxConversation
from omi_async.sandbox.fields import Field, Place, Reader, bad, blank, text, within
from omi_async.sandbox.replies import Kind, Reply, json_reply, refusal
from omi_async.sandbox.schema import read_body
from omi_async.sandbox.store import Store, wire_time
from omi_async.sandbox.words import likeness

_ANSWER = Kind("Answer")
_QUESTIONS = RateWindow("dev:ask", 25, "reads")

_NOTHING_FOUND = "I couldn't find any of your conversations relevant to that question."
_LONGEST_ZONE = 64

_read_text: Reader = text()


def _zone(value: object, place: Place) -> str:
    """Read the name of a time zone."""
    name: str = _read_text(value, place).strip()
    trouble = "timezone must be a valid IANA timezone"
    try:
        if name == "UTC" or (name and len(name) <= _LONGEST_ZONE and zoneinfo.ZoneInfo(name)):
            return name
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        pass
    except ValueError as error:
        trouble = str(error)
    raise bad("value_error", place, f"Value error, {trouble}", value, {"error": {}})


_ASK = {
    "question": Field(text(minimum=1, maximum=1000)),
    "limit": Field(within(1, 10), 5),
    "timezone": Field(_zone, "UTC"),
}


class Ask:
    """The endpoint of questions."""

    def __init__(self, conversations: Store[SandboxConversation]) -> None:
        self._conversations = conversations

    @property
    def routes(self) -> tuple[Route, ...]:
        """The one of them, which the older server does not have."""
        return (
            Route(
                method="POST",
                path="/v1/dev/user/ask",
                handler=self._ask,
                kind=_ANSWER,
                scope=READ,
                windows=(_QUESTIONS,),
                older_windows=None,
                takes_json=True,
            ),
        )

    def _ask(self, incoming: Incoming) -> Reply:
        request = read_body(incoming.content, _ASK)
        question: str = request["question"]
        if blank(question):
            return refusal(400, "question must not be empty")
        scored = [
            (likeness(question, f"{conversation.title} {conversation.overview}"), conversation)
            for conversation in self._conversations.all()
            if not conversation.discarded and not conversation.locked and conversation.status == "completed"
        ]
        scored = [pair for pair in scored if pair[0] > 0]
        scored.sort(key=lambda pair: (pair[0], pair[1].created_at), reverse=True)
        found = [conversation for _, conversation in scored[: request["limit"]]]
        sources = [
            {"id": conversation.id, "title": conversation.title, "created_at": wire_time(conversation.created_at)}
            for conversation in found
        ]
        return json_reply(200, {"answer": found[0].overview if found else _NOTHING_FOUND, "sources": sources})
