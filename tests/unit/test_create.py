"""`conversations.create` and `create_from_segments`: what is sent, what is refused, what comes back."""

import json
import traceback
from datetime import UTC, datetime, timedelta, timezone
from itertools import repeat
from math import inf, nan
from typing import Any

import pytest

from omi_async import (
    Conversation,
    CreatedConversation,
    Geolocation,
    InvalidRequestError,
    NewTranscriptSegment,
    ResponseError,
    RetryPolicy,
    Timeout,
)
from omi_async.retry import DEFAULT_TIMEOUT, Call, Retrier
from omi_async.sandbox import Sandbox
from omi_sync import OmiClient
from tests.support import inside
from tests.support.sides import KEY, Side

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
SECRET = "canary-of-a-text"


def segment(text: str = "Hello.", start: float = 0.0, end: float = 1.5, **more: Any) -> NewTranscriptSegment:
    return NewTranscriptSegment(text=text, start=start, end=end, **more)


def create(text: Any = "Hello.", **settings: Any) -> Any:
    names = ["text_source", "text_source_spec", "started_at", "finished_at", "language", "geolocation"]
    return inside.create_conversation(text, **{**dict.fromkeys(names), **settings})


def from_segments(segments: Any = None, **settings: Any) -> Any:
    names = ["client_session_id", "source", "started_at", "finished_at", "language", "geolocation"]
    names += ["client_device_id", "client_platform", "conversation_role", "conversation_finalization_reason"]
    names += ["client_processing", "capture_evidence"]
    given = [segment()] if segments is None else segments
    return inside.create_conversation_from_segments(given, **{**dict.fromkeys(names), **settings})


def body(request: Any) -> dict[str, Any]:
    assert isinstance(request, inside.Request), request
    assert request.body is not None
    document: dict[str, Any] = json.loads(request.body)
    return document


def test_requests() -> None:
    """Both are POSTs that count as writes; only the one that names its session may be repeated."""
    writes = "writes /v1/dev/user/conversations"
    text, segments = create(), from_segments()
    assert ("conversations.create", "POST", "/v1/dev/user/conversations") == (text.operation, text.method, text.path)
    assert "conversations.create_from_segments" == segments.operation
    assert ("POST", "/v1/dev/user/conversations/from-segments") == (segments.method, segments.path)
    assert ((writes,), "once") == (text.windows, text.effect)
    assert ((f"{writes} from segments", writes), "repeatable") == (segments.windows, segments.effect)


def test_what_is_not_given_is_not_sent() -> None:
    """The body holds what was given: the server's own defaults hold for the rest."""
    assert {"text": " Hello.\n"} == body(create(" Hello.\n"))
    sent = body(from_segments([segment()], client_session_id="s1"))
    assert {
        "client_session_id": "s1",
        "transcript_segments": [{"text": "Hello.", "start": 0.0, "end": 1.5}],
    } == sent


def test_everything() -> None:
    """Every value arrives under its name, times in UTC."""
    place = Geolocation(latitude=-90, longitude=180, google_place_id="p", address="Lisboa", location_type="locality")
    common = {
        "started_at": NOON,
        "finished_at": NOON.astimezone(timezone(timedelta(hours=5, minutes=30))) + timedelta(seconds=1, microseconds=5),
        "language": "pt",
        "geolocation": place,
    }
    sent_common = {
        "started_at": "2026-09-01T12:00:00Z",
        "finished_at": "2026-09-01T12:00:01.000005Z",
        "language": "pt",
        "geolocation": {
            "latitude": -90.0,
            "longitude": 180.0,
            "google_place_id": "p",
            "address": "Lisboa",
            "location_type": "locality",
        },
    }
    expected: dict[str, Any] = {"text": "Olá 🚪", "text_source": "message", "text_source_spec": "email", **sent_common}
    assert expected == body(create("Olá 🚪", text_source="message", text_source_spec="email", **common))
    own: dict[str, Any] = {
        "client_session_id": "s" * 200,
        "source": "new-device",
        "client_device_id": "d",
        "client_platform": "ios",
    }
    own |= {"conversation_role": "meeting", "conversation_finalization_reason": "silence"}
    own |= {"client_processing": {"steps": [1, None]}, "capture_evidence": {}}
    whole = segment(start=3, end=4, speaker="SPEAKER_02", speaker_id=2, is_user=True, person_id="p1")
    sent = {"text": "Hello.", "start": 3.0, "end": 4.0, "speaker": "SPEAKER_02", "speaker_id": 2}
    expected = {**own, **sent_common, "transcript_segments": [{**sent, "is_user": True, "person_id": "p1"}]}
    assert expected == body(from_segments((each for each in [whole]), **own, **common))


def test_a_session_of_its_own() -> None:
    """Without a session's name each call makes one up, never the same twice."""
    names = {body(from_segments())["client_session_id"] for _ in range(100)}
    assert 100 == len(names)
    assert {32} == {len(name) for name in names}


