"""The shape of both requests and the class of every answer, without a server."""

import json
from typing import Any

import pytest

from omi_async import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Conversation,
    Deletion,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    ServerError,
    StatusError,
    TransportError,
    UnprocessableEntityError,
    ValidationIssue,
    __version__,
)
from tests.support.raw import conversation
from tests.support.sides import KEY, Side
from tests.wire.conftest import Mocked

BASE = "https://api.omi.me"
URL = f"{BASE}/v1/dev/user/conversations/conv_1"
METHODS = {"update": "PATCH", "delete": "DELETE"}
ONCE = RetryPolicy.never()


def announce(mocked: Mocked, operation: str, **answer: Any) -> None:
    mocked.add(URL, METHODS[operation], **answer)


async def failure(side: Side, operation: str) -> OmiError:
    """The error that one attempt ends with."""
    client = side.client(BASE, retry=ONCE)
    with pytest.raises(OmiError) as caught:
        await side.call(client, operation)
    return caught.value


# Requests

BODIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"title": "Design review"}, {"title": "Design review"}),
    ({"title": "  padded\n"}, {"title": "padded"}),
    ({"title": "Büro 🚪"}, {"title": "Büro 🚪"}),
    ({"title": 'quoted " and \\ and \x00'}, {"title": 'quoted " and \\ and \x00'}),
    ({"title": "x" * 500}, {"title": "x" * 500}),
    ({"discarded": True}, {"discarded": True}),
    ({"discarded": False}, {"discarded": False}),
    ({"title": "A", "discarded": False}, {"title": "A", "discarded": False}),
    ({"title": "A", "discarded": None}, {"title": "A"}),
    ({"title": None, "discarded": True}, {"discarded": True}),
]


@pytest.mark.parametrize(("given", "expected"), BODIES)
async def test_update_request(side: Side, mocked: Mocked, given: dict[str, Any], expected: dict[str, Any]) -> None:
    """An update is a PATCH with a JSON object of what is to change, and nothing else in it."""
    announce(mocked, "update", payload=conversation())
    await side.call(side.client(BASE), "update", **given)
    method, url, arguments = mocked.only
    assert ("PATCH", URL) == (method, url)
    assert type(arguments["data"]) is bytes
    assert expected == json.loads(arguments["data"].decode("utf-8"))
    assert list(expected) == list(json.loads(arguments["data"]))


async def test_delete_request(side: Side, mocked: Mocked) -> None:
    """A deletion is a DELETE without a body and without a type for one."""
    announce(mocked, "delete", payload={"success": True})
    await side.call(side.client(BASE), "delete")
    method, url, arguments = mocked.only
    assert ("DELETE", URL) == (method, url)
    assert arguments["data"] is None
    assert "Content-Type" not in arguments["headers"]


@pytest.mark.parametrize(("user_agent", "words"), [(None, []), ("my-bot/1.0", ["my-bot/1.0"])])
async def test_headers(side: Side, mocked: Mocked, operation: str, user_agent: str | None, words: list[str]) -> None:
    """A request says what it is, what it accepts and who sends it; the key is not handed over as a plain header."""
    announce(mocked, operation, payload=conversation() if operation == "update" else {"success": True})
    await side.call(side.client(BASE, user_agent=user_agent), operation)
    expected = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": " ".join([*words, f"omi-async/{__version__}"]),
    }
    if operation == "update":
        expected["Content-Type"] = "application/json"
    _, _, arguments = mocked.only
    assert expected == dict(arguments["headers"])
    assert KEY not in repr(arguments)


async def test_safeguards(side: Side, mocked: Mocked, operation: str) -> None:
    """Each request brings its own settings: no redirects, no exceptions for statuses, one middleware of our own."""
    announce(mocked, operation, payload=conversation() if operation == "update" else {"success": True})
    await side.call(side.client(BASE), operation)
    _, _, arguments = mocked.only
    assert arguments["allow_redirects"] is False
    assert arguments["raise_for_status"] is False
    assert 1 == len(arguments["middlewares"])
    assert 5.0 == arguments["timeout"].connect
    assert not {"params", "cookies", "auth", "json", "proxy", "ssl"} & set(arguments)


@pytest.mark.parametrize("conversation_id", ["conv_1", "7f0e4b4e-3a0a-4c55-9a1c-0d2c9a6c2f10", "a.b~c-d_E9", "x" * 128])
async def test_id_in_the_path(side: Side, mocked: Mocked, operation: str, conversation_id: str) -> None:
    """An id stands in the path as it is."""
    url = f"{BASE}/v1/dev/user/conversations/{conversation_id}"
    payload = conversation(conversation_id) if operation == "update" else {"success": True}
    mocked.add(url, METHODS[operation], payload=payload)
    await side.call(side.client(BASE), operation, conversation_id)
    assert (METHODS[operation], url) == mocked.only[:2]


