"""What a call makes of the status of an answer: results, refusals, retries, and what may have been applied."""

import asyncio
import contextlib
import gzip
import itertools
import json
import re
import socket
from typing import Any

import pytest

from omi_async import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Deletion,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RouteNotFoundError,
    ServerError,
    StatusError,
    UnprocessableEntityError,
    ValidationIssue,
)
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, answer, conversation
from tests.support.replies import FAILED, MISSING, THROTTLED, Call, Step, call, close, outcome, reset, succeed
from tests.support.sides import KEY, Side

HTML = "<html><head><title>502</title></head><body><h1>Bad Gateway</h1>nginx</body></html>"
UNCONFIRMED = Deletion(id="conv_1", confirmed=False)
CONFIRMED = Deletion(id="conv_1", confirmed=True)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def assert_success(ended: Call, operation: str) -> None:
    if operation == "delete":
        assert CONFIRMED == ended.result
    else:
        assert "conv_1" == ended.conversation.id


def good_body(operation: str) -> dict[str, Any]:
    return {"success": True} if operation == "delete" else conversation()


# 2xx


@pytest.mark.scenario(51)
async def test_good(side: Side, operation: str) -> None:
    """A good answer is the result of one request, sent as the API wants it."""
    ended = await call(side, operation, succeed)
    assert_success(ended, operation)
    assert [] == ended.sleeps
    [exchange] = ended.log
    assert "/v1/dev/user/conversations/conv_1" == exchange.path
    assert f"Bearer {KEY}" == exchange.headers["authorization"]
    if operation == "update":
        assert ("PATCH", b'{"title":"Design review"}') == (exchange.method, exchange.body)
    else:
        assert ("DELETE", b"") == (exchange.method, exchange.body)


@pytest.mark.scenario(52)
async def test_another_record(side: Side) -> None:
    """The answer of another record is not taken for the one asked for."""
    ended = await call(side, "update", answer(200, conversation("conv_2")))
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3, "$.id") == (ended.failure.outcome, ended.requests, ended.failure.path)
    assert "conv_2" not in str(ended.failure)


@pytest.mark.scenario(53)
async def test_another_title(side: Side) -> None:
    """A title that differs from the one sent is returned as the server has it: somebody else may have written."""
    structured = {**conversation()["structured"], "title": "  Somebody else's "}
    ended = await call(side, "update", answer(200, conversation(structured=structured)))
    assert "  Somebody else's " == ended.conversation.structured.title
    assert 1 == ended.requests


@pytest.mark.scenario(54)
@pytest.mark.parametrize("status", [201, 202, 203, 206, 299])
async def test_other_2xx(side: Side, operation: str, status: int) -> None:
    """A 201 says that a record is stored. Any other 2xx does not say that a write is done, whatever its body says."""
    ended = await call(side, operation, answer(status, good_body(operation)))
    if (operation, status) == ("update", 201):
        assert ("Design review", 1) == (ended.conversation.structured.title, ended.requests)
        return
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3, None) == (ended.failure.outcome, ended.requests, ended.failure.path)
    assert f"answered {status}" in str(ended.failure)
    if operation == "delete":
        # An accepted deletion that was carried out meanwhile is told like a lost one.
        assert UNCONFIRMED == (await call(side, operation, answer(status, good_body(operation)), MISSING)).result


EMPTY = {
    "200": answer(200),
    "200 chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "202": answer(202),
    "205": answer(205),
}


@pytest.mark.scenario(55)
async def test_no_content_after_a_delete(side: Side) -> None:
    """A DELETE that is answered with an empty 204 has succeeded."""
    ended = await call(side, "delete", NO_CONTENT)
    assert CONFIRMED == ended.result
    assert 1 == ended.requests


@pytest.mark.scenario(55)
@pytest.mark.parametrize("form", EMPTY)
async def test_nothing_after_a_delete(side: Side, form: str) -> None:
    """A DELETE that is answered with any other empty 2xx may have been done: the API answers with a body or a 204."""
    ended = await call(side, "delete", EMPTY[form])
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3) == (ended.failure.outcome, ended.requests)


