"""`client.request`: operations without a method of their own, by the rules of all calls."""

import asyncio
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from omi_async import (
    AsyncOmiClient,
    InvalidRequestError,
    OmiError,
    RateLimitError,
    RawResponse,
    ResponseError,
    RouteNotFoundError,
)
from omi_async.sandbox import Sandbox
from tests.support import inside
from tests.support.clock import VirtualClock
from tests.support.raw import RawServer, answer
from tests.support.replies import FAILED, Step, close, in_turn, succeed
from tests.support.sides import KEY, Side

MEMORIES = "/v1/dev/user/memories"
SECRET = "canary-of-a-body"


def raw(
    method: Any = "GET", path: Any = MEMORIES, params: Any = None, json: Any = None, repeatable: Any = False
) -> Any:
    return inside.raw(method, path, params, json, repeatable)


async def call(side: Side, client: Any, *arguments: Any, **settings: Any) -> RawResponse:
    if isinstance(client, AsyncOmiClient):
        return await client.request(*arguments, **settings)
    result = await asyncio.to_thread(client.request, *arguments, **settings)
    assert isinstance(result, RawResponse)
    return result


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("GET", MEMORIES), ("GET", MEMORIES, None, "none", (f"reads {MEMORIES}",))),
        (("GET", MEMORIES, {}), ("GET", MEMORIES, None, "none", (f"reads {MEMORIES}",))),
        (
            ("GET", f"{MEMORIES}/search", {"q": "a b&c=é/?#+", "limit": 5, "deep": True, "x": ""}),
            ("GET", f"{MEMORIES}/search?q=a%20b%26c%3D%C3%A9%2F%3F%23%2B&limit=5&deep=true&x=", None, "none", ...),
        ),
        (("POST", MEMORIES, None, {"a": ["é", 1.5, None]}), ("POST", MEMORIES, '{"a":["é",1.5,null]}', "once", ...)),
        (("POST", MEMORIES, None, False), ("POST", MEMORIES, "false", "once", (f"writes {MEMORIES}",))),
        (("PUT", MEMORIES, None, {}, True), ("PUT", MEMORIES, "{}", "repeatable", ...)),
        (("DELETE", f"{MEMORIES}/m1"), ("DELETE", f"{MEMORIES}/m1", None, "once", (f"writes {MEMORIES}",))),
        (
            ("GET", "/v1/dev/user/conversations/c1"),
            ("GET", "/v1/dev/user/conversations/c1", None, "none", ("reads /v1/dev/user/conversations",)),
        ),
        (
            ("PATCH", "/v1/dev/user/conversations/c1", None, {}),
            ("PATCH", ..., "{}", "once", ("writes /v1/dev/user/conversations",)),
        ),
        (("GET", "/v1/dev/keys"), ("GET", "/v1/dev/keys", None, "none", ("reads /v1/dev/keys",))),
    ],
)
def test_requests(arguments: Any, sent: tuple[Any, ...]) -> None:
    """A request goes out as it was given, counts for its resource, and is repeated only where that does no harm."""
    request = raw(*arguments)
    assert isinstance(request, inside.Request)
    body = None if request.body is None else request.body.decode()
    found = (request.method, request.path, body, request.effect, request.windows)
    assert [each for each in sent if each is not ...] == [
        each for each, wanted in zip(found, sent, strict=True) if wanted is not ...
    ]
    assert f"{arguments[0]} {arguments[1]}" == request.operation


def test_nothing_private_is_shown() -> None:
    """A request that shows up in a traceback's locals shows neither parameters nor body."""
    for request in (raw("GET", params={"q": SECRET}), raw("POST", json={"content": SECRET})):
        assert isinstance(request, inside.Request)
        assert MEMORIES in repr(request)
        assert SECRET not in repr(request)


