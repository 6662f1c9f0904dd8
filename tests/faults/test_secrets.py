"""The key and people's words: looked for in everything that a client, its errors and its logs show."""

import asyncio
import copy
import gc
import inspect
import json
import pickle
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

import omi_async
from omi_async import (
    AsyncOmiClient,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    EventLoopError,
    Geolocation,
    InvalidRequestError,
    MemoryUpdate,
    NewMemory,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    RouteNotFoundError,
    ServerError,
    StatusError,
    Timeout,
    TransportError,
    UnprocessableEntityError,
)
from omi_async.sandbox import Sandbox, SandboxConversation, SandboxDailySummary, SandboxGoal, SandboxMemory
from omi_sync import OmiClient
from tests.support import inside, specimens
from tests.support.canary import CHANNELS, Watch, as_pytest_shows_it, channels, hits, paths
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, Script, answer, conversation, in_thread, success
from tests.support.sides import Side
from tests.support.specimens import Specimen

CANARIES = {
    "key": "5ca1ab1e0ddba11f00dfeedc0ffee000",
    "title": "canary-of-a-title-that-is-sent",
    "body": "canary-of-a-body-that-comes-back",
    "refused": "canary-of-a-text-that-is-refused",
    "id token": "eyJ-canary-of-an-id-token",
    "memory": "canary-of-a-memory",
    "goal": "canary-of-a-goal",
    "latitude": "48.137154",
    "longitude": "11.576124",
}
SECRET_KEY = f"omi_dev_{CANARIES['key']}"
TITLE, BODY, REFUSED = CANARIES["title"], CANARIES["body"], CANARIES["refused"]

PLACE = Geolocation(latitude=float(CANARIES["latitude"]), longitude=float(CANARIES["longitude"]))

SAID: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "update": (["conv_1"], {"title": TITLE}),
    "delete": (["conv_1"], {}),
    "create": ([TITLE], {}),
    "get": (["conv_1"], {}),
    "keys.create": (["Laptop"], {"id_token": CANARIES["id token"]}),
    "memories.update": (["conv_1"], {"content": CANARIES["memory"], "tags": [TITLE]}),
    "goals.create": ([CANARIES["goal"]], {"why_it_matters": TITLE}),
    "conversations.create": ([TITLE], {"geolocation": PLACE}),
}
"""What a call of each specimen says, and of each further operation that has another kind of secret to say."""

FURTHER = [operation for operation in SAID if "." in operation]

ECHO = {"X-Echo": SECRET_KEY, "X-Said": BODY, "WWW-Authenticate": f"Bearer {SECRET_KEY}"}


@attrs.frozen
class Provocation:
    """One way to fail: what the server does, and the call, where it is not the plain one."""

    error: type[Exception]
    script: Script
    call: Callable[[Side, Any, str], Awaitable[object]] | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)


async def plain_call(side: Side, client: Any, operation: str) -> object:
    return await side.call(client, operation, *SAID[operation][0], **SAID[operation][1])


def answers(data: bytes, *, close: bool = False) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        if close:
            exchange.close()

    return script


def refusal(status: int, detail: object) -> Script:
    """A refusal that repeats the key in its detail and headers, and the texts where a server might."""
    body = {"detail": detail, "input": TITLE, "transcript": [{"text": BODY}]}
    return answers(answer(status, body, reason=f"{BODY} {SECRET_KEY}", headers=ECHO))


def repeats(status: int, wording: Callable[[str, Any], object]) -> Script:
    """An answer that repeats what the request said: the token, as it was sent, and the body."""

    async def script(exchange: Exchange) -> None:
        said = json.loads(exchange.body)
        document = {"detail": wording(exchange.headers["authorization"], said), "id": [said]}
        await exchange.send(answer(status, document, headers={"X-Echo": exchange.body.decode()}))

    return script


async def fine(exchange: Exchange) -> None:
    await exchange.succeed()