@pytest.mark.scenario(56)
@pytest.mark.parametrize("reply", [NO_CONTENT, *EMPTY.values(), answer(200, "null")], ids=["204", *EMPTY, "null"])
async def test_nothing_after_an_update(side: Side, reply: bytes) -> None:
    """A PATCH that is answered without a conversation may have been applied, and is tried again."""
    ended = await call(side, "update", reply)
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3) == (ended.failure.outcome, ended.requests)


@pytest.mark.scenario(57)
async def test_success_false(side: Side) -> None:
    """A DELETE whose answer denies success is an error that is not repeated."""
    ended = await call(side, "delete", answer(200, {"success": False}))
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)


@pytest.mark.scenario(58)
@pytest.mark.parametrize(
    "body",
    ['{"success":"false"}', '{"success":"true"}', '{"success":1}', '{"success":null}', '{"success":[true]}', "{}"]
    + ['{"Success":true}', "[]", '[{"success":true}]', "true", "1", '"success"', "null", '{"success":{}}'],
)
async def test_success_of_another_kind(side: Side, body: str) -> None:
    """Only the JSON word true, in its place, makes a DELETE a success."""
    ended = await call(side, "delete", answer(200, body))
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3) == (ended.failure.outcome, ended.requests)


# Refusals


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, BadRequestError, marks=pytest.mark.scenario(59)),
        pytest.param(401, AuthenticationError, marks=pytest.mark.scenario(60)),
        pytest.param(402, PaymentRequiredError, marks=pytest.mark.scenario(62)),
        pytest.param(403, PermissionDeniedError, marks=pytest.mark.scenario(63)),
        *[
            pytest.param(status, StatusError, marks=pytest.mark.scenario(72))
            for status in (405, 406, 410, 411, 413, 414, 415, 426, 431, 451)
        ],
        pytest.param(409, ConflictError, marks=pytest.mark.scenario(74)),
        pytest.param(412, StatusError, marks=pytest.mark.scenario(74)),
        pytest.param(423, StatusError, marks=pytest.mark.scenario(74)),
        pytest.param(422, UnprocessableEntityError, marks=pytest.mark.scenario(75)),
    ],
)
async def test_refusals(side: Side, operation: str, status: int, error: type[StatusError]) -> None:
    """A refusal is raised at once as its own class, and nothing was changed."""
    ended = await call(side, operation, answer(status, {"detail": "The server's words."}))
    failure = ended.failure
    assert error is type(failure)
    assert ("not_applied", False, 1) == (failure.outcome, failure.retryable, ended.requests)
    assert (status, "The server's words.") == (failure.status, failure.detail)
    assert "The server's words" in str(failure)


@pytest.mark.scenario(64)
async def test_missing(side: Side, operation: str) -> None:
    """A 404 in the API's words for the record is raised at once: there is no such record."""
    ended = await call(side, operation, MISSING)
    failure = ended.failure
    assert NotFoundError is type(failure)
    assert ("not_applied", False, 1) == (failure.outcome, failure.retryable, ended.requests)
    assert (404, "Conversation not found", False) == (failure.status, failure.detail, failure.from_intermediary)


@pytest.mark.scenario(64)
async def test_missing_route(side: Side, operation: str) -> None:
    """A 404 in the router's words says nothing about the record: this server does not have the operation."""
    ended = await call(side, operation, answer(404, {"detail": "Not Found"}))
    assert RouteNotFoundError is type(ended.failure)
    assert ("not_applied", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    assert not ended.failure.from_intermediary


@pytest.mark.scenario(64)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, HTML),
        (404, b""),
        (404, {"detail": "conversation not found"}),
        (404, {"detail": {"code": "Conversation not found"}}),
        (404, ["Conversation not found"]),
        (400, HTML),
        (403, {"error": "blocked"}),
        (403, {"detail": {}}),
        (409, "Conflict"),
        (413, b""),
    ],
)
async def test_refused_on_the_way(side: Side, operation: str, status: int, body: object) -> None:
    """A refusal that is not in the API's words did not let the request through, and may go away."""
    ended = await call(side, operation, answer(status, body), succeed)
    assert_success(ended, operation)
    assert 2 == ended.requests
    failure = (await call(side, operation, answer(status, body))).failure
    assert (status, "not_applied", True, 3) == (failure.status, failure.outcome, failure.retryable, failure.attempts)
    assert failure.from_intermediary
    assert "something in between" in str(failure)