@pytest.mark.parametrize(
    ("base_url", "begin"),
    [
        ("https://api.omi.me/", "https://api.omi.me"),
        ("https://API.omi.me", "https://api.omi.me"),
        ("https://omi.example/proxy/", "https://omi.example/proxy"),
        ("http://127.0.0.1:8123", "http://127.0.0.1:8123"),
    ],
)
async def test_base_url(side: Side, mocked: Mocked, operation: str, base_url: str, begin: str) -> None:
    """The base URL is what stands in front of the path, whether it ends with a slash or has a path of its own."""
    url = f"{begin}/v1/dev/user/conversations/conv_1"
    mocked.add(url, METHODS[operation], payload=conversation() if operation == "update" else {"success": True})
    await side.call(side.client(base_url), operation)
    assert (METHODS[operation], url) == mocked.only[:2]


@pytest.mark.parametrize("arguments", [{}, {"title": " "}, {"title": "x" * 501}, {"subject": "../memories/m1"}])
async def test_refused_before_the_wire(side: Side, mocked: Mocked, arguments: dict[str, Any]) -> None:
    """What the server would refuse, or read as something else, is not asked for at all."""
    client = side.client(BASE)
    given = {"subject": "conv_1", **arguments}
    with pytest.raises(OmiError, match=r"\bmust\b"):
        if arguments:
            await side.call(client, "update", **given)
        else:
            await side.call(client, "update", title=None)
    assert {} == mocked.requests


# Answers


async def test_update_answer(side: Side, mocked: Mocked) -> None:
    """The answer to an update is the conversation, read into its model."""
    announce(mocked, "update", payload=conversation())
    result = await side.call(side.client(BASE), "update")
    assert isinstance(result, Conversation)
    assert ("conv_1", "Design review", "work") == (result.id, result.structured.title, result.structured.category)


@pytest.mark.scenario(54, 55)
@pytest.mark.parametrize(
    ("answer", "confirmed"),
    [
        ({"payload": {"success": True}}, True),
        ({"payload": {"success": True, "id": "conv_1"}}, True),
        ({"status": 200, "headers": {"Content-Length": "0"}}, True),
        ({"status": 204}, True),
        ({"status": 201, "payload": {"success": True}}, True),
        ({"status": 202, "payload": {"success": True}}, False),
        ({"status": 202, "headers": {"Content-Length": "0"}}, False),
    ],
)
async def test_delete_answer(side: Side, mocked: Mocked, answer: dict[str, Any], confirmed: bool) -> None:
    """A deletion is confirmed by the server's word or by an empty success, but not by a mere acceptance."""
    announce(mocked, "delete", **answer)
    assert Deletion(conversation_id="conv_1", confirmed=confirmed) == await side.call(side.client(BASE), "delete")


NOT_APPLIED, UNKNOWN = "not_applied", "unknown"
STATUSES: list[tuple[int, type[OmiError], str, bool]] = [
    # status, class, may the write have happened?, is it worth another attempt?
    (300, ResponseError, UNKNOWN, False),
    (301, ResponseError, UNKNOWN, False),
    (302, ResponseError, UNKNOWN, False),
    (303, ResponseError, UNKNOWN, False),
    (304, ResponseError, UNKNOWN, False),
    (307, ResponseError, UNKNOWN, False),
    (308, ResponseError, UNKNOWN, False),
    (400, BadRequestError, NOT_APPLIED, False),
    (401, AuthenticationError, NOT_APPLIED, False),
    (402, PaymentRequiredError, NOT_APPLIED, False),
    (403, PermissionDeniedError, NOT_APPLIED, False),
    (404, NotFoundError, NOT_APPLIED, False),
    (405, StatusError, NOT_APPLIED, False),
    (406, StatusError, NOT_APPLIED, False),
    (408, StatusError, UNKNOWN, True),
    (409, ConflictError, NOT_APPLIED, False),
    (410, StatusError, NOT_APPLIED, False),
    (411, StatusError, NOT_APPLIED, False),
    (412, StatusError, NOT_APPLIED, False),
    (413, StatusError, NOT_APPLIED, False),
    (414, StatusError, NOT_APPLIED, False),
    (415, StatusError, NOT_APPLIED, False),
    (422, UnprocessableEntityError, NOT_APPLIED, False),
    (423, StatusError, NOT_APPLIED, False),
    (425, StatusError, UNKNOWN, True),
    (426, StatusError, NOT_APPLIED, False),
    (429, RateLimitError, NOT_APPLIED, True),
    (431, StatusError, NOT_APPLIED, False),
    (451, StatusError, NOT_APPLIED, False),
    (500, ServerError, UNKNOWN, True),
    (501, ServerError, UNKNOWN, False),
    (502, ServerError, UNKNOWN, True),
    (503, ServerError, UNKNOWN, True),
    (504, ServerError, UNKNOWN, True),
    (505, ServerError, UNKNOWN, False),
    (511, ServerError, UNKNOWN, False),
    (520, ServerError, UNKNOWN, True),
    (530, ServerError, UNKNOWN, True),
    (999, ResponseError, UNKNOWN, False),
]