async def resets(exchange: Exchange) -> None:
    exchange.reset()


async def hangs(exchange: Exchange) -> None:
    await exchange.hang()


async def refused_text(side: Side, client: Any, operation: str) -> object:
    if operation == "update":
        return await side.call(client, operation, title=REFUSED * 20)
    return await side.call(client, operation, REFUSED * 4000 if operation == "create" else "../memories/m1")


async def refused_type(side: Side, client: Any, operation: str) -> object:
    if operation == "update":
        return await side.call(client, operation, title=REFUSED.encode())
    return await side.call(client, operation, b"conv_1")


async def refused_setting(side: Side, client: Any, operation: str) -> object:
    subject, settings = SAID[operation]
    return await side.call(client, operation, *subject, timeout=-1.0 if settings else Timeout(total=-1.0), **settings)


async def after_closing(side: Side, client: Any, operation: str) -> object:
    await plain_call(side, client, operation)
    await close(client)
    return await plain_call(side, client, operation)


async def while_closing(side: Side, client: Any, operation: str) -> object:
    call = asyncio.ensure_future(plain_call(side, client, operation))
    while not inside.transport(client).pool.place.sending:
        await asyncio.sleep(0.001)
    await close(client)
    return await call


async def on_a_wrong_loop(side: Side, client: Any, operation: str) -> object:
    await plain_call(side, client, operation)
    subject, settings = SAID[operation]
    if isinstance(client, AsyncOmiClient):
        call = specimens.call(client, operation, *subject, **settings)
        return await asyncio.to_thread(asyncio.run, call)

    async def call_here() -> object:
        return specimens.call(client, operation, *subject, **settings)

    loop = own_loop(client)
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call_here(), loop))


FIELDS: dict[str, Any] = {"overview": BODY, "emoji": BODY, "category": "work", "action_items": [], "events": []}