@pytest.mark.scenario(60)
async def test_key_in_a_refusal(side: Side, operation: str) -> None:
    """A 401 that repeats the key is reported without it."""
    ended = await call(side, operation, answer(401, {"detail": f"Invalid API Key 'Bearer {KEY}'"}))
    assert isinstance(ended.failure, AuthenticationError)
    for text in (str(ended.failure), repr(ended.failure), str(vars(ended.failure))):
        assert KEY.removeprefix("omi_dev_") not in text
    assert "Settings -> Developer" in str(ended.failure)


@pytest.mark.scenario(61)
async def test_rotated_key(side: Side, operation: str) -> None:
    """A 401 is not tried again, since the key would be the same."""
    ended = await call(side, operation, answer(401, {"detail": "Invalid API Key"}), succeed)
    assert isinstance(ended.failure, AuthenticationError)
    assert 1 == ended.requests


@pytest.mark.scenario(63)
@pytest.mark.parametrize(
    "detail",
    [
        {"code": "account_deletion_in_progress", "status": "queued", "retryable": False},
        {"code": "migration_maintenance", "retryable": True},
        {"code": 5, "message": None, "more": {"list": [1, "a"]}},
    ],
)
async def test_object_as_detail(side: Side, operation: str, detail: dict[str, object]) -> None:
    """A 403 whose detail is an object keeps it whole, and is final whatever it says of retries."""
    ended = await call(side, operation, answer(403, {"detail": detail}))
    failure = ended.failure
    assert isinstance(failure, PermissionDeniedError)
    assert (detail, None) == (failure.detail, failure.required_scope)
    assert ("not_applied", 1) == (failure.outcome, ended.requests)
    if isinstance(detail.get("code"), str):
        assert str(detail["code"]) in str(failure)


@pytest.mark.scenario(63)
async def test_missing_scope(side: Side, operation: str) -> None:
    """A 403 names the scope that the key lacks."""
    words = "Insufficient permissions. Required scope: conversations:write"
    ended = await call(side, operation, answer(403, {"detail": words}))
    assert isinstance(ended.failure, PermissionDeniedError)
    assert "conversations:write" == ended.failure.required_scope


# A record that is missing after an attempt that may have removed it


async def half_a_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    exchange.close()


async def half_a_body(exchange: Exchange) -> None:
    await exchange.send(answer(200, {"success": True})[:-4])
    exchange.close()


LOSSES: dict[str, Step] = {
    "closed": close,
    "reset": reset,
    "head cut": half_a_head,
    "body cut": half_a_body,
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTML": answer(200, HTML),
    "denied word": answer(200, {"success": "true"}),
}


@pytest.mark.scenario(65, 66)
@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize("loss", LOSSES)
async def test_delete_that_then_finds_nothing(side: Side, loss: str, applied: bool) -> None:
    """A DELETE whose first answer is lost and that then finds nothing is a success, but not a confirmed one.

    That holds where the first request removed the record and where there never was one: nobody can tell which.
    """
    records = {"conv_1"} if applied else set()

    async def lose(exchange: Exchange) -> None:
        records.discard("conv_1")
        step = LOSSES[loss]
        await (exchange.send(step) if isinstance(step, bytes) else step(exchange))

    async def find(exchange: Exchange) -> None:
        assert "conv_1" not in records
        await exchange.send(MISSING)

    ended = await call(side, "delete", lose, find)
    assert UNCONFIRMED == ended.result
    assert 2 == ended.requests