BAD_COMMON: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"started_at": datetime(2026, 9, 1)}, InvalidRequestError, "started_at must be timezone-aware"),
    ({"finished_at": "2026-09-01"}, TypeError, "finished_at must be a datetime"),
    ({"started_at": NOON, "finished_at": NOON - timedelta(1)}, InvalidRequestError, "finished_at must"),
    ({"language": " "}, InvalidRequestError, "language must not be blank"),
    ({"language": 5}, TypeError, "language must be a str"),
    ({"geolocation": {"latitude": 1, "longitude": 1}}, TypeError, "geolocation must be a Geolocation"),
    ({"geolocation": Geolocation(latitude=90.5, longitude=0)}, InvalidRequestError, "geolocation.latitude"),
    ({"geolocation": Geolocation(latitude=0, longitude=-181)}, InvalidRequestError, "geolocation.longitude"),
    ({"geolocation": Geolocation(latitude=nan, longitude=0)}, InvalidRequestError, "geolocation.latitude"),
    ({"geolocation": Geolocation(latitude="1", longitude=0)}, TypeError, "geolocation.latitude"),  # type: ignore[arg-type]
    ({"geolocation": Geolocation(latitude=1, longitude=0, address=" ")}, InvalidRequestError, "geolocation.address"),
]
BAD_TEXT: list[tuple[dict[str, Any], type[Exception], str]] = [
    *BAD_COMMON,
    ({"text": ""}, InvalidRequestError, "text must not be blank"),
    ({"text": " \n\t "}, InvalidRequestError, "text must not be blank"),
    ({"text": SECRET * 10_000}, InvalidRequestError, "text must be at most 100000 characters, not 160000"),
    ({"text": f"{SECRET}\ud800"}, InvalidRequestError, "text must not contain lone surrogates"),
    ({"text": SECRET.encode()}, TypeError, "text must be a str, not bytes"),
    ({"text": None}, TypeError, "text must be a str, not NoneType"),
    ({"text_source": "email"}, InvalidRequestError, "text_source must be one of audio_transcript, message, other_text"),
    ({"text_source": 5}, TypeError, "text_source must be a str"),
    ({"text_source_spec": ""}, InvalidRequestError, "text_source_spec must not be blank"),
]
BAD_SEGMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    *BAD_COMMON,
    ({"started_at": NOON, "finished_at": NOON}, InvalidRequestError, "finished_at must be after started_at"),
    ({"segments": []}, InvalidRequestError, "segments must be 1 to 500, not none"),
    ({"segments": repeat(segment())}, InvalidRequestError, "segments must be 1 to 500, not more"),
    ({"segments": SECRET}, TypeError, "segments must be an iterable of NewTranscriptSegment, not str"),
    ({"segments": 5}, TypeError, "segments must be an iterable"),
    ({"segments": [segment(), {"text": SECRET}]}, TypeError, "segments[1] must be a NewTranscriptSegment, not dict"),
    ({"segments": [segment(), segment(SECRET, 2, 2)]}, InvalidRequestError, "segments[1].end must be after"),
    ({"segments": [segment(SECRET, -0.1)]}, InvalidRequestError, "segments[0].start must be from 0"),
    ({"segments": [segment(SECRET, end=inf)]}, InvalidRequestError, "segments[0].end must be from 0"),
    ({"segments": [segment(SECRET, nan)]}, InvalidRequestError, "segments[0].start must be from 0"),
    ({"segments": [segment(SECRET, end=10**400)]}, InvalidRequestError, "segments[0].end must be from 0"),
    ({"segments": [segment(SECRET, end=True)]}, TypeError, "segments[0].end must be a number, not bool"),
    ({"segments": [segment(" ")]}, InvalidRequestError, "segments[0].text must not be blank"),
    ({"segments": [segment(f"{SECRET}\udfff")]}, InvalidRequestError, "segments[0].text must not contain lone"),
    ({"segments": [segment(5)]}, TypeError, "segments[0].text must be a str"),  # type: ignore[arg-type]
    ({"segments": [segment(speaker="")]}, InvalidRequestError, "segments[0].speaker must not be blank"),
    ({"segments": [segment(speaker_id="1")]}, TypeError, "segments[0].speaker_id must be an int"),
    ({"segments": [segment(speaker_id=True)]}, TypeError, "segments[0].speaker_id must be an int"),
    ({"segments": [segment(speaker_id=10**5000)]}, InvalidRequestError, "segments[0].speaker_id is too large"),
    ({"segments": [segment(is_user=None)]}, TypeError, "segments[0].is_user must be True or False"),
    ({"segments": [segment(person_id=5)]}, TypeError, "segments[0].person_id must be a str"),
    ({"client_session_id": ""}, InvalidRequestError, "client_session_id must not be blank"),
    ({"client_session_id": "s" * 201}, InvalidRequestError, "client_session_id must be at most 200"),
    ({"source": " "}, InvalidRequestError, "source must not be blank"),
    ({"client_device_id": 5}, TypeError, "client_device_id must be a str"),
    ({"client_platform": ""}, InvalidRequestError, "client_platform must not be blank"),
    ({"conversation_role": "party"}, InvalidRequestError, "conversation_role must be ambient or meeting"),
    ({"client_processing": []}, TypeError, "client_processing must be a mapping"),
    ({"capture_evidence": {"a": nan}}, InvalidRequestError, "capture_evidence must hold what JSON knows"),
]