PROVOCATIONS: dict[str, Provocation] = {
    "refused text": Provocation(InvalidRequestError, fine, refused_text),
    "refused type": Provocation(TypeError, fine, refused_type),
    "refused setting": Provocation(ConfigurationError, fine, refused_setting),
    "client closed": Provocation(ClientClosedError, fine, after_closing),
    "client closed meanwhile": Provocation(ClientClosedError, hangs, while_closing),
    "wrong loop": Provocation(EventLoopError, fine, on_a_wrong_loop),
    "reset": Provocation(TransportError, resets),
    "broken off": Provocation(TransportError, answers(answer(200, BODY, length=9999, headers=ECHO), close=True)),
    "silence": Provocation(
        RequestTimeoutError, hangs, None, {"timeout": Timeout(attempt=0.1), "retry": RetryPolicy.never()}
    ),
    "whole call": Provocation(RequestTimeoutError, hangs, None, {"timeout": 0.1}),
    "no HTTP": Provocation(ResponseError, answers(f"{BODY} {SECRET_KEY}\r\n\r\n".encode())),
    "bad header": Provocation(
        ResponseError, answers(f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET_KEY}\r\n\r\n{BODY}".encode())
    ),
    "no JSON": Provocation(ResponseError, answers(answer(200, f"<p>{BODY} {SECRET_KEY}", headers=ECHO))),
    "half JSON": Provocation(ResponseError, answers(answer(200, f'{{"id":"{SECRET_KEY}","text":"{BODY}'))),
    "wrong shape": Provocation(
        ResponseError,
        answers(answer(200, conversation(structured={**FIELDS, "title": [BODY, SECRET_KEY]}) | {"success": BODY})),
    ),
    "wrong time": Provocation(
        ResponseError, answers(answer(200, conversation(created_at=f"{BODY} {SECRET_KEY}") | {"success": SECRET_KEY}))
    ),
    "another one": Provocation(
        ResponseError,
        answers(answer(200, conversation(SECRET_KEY, folder_name=BODY) | {"success": False, "why": BODY})),
    ),
    "redirect": Provocation(
        ResponseError,
        answers(
            answer(307, BODY, headers={"Location": f"http://{SECRET_KEY}@127.0.0.1:1/{SECRET_KEY}/?{BODY}#{TITLE}"})
        ),
    ),
    "redirect with a query": Provocation(
        ResponseError,
        answers(answer(301, headers={"Location": f"http://{BODY}:x@127.0.0.1:1/moved?{BODY}#{TITLE}"}), close=True),
    ),
    "odd status": Provocation(ResponseError, answers(answer(799, {"detail": BODY}, reason=SECRET_KEY, headers=ECHO))),
    "400": Provocation(BadRequestError, refusal(400, f"{SECRET_KEY} is no good")),
    "401": Provocation(AuthenticationError, refusal(401, f"Invalid API Key '{SECRET_KEY}'")),
    "402": Provocation(PaymentRequiredError, refusal(402, None)),
    "403": Provocation(
        PermissionDeniedError, refusal(403, {"code": "gone", "key": SECRET_KEY, SECRET_KEY: [SECRET_KEY]})
    ),
    "404": Provocation(NotFoundError, refusal(404, f"Bearer {SECRET_KEY}: Conversation not found")),
    "404 of no route": Provocation(RouteNotFoundError, refusal(404, "Not Found")),
    "405": Provocation(StatusError, refusal(405, "Method Not Allowed")),
    "409": Provocation(ConflictError, refusal(409, {"deep": {"deeper": {"deepest": {"key": SECRET_KEY, "x": [[1]]}}}})),
    "422": Provocation(
        UnprocessableEntityError,
        refusal(
            422,
            [
                {
                    "type": f"string_too_long {SECRET_KEY}",
                    "loc": ["body", "title", SECRET_KEY],
                    "msg": f"String should have at most 500 characters {SECRET_KEY}",
                    "input": TITLE,
                    "ctx": {"text": BODY},
                    "url": BODY,
                }
            ],
        ),
    ),
    "422 of another shape": Provocation(
        UnprocessableEntityError, refusal(422, [TITLE, {"loc": [TITLE], "input": BODY}])
    ),
    "429": Provocation(RateLimitError, refusal(429, f"Rate limit of {SECRET_KEY} exceeded")),
    "500": Provocation(ServerError, answers(answer(500, f"<p>{BODY} {TITLE} {SECRET_KEY}", reason=BODY, headers=ECHO))),
    "503": Provocation(
        ServerError, refusal(503, {"code": f"no {SECRET_KEY}", "message": SECRET_KEY, "retryable": True})
    ),
}

WORDINGS: dict[str, Callable[[str, Any], object]] = {
    "a text": lambda token, said: f"{token} may not say {json.dumps(said)}",
    "an object": lambda token, said: {"code": token, "message": str(said), "said": [said], token: {"deep": said}},
    "issues": lambda token, said: [
        {"loc": ["body", str(said)], "msg": f"{token}: {said}", "type": token, "input": said}
    ],
}
"""Ways in which a server can word what was said to it."""

OF_CONVERSATIONS = {"wrong shape", "wrong time", "another one"}
"""Answers that are wrong for a conversation, and may be right for another record."""

REPEATING = {
    f"{status} with {name}": Provocation(error, repeats(status, wording))
    for status, error in ((400, BadRequestError), (422, UnprocessableEntityError), (503, ServerError))
    for name, wording in WORDINGS.items()
} | {"200 of another shape": Provocation(ResponseError, repeats(200, lambda token, said: [token, said]))}


def own_loop(client: OmiClient) -> asyncio.AbstractEventLoop:
    thread = client._bridge._thread
    assert thread is not None
    return thread.loop


async def close(client: Any) -> None:
    if isinstance(client, AsyncOmiClient):
        await client.aclose()
    else:
        await asyncio.to_thread(client.close)