@pytest.mark.scenario(67)
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 599, 408, 425, 460, 499])
async def test_failed_delete_that_then_finds_nothing(side: Side, status: int) -> None:
    """A DELETE that was removed before its answer failed, and then finds nothing, is an unconfirmed success."""
    ended = await call(side, "delete", answer(status, "Failed"), MISSING)
    assert UNCONFIRMED == ended.result
    assert 2 == ended.requests


@pytest.mark.scenario(67)
@pytest.mark.parametrize(
    ("reply", "requests"),
    [
        pytest.param(answer(404, {"detail": "Not Found"}), 2, id="no such route"),
        pytest.param(answer(410, {"detail": "Conversation not found"}), 2, id="410"),
        pytest.param(answer(404, HTML), 3, id="HTML"),
        pytest.param(answer(404), 3, id="empty"),
        pytest.param(answer(404, {"detail": "Memory not found"}), 3, id="another kind of record"),
    ],
)
async def test_failed_delete_and_other_words(side: Side, reply: bytes, requests: int) -> None:
    """Only the API's own words for a missing record settle a DELETE that was lost; after all others it stays open."""
    ended = await call(side, "delete", close, reply)
    assert ("unknown", requests) == (ended.failure.outcome, ended.requests)


@pytest.mark.scenario(68)
async def test_missing_after_a_throttled_delete(side: Side) -> None:
    """A DELETE that was throttled and then finds nothing has removed nothing: not found."""
    ended = await call(side, "delete", THROTTLED, MISSING)
    assert isinstance(ended.failure, NotFoundError)
    assert ("not_applied", 2) == (ended.failure.outcome, ended.requests)


@pytest.mark.scenario(68)
async def test_missing_after_a_refused_connection(side: Side) -> None:
    """A DELETE that could not connect and then finds nothing has removed nothing: not found."""
    loop, clock = asyncio.get_running_loop(), VirtualClock()
    with contextlib.closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = reserved.getsockname()[1]
        async with contextlib.AsyncExitStack() as stack:

            async def open_up() -> None:
                reserved.close()
                servers.append(await stack.enter_async_context(RawServer(script, port=port)))

            async def script(exchange: Exchange) -> None:
                await exchange.send(MISSING)

            async def sleep(seconds: float) -> None:
                await clock.sleep(seconds)
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(open_up(), loop))

            servers: list[RawServer] = []
            client = side.client(f"http://127.0.0.1:{port}", retry=RetryPolicy(sleep=sleep, clock=clock.monotonic))
            _, error = await outcome(side, client, "delete")
            assert isinstance(error, NotFoundError)
            assert ("not_applied", 2) == (error.outcome, error.attempts)
            assert 1 == len(servers[0].log)


@pytest.mark.scenario(69)
@pytest.mark.parametrize("first", [close, reset, answer(504), answer(200, HTML)], ids=["close", "reset", "504", "HTML"])
async def test_missing_after_an_unknown_update(side: Side, first: Step) -> None:
    """A PATCH that was lost and then finds nothing is not found, and may have been applied before."""
    ended = await call(side, "update", first, MISSING)
    assert isinstance(ended.failure, NotFoundError)
    assert ("unknown", 2) == (ended.failure.outcome, ended.requests)


@pytest.mark.parametrize("last", [400, 401, 402, 403, 409, 422, 429, 451])
@pytest.mark.scenario(69)
async def test_refused_after_an_unknown_attempt(side: Side, operation: str, last: int) -> None:
    """A refusal after a lost answer does not show that nothing was changed."""
    ended = await call(side, operation, close, answer(last, {"detail": "No."}))
    assert ("unknown", last) == (ended.failure.outcome, ended.failure.status)