@pytest.mark.parametrize(
    ("build", "settings", "kind", "words"),
    [*((create, *case) for case in BAD_TEXT), *((from_segments, *case) for case in BAD_SEGMENTS)],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_refusals(build: Any, settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    """A bad value is refused by its name, in words that do not repeat it, in a traceback without a frame."""
    refusal = build(**settings)
    assert kind is type(refusal)
    assert words in str(refusal)
    assert SECRET not in "".join(traceback.format_exception(refusal))
    assert (None, None, None) == (refusal.__traceback__, refusal.__cause__, refusal.__context__)


@pytest.mark.parametrize(
    "document",
    [
        {"id": "c1", "status": "completed"},
        {"id": "c1", "status": "completed", "discarded": "no"},
        {"id": None, "status": "completed", "discarded": False},
        [],
        None,
    ],
)
def test_unreadable_answers(document: object) -> None:
    """A success that does not say which conversation was made is an error of unknown outcome."""
    for request in (create(), from_segments()):
        with pytest.raises(ResponseError) as caught:
            inside.read(request, inside.Answer(200, body=json.dumps(document).encode()))
        assert "unknown" == caught.value.outcome


# Against the sandbox


async def test_create(side: Side) -> None:
    """A text becomes a conversation that can be fetched."""
    async with Sandbox([]) as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        made = await side.call(client, "create", "A talk about doors.", started_at=NOON, language="en")
        assert isinstance(made, CreatedConversation)
        assert ("completed", False) == (made.status, made.discarded)
        assert "A talk about doors." == sandbox.conversations[made.id].overview
        found = await side.call(client, "get", made.id)
        assert isinstance(found, Conversation)
        assert (made.id, NOON) == (found.id, found.started_at)


async def test_sessions(side: Side) -> None:
    """One session is one conversation, however often it is sent; one that was deleted stays so."""
    segments = [segment(), segment("Goodbye.", 2, 3, speaker="SPEAKER_01")]
    async with Sandbox([]) as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        first = await side.call(client, "conversations.create_from_segments", segments, client_session_id="s1")
        again = await side.call(client, "conversations.create_from_segments", iter(segments), client_session_id="s1")
        other = await side.call(client, "conversations.create_from_segments", segments)
        assert isinstance(first, CreatedConversation)
        assert isinstance(other, CreatedConversation)
        assert first == again
        assert {first.id, other.id} == set(sandbox.conversations)
        await side.call(client, "delete", first.id)
        gone = await side.call(client, "conversations.create_from_segments", segments, client_session_id="s1")
        assert CreatedConversation(id=first.id, status="deleted", discarded=True) == gone


# Timeouts


@pytest.mark.parametrize(
    ("client", "call", "attempt", "total"),
    [
        ({}, None, 130.0, 300.0),
        ({"timeout": Timeout()}, None, 30.0, 60.0),
        ({"timeout": 60.0}, None, 30.0, 60.0),
        ({"timeout": Timeout(total=None)}, None, 30.0, None),
        ({}, 7, 30.0, 7.0),
        ({}, Timeout(attempt=1.0), 1.0, 60.0),
    ],
)
def test_limits(side: Side, client: dict[str, Any], call: Any, attempt: float, total: float | None) -> None:
    """Where nobody set a limit a create has longer ones; a setting of the client or the call wins."""
    made = side.client("https://api.omi.me", **client)
    retrier: Retrier = (made._bridge.target if isinstance(made, OmiClient) else made)._retrier
    for request in (create(), from_segments()):
        limits = limits_of(retrier.prepare(request, call))
        assert (attempt, total, 5.0) == (limits.attempt, limits.total, limits.connect)
    plain = limits_of(retrier.prepare(inside.get_conversation("conv_1", False)))  # type: ignore[arg-type]
    assert client.get("timeout", DEFAULT_TIMEOUT) in (plain, plain.total)


def limits_of(call: Call[Any]) -> Timeout:
    return call._timeout


def test_the_default_is_told_by_identity() -> None:
    """An equal timeout is another one: who gives the usual numbers means them."""
    assert Timeout() == DEFAULT_TIMEOUT
    assert DEFAULT_TIMEOUT is OmiClient(KEY, retry=RetryPolicy.never())._bridge.target._retrier._timeout