def failed_assertion(error: BaseException) -> str:
    """What pytest explains about an assertion that fails over an error."""
    try:
        assert {"error": error, "args": error.args, "vars": vars(error)} == {}
    except AssertionError as failure:
        return str(failure)
    return ""


async def provoke(side: Side, operation: str, provocation: Provocation, watch: Watch) -> list[tuple[str, str]]:
    """Fail in one way; every text that could be seen of it."""
    with in_thread(RawServer(provocation.script)) as server:
        settings = {"retry": VirtualClock().policy(), **provocation.settings}
        client: Any = side.client(server.url, api_key=SECRET_KEY, **settings)
        if isinstance(client, OmiClient):  # its loop starts with its first call
            await asyncio.to_thread(client._bridge.run, asyncio.sleep(0))
            watch.overhear(own_loop(client))
        with pytest.raises(provocation.error) as caught:
            await (provocation.call or plain_call)(side, client, operation)
        error = caught.value
        texts = [*channels(error), ("assertion", failed_assertion(error)), ("caught", f"{caught} {caught!r}")]
        texts += [("issue", repr(attrs.asdict(issue))) for issue in getattr(error, "errors", ())]
        assert provocation.error is type(error)
        texts += [*paths(vars(error)), *paths(client)]
        await close(client)
    return texts


SINGLE = [
    getattr(omi_async, name)
    for name in omi_async.__all__
    if isinstance(kind := getattr(omi_async, name), type)
    and issubclass(kind, OmiError)
    and kind is not OmiError
    and name not in ("ArchiveError", "JournalError", "BulkStoppedError")
]
"""Every class of error that one call can raise; those of archives and bulk jobs are their own."""


def test_no_error_is_left_out() -> None:
    """Every public error class that a single call can raise is provoked, and looked at in 15 ways or more."""
    assert [] == [kind for kind in SINGLE if kind not in {each.error for each in PROVOCATIONS.values()}]
    assert 15 <= len(CHANNELS)


def hide(error: OmiError, place: str) -> OmiError:
    """An error that gives a secret away in one place."""
    match place:
        case "message":
            return TransportError(BODY)
        case "attribute":
            error.detail = {"a": {"b": [BODY]}}
        case "another attribute":
            error.issue = omi_async.ValidationIssue(loc=("body", 1), msg=BODY, type="a")  # type: ignore[attr-defined]
        case "note":
            error.add_note(BODY)
        case "cause":
            error.__cause__ = ValueError(BODY)
        case "suppressed context":
            error.__context__, error.__suppress_context__ = ValueError(ValueError(BODY)), True
        case "far cause":
            error.__cause__ = ExceptionGroup("", [ValueError(), hide(TransportError("a"), "cause")])
        case "locals of a library":
            try:
                b64decode(f"={BODY}", validate=True)
            except ValueError as failure:
                error.__cause__ = failure
    return error


@pytest.mark.parametrize(
    "place",
    [
        *("message", "attribute", "another attribute", "note", "cause", "suppressed context", "far cause"),
        "locals of a library",
    ],
)
def test_the_search_finds_what_is_there(place: str) -> None:
    """The search itself works: a secret that an error gives away is found, wherever it is."""
    assert hits(list(channels(hide(TransportError("lost"), place))), CANARIES)
    assert [] == hits(list(channels(TransportError("lost"))), CANARIES)


@pytest.mark.figure
@pytest.mark.scenario(130, 131, 132)
async def test_no_secret_is_shown(
    side: Side, specimen: Specimen, monkeypatch: pytest.MonkeyPatch, figure: Callable[..., None]
) -> None:
    """No channel of any error, log, warning or object shows the key, a title or a body."""
    inside.close_at_once(monkeypatch)
    found: list[tuple[str, str, str]] = []
    looked_at = written = 0
    for name, provocation in PROVOCATIONS.items():
        with Watch(monkeypatch) as watch:
            texts = await provoke(side, specimen.name, provocation, watch)
        texts += watch.texts
        written += len(watch.texts)
        looked_at += len(texts)
        found += [(name, *hit) for hit in hits(texts, CANARIES)]
    assert [] == found
    assert written > len(PROVOCATIONS)
    figure(
        f"secrets, {side.name}, {specimen.name}",
        error_classes=len(SINGLE),
        provocations=len(PROVOCATIONS),
        channels=len(CHANNELS) + 7,  # assertion, caught, issue, log, log record, warning, insides
        texts=looked_at,
        hits=len(found),
    )