@pytest.mark.scenario(70)
async def test_update_that_races_a_delete(side: Side) -> None:
    """A PATCH whose record is removed before the server reads it back is tried again, then not found."""
    record = {"title": "Before"}

    async def update_while_deleted(exchange: Exchange) -> None:
        record.update(json.loads(exchange.body))
        record.clear()
        await exchange.send(FAILED)

    async def update(exchange: Exchange) -> None:
        assert {} == record
        await exchange.send(MISSING)

    ended = await call(side, "update", update_while_deleted, update)
    assert isinstance(ended.failure, NotFoundError)
    assert ("unknown", 2) == (ended.failure.outcome, ended.requests)


class HalfStore:
    """Stores the title, then fails before `discarded`, the given number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.record = {"title": "Before", "discarded": False}

    async def __call__(self, exchange: Exchange) -> None:
        fields = json.loads(exchange.body)
        self.record["title"] = fields["title"]
        if self.failures:
            self.failures -= 1
            await exchange.send(FAILED)
            return
        self.record["discarded"] = fields["discarded"]
        structured = {"title": self.record["title"], "overview": "", "category": "work"}
        await exchange.send(answer(200, conversation(structured=structured)))


@pytest.mark.scenario(71)
async def test_half_an_update(side: Side) -> None:
    """A PATCH of which the server stored a half is sent again whole, and ends whole."""
    store = HalfStore(failures=2)
    ended = await call(side, "update", store, title="After", discarded=True)
    assert "After" == ended.conversation.structured.title
    assert {"title": "After", "discarded": True} == store.record
    assert [b'{"title":"After","discarded":true}'] * 3 == [exchange.body for exchange in ended.log]


@pytest.mark.scenario(71)
async def test_half_an_update_for_good(side: Side) -> None:
    """A PATCH that stays half stored is an error that says so."""
    store = HalfStore(failures=3)
    ended = await call(side, "update", store, title="After", discarded=True)
    assert {"title": "After", "discarded": False} == store.record
    assert isinstance(ended.failure, ServerError)
    assert "unknown" == ended.failure.outcome
    assert re.search(r"\b(part|partly|half)\b", str(ended.failure))


# Statuses that are tried again


@pytest.mark.scenario(73)
@pytest.mark.parametrize("status", [408, 425])
async def test_too_late_or_too_early(side: Side, operation: str, status: int) -> None:
    """408 and 425 may come from something in between, so they are repeated and leave it open."""
    ended = await call(side, operation, answer(status, {"error": "clock_skew", "message": "..."}), succeed)
    assert_success(ended, operation)
    ended = await call(side, operation, answer(status, {"error": "clock_skew", "message": "..."}))
    assert StatusError is type(ended.failure)
    assert ("unknown", 3, None) == (ended.failure.outcome, ended.requests, ended.failure.detail)


LONG = "x" * 10 * 2**20


@pytest.mark.scenario(75)
@pytest.mark.parametrize(
    ("body", "detail", "issues"),
    [
        pytest.param(
            {
                "detail": [
                    {"type": "string_too_long", "loc": ["body", "title"], "msg": "Too long", "input": "SECRET"},
                    {"type": "json_invalid", "loc": ["body", 17], "msg": "Odd", "ctx": {"error": "SECRET"}},
                ]
            },
            "body.title: Too long; body.17: Odd",
            (
                ValidationIssue(loc=("body", "title"), msg="Too long", type="string_too_long"),
                ValidationIssue(loc=("body", 17), msg="Odd", type="json_invalid"),
            ),
            id="list",
        ),
        pytest.param({"detail": "At least one field"}, "At least one field", (), id="string"),
        pytest.param({"detail": {"code": "odd"}}, {"code": "odd"}, (), id="object"),
        pytest.param({"detail": [1, {"loc": "x"}, {"loc": [{}], "msg": "m", "type": "t"}]}, None, (), id="odd list"),
    ],
)
async def test_validation_errors(
    side: Side, operation: str, body: object, detail: object, issues: tuple[ValidationIssue, ...]
) -> None:
    """A 422 with a detail of any shape is a validation error; the detail is kept where it is well formed."""
    ended = await call(side, operation, answer(422, body))
    failure = ended.failure
    assert isinstance(failure, UnprocessableEntityError)
    assert ("not_applied", 1) == (failure.outcome, ended.requests)
    assert (detail, issues) == (failure.detail, failure.errors)
    assert "SECRET" not in str(vars(failure))


@pytest.mark.scenario(75)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": "odd"}, id="missing"),
        pytest.param({"detail": None}, id="null"),
        pytest.param({"detail": 5}, id="number"),
        pytest.param({"detail": []}, id="empty list"),
        pytest.param("[1]", id="not an object"),
        pytest.param(HTML, id="HTML"),
        pytest.param({"detail": LONG}, id="10 MB string"),
        pytest.param({"detail": [{"loc": ["body"], "msg": LONG, "type": "t"}]}, id="10 MB list"),
    ],
)
async def test_validation_errors_of_others(side: Side, operation: str, body: object) -> None:
    """A 422 without a detail, or with a page around it that is too long to be the API's, is somebody else's."""
    ended = await call(side, operation, answer(422, body))
    failure = ended.failure
    assert isinstance(failure, UnprocessableEntityError)
    assert ("not_applied", True, 3) == (failure.outcome, failure.retryable, ended.requests)
    assert (None, (), True) == (failure.detail, failure.errors, failure.from_intermediary)


@pytest.mark.scenario(76)
@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
async def test_throttled_without_headers(side: Side, operation: str, random: float) -> None:
    """A 429 that does not say how long is repeated after the longer waits for throttling."""
    clock = VirtualClock(random=random)
    ended = await call(side, operation, THROTTLED, answer(429), succeed, clock=clock)
    assert_success(ended, operation)
    assert [random * 1.0, random * 2.0] == clock.sleeps


@pytest.mark.scenario(77)
@pytest.mark.parametrize("status", [500, 502, 503, 504, *range(520, 531), 599])
async def test_server_errors(side: Side, operation: str, status: int) -> None:
    """A failing server is asked again with growing waits, and may have applied the write."""
    ended = await call(side, operation, answer(status, "Failed"))
    assert ServerError is type(ended.failure)
    assert ("unknown", True, status) == (ended.failure.outcome, ended.failure.retryable, ended.failure.status)
    assert (3, [0.25, 0.5]) == (ended.requests, ended.sleeps)


@pytest.mark.scenario(77)
async def test_growth_of_the_waits(side: Side, operation: str) -> None:
    """The bound of the waits doubles up to its maximum."""
    ended = await call(side, operation, FAILED, policy={"attempts": 9, "maximum": 4.0})
    assert [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0] == ended.sleeps


@pytest.mark.scenario(78)
@pytest.mark.parametrize("status", [501, 505, 511])
async def test_server_errors_for_good(side: Side, operation: str, status: int) -> None:
    """What the server cannot do at all is not asked again."""
    ended = await call(side, operation, answer(status, "Failed"), succeed)
    assert ServerError is type(ended.failure)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)


@pytest.mark.scenario(79)
@pytest.mark.parametrize(
    ("body", "headers", "detail"),
    [
        pytest.param(HTML, {"Content-Type": "text/html"}, None, id="HTML"),
        pytest.param(b"", {}, None, id="empty"),
        pytest.param(gzip.compress(HTML.encode()), {"Content-Encoding": "gzip"}, None, id="gzip of HTML"),
        pytest.param(gzip.compress(b'{"detail":"Down"}'), {"Content-Encoding": "gzip"}, "Down", id="gzip of JSON"),
        pytest.param(b"\x1f\x8b broken", {"Content-Encoding": "gzip"}, None, id="broken gzip"),
        pytest.param(b"\xff\xfe\x00", {}, None, id="binary"),
    ],
)
@pytest.mark.parametrize("status", [500, 503])
async def test_bodies_of_server_errors(
    side: Side, operation: str, status: int, body: object, headers: dict[str, str], detail: str | None
) -> None:
    """Whatever stands in the body of a 5xx, it ends as its status says and shows none of the page."""
    ended = await call(side, operation, answer(status, body, headers=headers))
    assert ServerError is type(ended.failure)
    assert ("unknown", 3, status) == (ended.failure.outcome, ended.requests, ended.failure.status)
    assert detail == ended.failure.detail
    assert "nginx" not in f"{ended.failure} {vars(ended.failure)}"


@pytest.mark.scenario(80)
async def test_server_asks_not_to_retry(side: Side, operation: str) -> None:
    """A 503 that says it is not worth repeating is not repeated."""
    detail = {"code": "account_deletion_state_unavailable", "retryable": False}
    ended = await call(side, operation, answer(503, {"detail": detail}), succeed)
    assert ServerError is type(ended.failure)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    assert detail == ended.failure.detail


@pytest.mark.scenario(80)
@pytest.mark.parametrize("status", [400, 403, 409, 501])
async def test_server_asks_to_retry(side: Side, operation: str, status: int) -> None:
    """The server's word only ever stops a retry: it never starts one."""
    ended = await call(side, operation, answer(status, {"detail": {"code": "odd", "retryable": True}}), succeed)
    assert (status, False, 1) == (ended.failure.status, ended.failure.retryable, ended.requests)