@pytest.mark.scenario(59, 60, 62, 63, 64, 72, 73, 74, 77, 78)
@pytest.mark.parametrize(("status", "kind", "outcome", "retryable"), STATUSES)
async def test_statuses(
    side: Side, operation: str, mocked: Mocked, status: int, kind: type[OmiError], outcome: str, retryable: bool
) -> None:
    """Every status has its class, its outcome and its word on another attempt, and is told with the server's text."""
    announce(mocked, operation, status=status, payload={"detail": "The server's words"})
    error = await failure(side, operation)
    assert kind is type(error)
    assert (status, outcome, retryable) == (error.status, error.outcome, error.retryable)
    assert (1, f"conversations.{operation}") == (error.attempts, error.operation)
    assert str(status) in str(error)
    if isinstance(error, StatusError):
        assert "The server's words" == error.detail
        assert "The server's words" in str(error)


ISSUE = {
    "type": "string_too_long",
    "loc": ["body", "title"],
    "msg": "String should have at most 500 characters",
    "input": "private words",
    "ctx": {"max_length": 500},
}
DETAILS: list[tuple[object, object, tuple[ValidationIssue, ...]]] = [
    (
        {"detail": [ISSUE]},
        "body.title: String should have at most 500 characters",
        (
            ValidationIssue(
                loc=("body", "title"), msg="String should have at most 500 characters", type="string_too_long"
            ),
        ),
    ),
    (
        {"detail": [{"type": "json_invalid", "loc": ["body", 7], "msg": "JSON decode error"}, "odd", {"loc": "body"}]},
        "body.7: JSON decode error",
        (ValidationIssue(loc=("body", 7), msg="JSON decode error", type="json_invalid"),),
    ),
    (
        {"detail": "At least one field (title or discarded) must be provided"},
        "At least one field (title or discarded) must be provided",
        (),
    ),
    ({"detail": {"code": "odd", "reason": "none"}}, {"code": "odd", "reason": "none"}, ()),
    ({"detail": []}, None, ()),
    ({"detail": 5}, None, ()),
    ({"detail": None}, None, ()),
    ({}, None, ()),
    ([ISSUE], None, ()),
    ("text", None, ()),
]


@pytest.mark.scenario(75)
@pytest.mark.parametrize(("body", "detail", "issues"), DETAILS)
async def test_validation_errors(
    side: Side, operation: str, mocked: Mocked, body: object, detail: object, issues: tuple[ValidationIssue, ...]
) -> None:
    """A 422 is understood in both of the server's shapes, bears every other one, and never repeats what was sent."""
    announce(mocked, operation, status=422, body=json.dumps(body))
    error = await failure(side, operation)
    assert isinstance(error, UnprocessableEntityError)
    assert (detail, issues) == (error.detail, error.errors)
    assert "private words" not in f"{error} {error!r} {error.errors!r}"


@pytest.mark.parametrize(
    ("headers", "retry_after", "limit"),
    [
        ({"Retry-After": "1234", "X-RateLimit-Limit": "25", "X-RateLimit-Remaining": "0"}, 1234.0, 25),
        ({"retry-after": "0", "x-ratelimit-limit": "2500"}, 0.0, 2500),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0, None),
        ({"Retry-After": "soon", "X-RateLimit-Limit": "many"}, None, None),
        ({"Retry-After": "-5", "X-RateLimit-Limit": "-25"}, None, None),
        ({}, None, None),
    ],
)
async def test_rate_limit(
    side: Side, operation: str, mocked: Mocked, headers: dict[str, str], retry_after: float | None, limit: int | None
) -> None:
    """A 429 carries the wait and the allowance where the server gave them in a readable form."""
    detail = "Rate limit exceeded. Try again in 1234s."
    announce(mocked, operation, status=429, payload={"detail": detail}, headers=headers)
    error = await failure(side, operation)
    assert isinstance(error, RateLimitError)
    assert (retry_after, limit, detail) == (error.retry_after, error.limit, error.detail)


async def test_missing_scope(side: Side, operation: str, mocked: Mocked) -> None:
    """A 403 names the scope that the key lacks where the server's text does."""
    detail = "Insufficient permissions. Required scope: conversations:write"
    announce(mocked, operation, status=403, payload={"detail": detail})
    error = await failure(side, operation)
    assert isinstance(error, PermissionDeniedError)
    assert "conversations:write" == error.required_scope


@pytest.mark.parametrize("status", [401, 404, 500, 503])
@pytest.mark.parametrize("body", ["", "Server Error", "<html>", "[]", "null", '"text"', '{"detail"', "\ufeff{}"])
async def test_error_without_json(side: Side, operation: str, mocked: Mocked, status: int, body: str) -> None:
    """A refusal keeps its class and status whatever its body is."""
    announce(mocked, operation, status=status, body=body, content_type="text/plain")
    error = await failure(side, operation)
    assert isinstance(error, StatusError)
    assert (status, None) == (error.status, error.detail)


async def test_unannounced_request(side: Side, operation: str, mocked: Mocked) -> None:
    """A request that nobody announced reaches no network: the mock refuses it, and the client reports that."""
    error = await failure(side, operation)
    assert isinstance(error, TransportError)
    assert (METHODS[operation], URL) == mocked.only[:2]