@pytest.mark.figure
@pytest.mark.scenario(130, 131, 132)
@pytest.mark.parametrize("operation", FURTHER)
async def test_no_other_secret_is_shown(
    side: Side, operation: str, monkeypatch: pytest.MonkeyPatch, figure: Callable[..., None]
) -> None:
    """Nor does any channel show an ID token, a memory, a goal or coordinates, though the server repeats them."""
    usual = {name: each for name, each in PROVOCATIONS.items() if each.call is None and name not in OF_CONVERSATIONS}
    provocations = usual | REPEATING
    found: list[tuple[str, str, str]] = []
    looked_at = 0
    for name, provocation in provocations.items():
        with Watch(monkeypatch) as watch:
            texts = await provoke(side, operation, provocation, watch)
        texts += watch.texts
        looked_at += len(texts)
        found += [(name, *hit) for hit in hits(texts, CANARIES)]
    assert [] == found
    figure(
        f"secrets, {side.name}, {operation}",
        provocations=len(provocations),
        channels=len(CHANNELS) + 7,
        texts=looked_at,
        hits=len(found),
    )


@pytest.mark.scenario(131)
@pytest.mark.parametrize("name", PROVOCATIONS)
async def test_nothing_hangs_on(side: Side, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error stands alone: no cause, no context, no note, no frame of a library below the client's own."""
    inside.close_at_once(monkeypatch)
    provocation = PROVOCATIONS[name]
    with in_thread(RawServer(provocation.script)) as server:
        client = side.client(
            server.url, api_key=SECRET_KEY, **{"retry": VirtualClock().policy(), **provocation.settings}
        )
        with pytest.raises(provocation.error) as caught:
            await (provocation.call or plain_call)(side, client, "update")
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
    assert not hasattr(caught.value, "__notes__")
    if name in ("reset", "no JSON", "422", "503"):
        assert [] == hits([("pytest", as_pytest_shows_it(caught.value))], CANARIES)
    frames = [str(entry.path) for entry in caught.traceback]
    assert [] == [path for path in frames if re.search(r"aiohttp|cattrs|yarl|multidict", path)]


@pytest.mark.scenario(131)
async def test_errors_in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors that a task group collects, and one that nobody looks at, show no secret in their logs either."""
    with in_thread(RawServer(PROVOCATIONS["401"].script)) as server, Watch(monkeypatch) as watch:
        async with AsyncOmiClient(SECRET_KEY, base_url=server.url) as omi:
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    for number in range(3):
                        group.create_task(omi.conversations.update(f"conv_{number}", title=TITLE))
            forgotten = asyncio.create_task(omi.conversations.update("conv_9", title=TITLE))
            await asyncio.wait([forgotten])
            del forgotten
            gc.collect()
    assert caught.value.exceptions  # the first failure cancels the tasks that have not failed yet
    assert [] == hits([*channels(caught.value), *watch.texts], CANARIES)
    assert any("never retrieved" in text for _, text in watch.texts)


@pytest.mark.scenario(131)
@pytest.mark.parametrize("moment", ["on the wire", "between attempts", "in the queue"])
async def test_a_cancelled_call(operation: str, moment: str) -> None:
    """A call that the caller cancels or limits in time leaves no traceback through frames that hold the key."""
    title = {"title": TITLE} if operation == "update" else {}
    reached = asyncio.Event()

    async def sleep(_: float) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def script(exchange: Exchange) -> None:
        if moment == "between attempts":
            exchange.reset()
        else:
            reached.set()
            await exchange.hang()

    async with (
        RawServer(script) as server,
        AsyncOmiClient(
            SECRET_KEY,
            base_url=server.url,
            max_connections=1,
            retry=RetryPolicy(sleep=sleep),
            timeout=Timeout(total=None),
        ) as omi,
    ):

        async def end(limit: asyncio.Timeout) -> None:
            await reached.wait()
            limit.reschedule(asyncio.get_running_loop().time())

        first = asyncio.create_task(omi.conversations.delete("conv_2")) if moment == "in the queue" else None
        if first is not None:
            await reached.wait()
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(None) as limit:
                ending = asyncio.create_task(end(limit))
                await getattr(omi.conversations, operation)("conv_1", **title)
        await ending
        if first is not None:
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
    assert not isinstance(caught.value, OmiError)
    assert [] == hits(list(channels(caught.value)), CANARIES)


@pytest.mark.scenario(128, 130, 131)
@pytest.mark.parametrize("kind", [AsyncOmiClient, OmiClient])
@pytest.mark.parametrize(
    ("key", "settings"),
    [
        (SECRET_KEY, {"base_url": "http://api.omi.me"}),
        (SECRET_KEY, {"user_agent": "\n"}),
        (SECRET_KEY, {"timeout": -1}),
        (SECRET_KEY, {"max_connections": 0}),
        (SECRET_KEY + "\n", {}),
        (f"Bearer {SECRET_KEY}", {}),
        (SECRET_KEY * 20, {}),
        (SECRET_KEY.encode(), {}),
    ],
    ids=["base URL", "user agent", "time-out", "connections", "line break", "Bearer", "long", "bytes"],
)
def test_a_refused_setting(kind: Callable[..., object], key: Any, settings: dict[str, Any]) -> None:
    """A constructor that refuses something shows the key in no channel, be it that key or another setting."""
    with pytest.raises(ConfigurationError) as caught:
        kind(key, **settings)
    assert [] == hits(list(channels(caught.value)), CANARIES)


@pytest.mark.scenario(130)
@pytest.mark.parametrize(
    "secret", ["https://user:{}@api.omi.me", "https://api.omi.me/?key={}", "https://api.omi.me:{}"]
)
def test_a_refused_base_url(secret: str) -> None:
    """The message about a refused base URL does not repeat it: people put passwords there."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncOmiClient("omi_dev_x", base_url=secret.format(BODY))
    assert BODY not in str(caught.value) + repr(caught.value) + repr(caught.value.args) + repr(vars(caught.value))


@pytest.mark.scenario(130)
async def test_results_show_little(side: Side, operation: str) -> None:
    """What a call returns never holds the key, and its texts show neither title nor transcript."""
    said = conversation(
        structured={**FIELDS, "emoji": "🚪", "title": TITLE, "action_items": [{"description": BODY}]},
        transcript_segments=[{"text": BODY, "start": 0, "end": 1, "speaker_name": BODY}],
        geolocation={"latitude": 1.5, "longitude": 2.5, "address": BODY},
        folder_name=BODY,
    )

    async def script(exchange: Exchange) -> None:
        await exchange.send(success(exchange) if exchange.method == "DELETE" else answer(200, said, headers=ECHO))

    async with RawServer(script) as server:
        client = side.client(server.url, api_key=SECRET_KEY)
        result: Any = await plain_call(side, client, operation)
    faces = [
        ("str", str(result)),
        ("repr", repr(result)),
        ("format", f"{result} {result!a}"),
        ("repr of a list", repr([result])),
    ]
    assert [] == hits(faces, CANARIES)
    everything = [
        ("asdict", repr(attrs.asdict(result))),
        ("json", json.dumps(attrs.asdict(result), default=str)),
        ("pickle", pickle.dumps(result).decode("latin-1")),
        ("copy", repr(attrs.asdict(copy.deepcopy(result)))),
    ]
    assert [] == hits(everything, {"key": CANARIES["key"]})
    assert result == pickle.loads(pickle.dumps(result))


@pytest.mark.scenario(130)
async def test_other_results_show_little(side: Side) -> None:
    """No face of what the other resources return, or are given, has a memory, a goal, coordinates or a token."""
    place: dict[str, Any] = {"latitude": PLACE.latitude, "longitude": PLACE.longitude, "address": BODY}
    async with Sandbox(
        [SandboxConversation(id="conv_1", title=TITLE, geolocation=place)],
        memories=[SandboxMemory(id="mem_1", content=CANARIES["memory"], tags=(TITLE,))],
        goals=[SandboxGoal(id="goal_1", title=CANARIES["goal"], why_it_matters=BODY)],
        daily_summaries=[SandboxDailySummary(id="day_1", headline=TITLE, locations=(place,))],
    ) as sandbox:
        client: Any = side.client(sandbox.url, api_key=sandbox.api_key)

        async def call(method: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
            if side.name == "async":
                return await method(*arguments, **settings)
            return await asyncio.to_thread(method, *arguments, **settings)

        shown = [
            await call(client.conversations.get, "conv_1"),
            await call(client.memories.search, CANARIES["memory"]),
            await call(client.memories.update, "mem_1", content=CANARIES["memory"], visibility="public"),
            await call(client.memories.create_batch, [NewMemory(CANARIES["memory"])]),
            await call(client.goals.get, "goal_1"),
            await call(client.goals.list),
            await call(client.daily_summaries.get, "day_1"),
            client.memories.list(),
            client.daily_summaries.list(),
            sandbox.memories["mem_1"],
            sandbox.goals["goal_1"],
            sandbox.daily_summaries["day_1"],
            sandbox.conversations["conv_1"],
            NewMemory(CANARIES["memory"], tags=(TITLE,)),
            MemoryUpdate("mem_1", content=CANARIES["memory"]),
            PLACE,
        ]
        made = await call(client.keys.create, "Laptop", id_token=sandbox.id_token)
        secrets = {**CANARIES, "new key": made.key, "sent token": sandbox.id_token}
        for each in (*shown, made, client, client.keys):
            assert [] == hits([("str", f"{each}"), ("repr", f"{each!r} {each!a} {[each]}")], secrets)
        assert [] == hits(paths(client), secrets)
        assert CANARIES["memory"] == shown[2].content
        assert PLACE.latitude == shown[6].locations[0].latitude


@pytest.mark.scenario(130)
async def test_no_client_is_copied(side: Side) -> None:
    """A client holds a key and connections: pickling or copying one is refused, by name."""
    client = side.client("http://127.0.0.1:1", api_key=SECRET_KEY)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(client, protocol)
    for way in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            way(client)
    with pytest.raises(TypeError):
        json.dumps(client)


@pytest.mark.scenario(130)
async def test_the_insides_of_a_client(side: Side, operation: str) -> None:
    """Neither text nor attributes of client, transport, session and connector show the key, idle or at work."""
    under_way, enough = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.number == 2:
            under_way.set()
            await enough.wait()
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, api_key=SECRET_KEY)
        await plain_call(side, client, operation)
        session = inside.transport(client).pool.place.session
        assert session is not None
        things: list[Any] = [client, client.conversations, inside.transport(client), session, session.connector]
        call = asyncio.ensure_future(plain_call(side, client, operation))
        await under_way.wait()
        for thing in things:
            found = list(paths(thing))
            assert "http" in repr(client)
            assert [] == hits(
                [("repr", f"{thing!r} {thing}"), ("vars", repr(getattr(thing, "__dict__", {}))), *found], CANARIES
            )
        enough.set()
        await call
        seen = [hit for thing in things for hit in hits(paths(thing), CANARIES)]
        assert [] == seen
        assert len(list(paths(client))) > 30


@pytest.mark.scenario(131)
@pytest.mark.parametrize("kind", [AsyncOmiClient, OmiClient])
async def test_a_forgotten_client(kind: Callable[..., Any], operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning about a client that nobody closed names the place and not the key."""
    title = {"title": TITLE} if operation == "update" else {}
    with in_thread(RawServer(fine)) as server, Watch(monkeypatch) as watch:
        client = kind(SECRET_KEY, base_url=server.url)
        result = getattr(client.conversations, operation)("conv_1", **title)
        if inspect.isawaitable(result):
            await result
        del client, result
        gc.collect()
        while server.open_connections:  # they are closed in the background
            await asyncio.sleep(0.001)
    assert 1 == len([message for where, message in watch.texts if where == "warning" and "was not closed" in message])
    assert any(__file__ in text for where, text in watch.texts if where == "warning")
    assert [] == hits(watch.texts, CANARIES)


SPELLINGS = {"key": CANARIES["key"], "upper case": CANARIES["key"].upper(), "beginning": CANARIES["key"][:6]}


def long(words: int) -> str:
    return "x" * words + SECRET_KEY


ECHOES: list[object] = [
    SECRET_KEY,
    f"'{SECRET_KEY}'",
    f"Bearer {SECRET_KEY}: no such key",
    SECRET_KEY.upper(),
    f"{SECRET_KEY}, {SECRET_KEY} and {SECRET_KEY}",
    f"omi_mcp_{CANARIES['key']}",
    *(long(words) for words in (150, 190, 199, 200, 700, 790, 799)),
    f"\u200b{SECRET_KEY}\x00\n{SECRET_KEY}",
    {"code": SECRET_KEY, "message": f"the key {SECRET_KEY}"},
    {SECRET_KEY: {SECRET_KEY: [SECRET_KEY, {SECRET_KEY: SECRET_KEY}]}},
    {"a": [[[[[[SECRET_KEY]]]]]]},
    [{"loc": ["header", SECRET_KEY, 5], "msg": f"bad {SECRET_KEY}", "type": SECRET_KEY}],
]


@pytest.mark.scenario(132)
@pytest.mark.parametrize("status", [401, 403, 422, 429, 503])
async def test_an_echoed_key_is_masked(side: Side, operation: str, status: int) -> None:
    """A key that comes back in an answer is shown as stars in every text and attribute of the error."""
    headers = {"X-Echo": SECRET_KEY, "X-RateLimit-Limit": SECRET_KEY, "Retry-After": SECRET_KEY}

    async def script(exchange: Exchange) -> None:
        detail = ECHOES[exchange.number - 1]
        await exchange.send(answer(status, {"detail": detail}, reason=SECRET_KEY, headers=headers))

    async with RawServer(script) as server:
        client = side.client(server.url, api_key=SECRET_KEY, retry=RetryPolicy.never())
        for echo in ECHOES:
            with pytest.raises(StatusError) as caught:
                await plain_call(side, client, operation)
            error = caught.value
            assert status == error.status
            assert [] == hits([*channels(error), *paths(vars(error))], SPELLINGS)
            if "x" * 150 not in str(echo) and "[[[[[[" not in str(echo):  # those are cut off before the key
                assert "***" in str(error.detail)


@pytest.mark.scenario(132)
async def test_an_echoed_key_in_a_redirect_is_masked(side: Side, operation: str) -> None:
    """A target that repeats the key, in whichever part of it, is named without the key."""
    for target in (
        "http://{}@x.example/a",
        "http://{}.example/a",
        "/{}",
        "//x.example/a?{}",
        "x#{}",
        "http://[{}]/",
        "{}",
    ):
        async with RawServer(answers(answer(307, headers={"Location": target.format(SECRET_KEY)}))) as server:
            with pytest.raises(ResponseError, match="307") as caught:
                await plain_call(side, side.client(server.url, api_key=SECRET_KEY), operation)
        assert [] == hits(list(channels(caught.value)), CANARIES)