@pytest.mark.scenario(80)
@pytest.mark.parametrize("word", [True, None, "false", 0])
async def test_server_does_not_ask_not_to_retry(side: Side, operation: str, word: object) -> None:
    """Anything but a plain false leaves a 503 to be repeated."""
    ended = await call(side, operation, answer(503, {"detail": {"code": "odd", "retryable": word}}), succeed)
    assert_success(ended, operation)
    assert 2 == ended.requests


# Sequences

FAILURES: dict[str, Step] = {
    "a": close,
    "b": reset,
    "c": half_a_head,
    "d": FAILED,
    "e": THROTTLED,
    "f": answer(503, {"detail": "Rate limiter unavailable"}, headers={"Retry-After": "1"}),
    "g": answer(408),
    "h": answer(200, HTML),
    "i": answer(504, headers={"Connection": "close"}),
}


@pytest.mark.scenario(81)
async def test_success_after_failures(side: Side, operation: str) -> None:
    """After any one to three failures that are worth repeating, the success is one more request away."""
    sequences = ["".join(pair) for size in (1, 2) for pair in itertools.product(FAILURES, repeat=size)]
    sequences += ["".join(triple) for triple in itertools.product("ade", repeat=3)]
    counts = dict.fromkeys(sequences, 0)

    async def script(exchange: Exchange) -> None:
        name = exchange.path.rpartition("/")[2]
        counts[name] += 1
        step = FAILURES[name[counts[name] - 1]] if counts[name] <= len(name) else succeed
        await (exchange.send(step) if isinstance(step, bytes) else step(exchange))

    clock = VirtualClock()
    async with RawServer(script) as server:
        for number, name in enumerate(sequences):
            if number % 4 == 0:  # a client's retry budget is not made for this
                client = side.client(server.url, retry=clock.policy(attempts=4))
            result, error = await outcome(side, client, operation, subject=name)
            assert error is None, f"{name}: {error}"
            if operation == "delete":
                assert Deletion(id=name, confirmed=True) == result
    assert {name: len(name) + 1 for name in sequences} == counts


@pytest.mark.scenario(81)
@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
@pytest.mark.parametrize("failure", FAILURES)
async def test_failure_on_every_attempt(side: Side, operation: str, failure: str, attempts: int) -> None:
    """There are as many requests as the policy has attempts, never more."""
    ended = await call(side, operation, FAILURES[failure], policy={"attempts": attempts})
    assert attempts == ended.failure.attempts == ended.requests
    assert ("not_applied" if failure == "e" else "unknown") == ended.failure.outcome
    assert isinstance(ended.failure, RateLimitError) == (failure == "e")