BAD_PATHS = [
    *(
        "",
        "/",
        "/v1",
        "/v1/",
        "v1/dev",
        "/v2/dev",
        "/v10/dev",
        "/V1/dev",
        "//evil.example/v1/x",
        "/v1//dev",
        "/v1/dev/",
    ),
    *("https://evil.example/v1/x", "@evil.example/v1/x", "/v1/../v2/x", "/v1/dev/..", "/v1/dev/./x", "/v1/.hidden"),
    *("/v1/dev?x=1", "/v1/dev#x", "/v1/%2e%2e/x", "/v1/a%2Fb", "/v1/a\\b", "/v1/a b", "/v1/a\r\nX: y", "/v1/a\n"),
    *("/v1/é", "/v1/\ud800", "/v1/a;b", "/v1/a:b", "/v1/a@b", "/v1/" + "a" * 129, "/v1" + "/a" * 17, " /v1/dev"),
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_bad_paths(path: str) -> None:
    """A path that could name another server, or another operation than it seems to, is refused."""
    refusal = raw(path=path)
    assert InvalidRequestError is type(refusal)
    assert "path must begin with /v1/" in str(refusal)


@given(st.text(alphabet="v1/ab._~-%?#\\@: \n", max_size=20))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_a_path_arrives_as_it_is(text: str) -> None:
    """Whatever path is not refused stays on the server, and arrives byte for byte."""
    request = raw(path=f"/v1/{text}")
    if isinstance(request, inside.Request):
        for normal in (False, True):
            url = URL(f"https://api.omi.me{request.path}", encoded=not normal)
            assert ("api.omi.me", f"/v1/{text}") == (url.host, url.raw_path_qs)


class Loop(list[Any]):
    """Holds itself."""


LOOP = Loop()
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"method": "get"}, InvalidRequestError, "method must be one of"),
        ({"method": "HEAD"}, InvalidRequestError, "method must be one of"),
        ({"method": "GET /evil HTTP/1.1\r\n"}, InvalidRequestError, "method must be one of"),
        ({"method": None}, InvalidRequestError, "method must be one of"),
        ({"path": b"/v1/dev"}, TypeError, "path must be a str"),
        ({"json": {}}, InvalidRequestError, "a GET takes params"),
        ({"params": f"q={SECRET}"}, TypeError, "params must be a mapping"),
        ({"params": {"q": None}}, TypeError, "params must have"),
        ({"params": {"q": [SECRET]}}, TypeError, "params must have"),
        ({"params": {5: SECRET}}, TypeError, "params must have"),
        ({"params": {"q": f"{SECRET}\ud800"}}, InvalidRequestError, "params must not contain lone surrogates"),
        ({"method": "POST", "json": {"a": float("nan")}}, InvalidRequestError, "json must be"),
        ({"method": "POST", "json": {"a": {SECRET}}}, InvalidRequestError, "json must be"),
        ({"method": "POST", "json": {"a": f"{SECRET}\udfff"}}, InvalidRequestError, "json must be"),
        ({"method": "POST", "json": SECRET.encode()}, InvalidRequestError, "json must be"),
        ({"method": "POST", "json": LOOP}, InvalidRequestError, "json must be"),
        ({"method": "POST", "repeatable": 1}, TypeError, "repeatable must be True or False"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode() if isinstance(value, dict) else "",
)
def test_refusals(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    """A bad argument is refused by its name, in words and a traceback that do not repeat it."""
    refusal = raw(**settings)
    assert kind is type(refusal)
    assert words in str(refusal)
    assert SECRET not in "".join(traceback.format_exception(refusal))
    assert (None, None, None) == (refusal.__traceback__, refusal.__cause__, refusal.__context__)


@pytest.mark.parametrize(
    ("reply", "json"),
    [
        (answer(200, {"a": [1, None]}), {"a": [1, None]}),
        (answer(201, [{"id": "m1"}]), [{"id": "m1"}]),
        (answer(200, b"null"), None),
        (b"HTTP/1.1 204 x\r\n\r\n", None),
    ],
    ids=["object", "array", "null", "204"],
)
async def test_answers(side: Side, reply: bytes, json: object) -> None:
    """A success is given as it came: status, headers and decoded body."""
    async with RawServer(in_turn(reply.replace(b"\r\n", b"\r\nX-Some: a\r\nx-some: b\r\n", 1))) as server:
        result = await call(side, side.client(server.url), "POST", MEMORIES, json={"content": "x"})
        (exchange,) = server.log
    assert (int(reply[9:12]), json, "a, b") == (result.status, result.json, result.headers["x-some"])
    assert f"Bearer {KEY}" == exchange.headers["authorization"]
    assert ("application/json", b'{"content":"x"}') == (exchange.headers["content-type"], exchange.body)


@pytest.mark.parametrize(
    ("method", "repeatable", "step", "requests", "outcome", "retryable"),
    [
        ("GET", False, close, 3, "not_applied", True),
        ("GET", False, answer(200, "<html>"), 3, "not_applied", True),
        ("POST", False, close, 1, "unknown", False),
        ("POST", True, close, 3, "unknown", True),
        ("DELETE", False, FAILED, 1, "unknown", False),
        ("PUT", True, FAILED, 3, "unknown", True),
        ("PATCH", False, answer(404, {"detail": "Memory not found"}), 1, "not_applied", False),
        ("DELETE", True, answer(307, headers={"Location": "http://evil.example/"}), 1, "unknown", False),
    ],
)
async def test_failures(
    side: Side, method: str, repeatable: bool, step: Step, requests: int, outcome: str, retryable: bool
) -> None:
    """What fails is repeated and reported like any other call, by what the method may do."""
    async with RawServer(in_turn(step)) as server:
        client = side.client(server.url, retry=VirtualClock().policy())
        with pytest.raises(OmiError) as caught:
            await call(side, client, method, f"{MEMORIES}/m1", repeatable=repeatable)
        assert requests == len(server.log) == caught.value.attempts
    assert (outcome, retryable) == (caught.value.outcome, caught.value.retryable)
    assert f"{method} {MEMORIES}/m1" == caught.value.operation


async def test_windows(side: Side) -> None:
    """A spent window of one resource holds up neither another resource nor the conversations."""
    throttled = answer(429, {"detail": "x"}, headers={"Retry-After": "600", "X-RateLimit-Limit": "1"})
    async with RawServer(in_turn(throttled, succeed)) as server:
        client = side.client(server.url, retry=VirtualClock().policy())
        for _ in range(2):
            with pytest.raises(RateLimitError):
                await call(side, client, "POST", MEMORIES)
        assert 200 == (await call(side, client, "POST", "/v1/dev/user/goals")).status
        await side.call(client, "update")
        assert 3 == len(server.log)


async def test_sandbox(side: Side) -> None:
    """An operation that has a method gives the same by hand; one that this server does not have says so."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        listed = await call(side, client, "GET", "/v1/dev/user/conversations", params={"limit": 2, "starred": True})
        assert ["conv_standup"] == [row["id"] for row in listed.json]
        with pytest.raises(RouteNotFoundError, match="GET /v1/dev/user/nothing"):
            await call(side, client, "GET", "/v1/dev/user/nothing")


def test_an_unreadable_success() -> None:
    """A success that is no JSON is an error, an empty one included: nobody is handed half of it."""
    for body in (b"", b"<html>", b"NaN", b"\xff", b'{"a":[9007199254740993]}', b"-1e400"):
        with pytest.raises(ResponseError) as caught:
            inside.read(raw(), inside.Answer(200, body=body))
        assert "$" == caught.value.path
