"""What a client tells of its calls: the hook `on_event`, the log, and OpenTelemetry."""

import asyncio
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from omi_async import (
    AsyncOmiClient,
    AttemptEnded,
    CallEnded,
    ConfigurationError,
    ConversationUpdate,
    Deletion,
    NotFoundError,
    RateLimitError,
    RateWindow,
    RetryPolicy,
)
from omi_async.otel import instrument
from omi_async.retry import Budget
from omi_sync import OmiClient
from tests.support.canary import Watch, hits
from tests.support.clock import VirtualClock
from tests.support.failures import INSTANT, failure
from tests.support.raw import Exchange, RawServer, Script, answer, in_thread, success
from tests.support.sides import KEY, Side
from tests.support.specimens import Specimen
from tests.support.storm import inner

Event = AttemptEnded | CallEnded
KINDS = [AsyncOmiClient, OmiClient]

CANARIES = {
    "key": KEY.removeprefix("omi_dev_"),
    "title": "canary-of-a-title",
    "answer": "canary-of-an-answer",
    "id": "conv_canary",
}


def script(*turns: bytes | str | None) -> Script:
    """A server that gives these answers in turn, then succeeds; "reset" ends the connection."""
    waiting = list(turns)

    async def serve(exchange: Exchange) -> None:
        turn = waiting.pop(0) if waiting else None
        if turn == "reset":
            exchange.reset()
        else:
            await exchange.send(turn if isinstance(turn, bytes) else success(exchange))

    return serve


def shape(events: list[Event]) -> list[tuple[Any, ...]]:
    """The events less what differs from run to run."""
    return [
        (event.attempt, event.status, event.outcome, event.error, event.retry_wait)
        if isinstance(event, AttemptEnded)
        else ("call", event.attempts, event.status, event.outcome, event.error)
        for event in events
    ]


BUSY = answer(503, {"detail": "busy"})
GONE = answer(404, {"detail": "Conversation not found"})
FULL = answer(429, {"detail": "Rate limit exceeded"}, headers={"Retry-After": "900", "X-RateLimit-Limit": "60"})


async def test_success(side: Side, specimen: Specimen) -> None:
    """A call that ends well at once is two events with the same facts, and with what the answer said of the window."""
    events: list[Event] = []
    rate = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": str(int(time.time()) + 600)}

    async def serve(exchange: Exchange) -> None:
        body = success(exchange)
        extra = "".join(f"{name}: {value}\r\n" for name, value in rate.items()).encode()
        await exchange.send(body.replace(b"\r\n", b"\r\n" + extra, 1))

    before = time.time()
    async with RawServer(serve) as server:
        await side.call(side.client(server.url, on_event=events.append), specimen.name)
        sent = server.log[0]
    attempt, call = events
    assert isinstance(attempt, AttemptEnded)
    assert isinstance(call, CallEnded)
    assert [(1, 200, "success", None, None), ("call", 1, 200, "success", None)] == shape(events)
    assert (attempt,) == call.each_attempt
    for event in (attempt, call):
        assert (specimen.operation, sent.method) == (event.operation, event.method)
        assert before - 1 < event.started_at < time.time() + 1
        assert 0 < event.seconds < 60
        assert len(sent.body) == event.bytes_sent
        assert event.bytes_received > 10
        window = event.rate_window
        name = "reads" if specimen.name == "get" else "writes"
        assert (name, 60, 59) == (window.name, window.limit, window.remaining)
        assert window.resets_in is not None
        assert 0 < window.resets_in <= 600
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.status = 500  # type: ignore[misc]
    json.dumps([attrs.asdict(event) for event in events])


async def test_retries(side: Side, operation: str, clock: VirtualClock) -> None:
    """Each attempt is told when it has ended, with the wait that follows; the call has them all."""
    events: list[Event] = []
    async with RawServer(script(BUSY, "reset", BUSY)) as server:
        client = side.client(server.url, on_event=events.append, retry=clock.policy(attempts=4))
        await side.call(client, operation)
    waits = list(clock.sleeps)
    assert [
        (1, 503, "unknown", "ServerError", waits[0]),
        (2, None, "unknown", "TransportError", waits[1]),
        (3, 503, "unknown", "ServerError", waits[2]),
        (4, 200, "success", None, None),
        ("call", 4, 200, "success", None),
    ] == shape(events)
    call = events[-1]
    assert isinstance(call, CallEnded)
    assert tuple(events[:-1]) == call.each_attempt
    assert sum(waits) == pytest.approx(call.seconds)
    assert 4 * call.each_attempt[0].bytes_sent == call.bytes_sent
    starts = [each.started_at - call.started_at for each in call.each_attempt]
    assert [sum(waits[:number]) for number in range(4)] == pytest.approx(starts)


async def test_failures(side: Side, clock: VirtualClock) -> None:
    """A refusal, a lost answer, a found absence, a closed window: each call has one last word, that of its error."""
    turns: list[bytes | str] = [GONE, "reset", "reset", "reset", "reset", GONE, FULL]
    events: list[Event] = []
    async with RawServer(script(*turns)) as server:
        client = side.client(server.url, on_event=events.append, retry=clock.policy())

        async def fails(operation: str) -> list[tuple[Any, ...]]:
            events.clear()
            error = await failure(side, client, operation)
            call = events[-1]
            assert isinstance(call, CallEnded)
            assert (error.outcome, error.attempts, type(error).__name__) == (call.outcome, call.attempts, call.error)
            return shape(events)

        assert [(1, 404, "not_applied", "NotFoundError", None)] == (await fails("update"))[:-1]
        assert ["unknown"] * 3 == [each[2] for each in (await fails("delete"))[:-1]]
        events.clear()
        gone = await side.call(client, "delete")
        assert isinstance(gone, Deletion)
        assert not gone.confirmed
        assert [(2, 404, "success", None, None), ("call", 2, 404, "success", None)] == shape(events)[1:]
        window = RateWindow(name="writes", limit=60, remaining=None, resets_in=900.0)
        assert [(1, 429, "not_applied", "RateLimitError", None)] == (await fails("update"))[:-1]
        assert window == events[-1].rate_window
        assert [("call", 0, 429, "not_applied", "RateLimitError")] == await fails("update")
        sent = len(server.log)
    assert 7 == sent


async def test_a_read_changes_nothing(side: Side, clock: VirtualClock) -> None:
    """However a read ends, its events never say that something may have been changed."""
    events: list[Event] = []
    async with RawServer(script("reset", BUSY, "reset")) as server:
        await failure(side, side.client(server.url, on_event=events.append, retry=clock.policy()), "get")
    assert ["not_applied"] * 4 == [event.outcome for event in events]


async def test_cancelled() -> None:
    """A call that is cancelled under way is told as such, and may have been carried out."""
    events: list[Event] = []
    arrived = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hang()

    async with RawServer(hang) as server, AsyncOmiClient(KEY, base_url=server.url, on_event=events.append) as client:
        task = asyncio.create_task(client.conversations.delete("conv_1"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [
        (1, None, "unknown", "CancelledError", None),
        ("call", 1, None, "unknown", "CancelledError"),
    ] == shape(events)


# What a hook does


class HookError(Exception):
    pass


def raising(error: BaseException) -> Callable[[Event], None]:
    def hook(_: Event) -> None:
        raise error

    return hook


async def nobody_awaits(_: Event) -> None:
    """A coroutine function."""


HOOKS: dict[str, Callable[[Event], object]] = {
    "an error": raising(HookError("on purpose")),
    "a cancellation": raising(asyncio.CancelledError()),
    "an end of iteration": raising(StopIteration()),
    "one of ours": raising(RateLimitError("no", outcome="unknown", retryable=True)),
    "a coroutine": lambda event: nobody_awaits(event),
}


@pytest.mark.parametrize("kind", HOOKS)
async def test_what_a_hook_raises(side: Side, kind: str, clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A hook that fails changes nothing: successes, retries and errors stay as they are, and the log has it."""
    async with RawServer(script(None, BUSY, None, GONE)) as server:
        client = side.client(server.url, on_event=HOOKS[kind], retry=clock.policy())
        with caplog.at_level(logging.ERROR, "omi_async"):
            await side.call(client, "delete")
            await side.call(client, "update")
            error = await failure(side, client, "delete")
        assert (404, "not_applied", 1) == (error.status, error.outcome, error.attempts)
    failed = [record for record in caplog.records if record.message == "on_event failed"]
    assert 7 == len(failed)
    assert all(record.exc_info for record in failed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", [nobody_awaits, "print", 7, ()])
def test_bad_hook(kind: Any, hook: Any) -> None:
    """What cannot be called, or would never run, is refused where the client is made."""
    with pytest.raises(ConfigurationError, match="^on_event must be a plain function"):
        kind(KEY, on_event=hook)


def test_the_caller_s_thread() -> None:
    """On the synchronous side the hook runs on each caller's own thread, and has its own calls only."""
    seen: list[tuple[int, int]] = []
    local = threading.local()

    def hook(event: Event) -> None:
        seen.append((threading.get_ident(), local.number))

    def call(number: int) -> None:
        local.number = number
        for _ in range(5):
            client.conversations.delete(f"conv_{number}")

    with in_thread(RawServer(script())) as server, OmiClient(KEY, base_url=server.url, on_event=hook) as client:
        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 8 * 5 * 2 == len(seen)
    assert 8 == len(set(seen)) == len({number for _, number in seen})


def test_told_before_the_wait() -> None:
    """On the synchronous side an attempt is told while the call still waits for the next one."""
    told = threading.Event()

    async def sleep(_: float) -> None:
        assert await asyncio.to_thread(told.wait, 10)

    policy = RetryPolicy(sleep=sleep)
    with (
        in_thread(RawServer(script(BUSY))) as server,
        OmiClient(KEY, base_url=server.url, retry=policy, on_event=lambda _: told.set()) as client,
    ):
        client.conversations.delete("conv_1")


def test_a_hook_that_calls() -> None:
    """On the synchronous side a hook may itself use the client."""
    seen: list[str] = []

    def hook(event: Event) -> None:
        seen.append(event.operation)
        if event.operation == "conversations.delete" and isinstance(event, CallEnded):
            client.conversations.get("conv_2")

    with in_thread(RawServer(script())) as server, OmiClient(KEY, base_url=server.url, on_event=hook) as client:
        client.conversations.delete("conv_1")
    assert 2 * ["conversations.delete"] + 2 * ["conversations.get"] == seen


async def test_jobs_and_lists(side: Side, operation: str) -> None:
    """The thread that iterates over a job or a list is told of its requests, as of any others."""
    threads: set[int] = set()
    events: list[Event] = []

    def hook(event: Event) -> None:
        threads.add(threading.get_ident())
        events.append(event)

    async def serve(exchange: Exchange) -> None:
        await exchange.send(answer(200, []) if exchange.method == "GET" else success(exchange))

    async with RawServer(serve) as server:
        client: Any = side.client(server.url, on_event=hook)
        items = [f"conv_{number}" for number in range(20)]
        updates = [ConversationUpdate(each, title="A") for each in items]

        def start() -> Any:
            many = client.conversations
            return many.delete_many(items) if operation == "delete" else many.update_many(updates)

        if side.name == "async":
            assert 20 == len([outcome async for outcome in start()])
            assert [] == [row async for row in client.conversations.list()]
            expected = threading.get_ident()
        else:

            def iterate() -> int:
                assert 20 == len(list(start()))
                assert [] == list(client.conversations.list())
                return threading.get_ident()

            expected = await asyncio.to_thread(iterate)
    assert {expected} == threads
    calls = [event.operation for event in events if isinstance(event, CallEnded)]
    assert 20 == calls.count(f"conversations.{operation}")
    assert "conversations.list" == calls[-1]


def test_interrupted() -> None:
    """Ctrl-C ends a synchronous call; the hook still hears how it ended."""
    events: list[Event] = []

    async def hang(exchange: Exchange) -> None:
        signal.raise_signal(signal.SIGINT)
        await exchange.hang()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with (
            in_thread(RawServer(hang)) as server,
            OmiClient(KEY, base_url=server.url, on_event=events.append) as client,
            pytest.raises(KeyboardInterrupt),
        ):
            client.conversations.delete("conv_1")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ("call", 1, None, "unknown", "CancelledError") == shape(events)[-1]


async def test_calls_without_a_method(side: Side) -> None:
    """A call of `client.request` is named without its path, which may have an id in it."""
    events: list[Event] = []
    async with RawServer(script()) as server:
        client: Any = side.client(server.url, on_event=events.append)
        path = f"/v1/things/{CANARIES['id']}"
        if side.name == "async":
            await client.request("GET", path)
        else:
            await asyncio.to_thread(client.request, "GET", path)
    assert {("request", "GET", "reads")} == {(each.operation, each.method, each.rate_window.name) for each in events}
    assert CANARIES["id"] not in repr(events)


# The log


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "omi_async"):
        yield caplog


async def test_log(side: Side, clock: VirtualClock, log: pytest.LogCaptureFixture) -> None:
    """The log says what the hook is told, with the same values as fields, each kind at its own level."""
    events: list[Event] = []
    async with RawServer(script(BUSY, None, GONE)) as server:
        client = side.client(server.url, on_event=events.append, retry=clock.policy())
        await side.call(client, "delete")
        await failure(side, client, "update")
    records = [record for record in log.records if record.name == "omi_async"]
    assert ["INFO", "DEBUG", "DEBUG", "DEBUG", "WARNING"] == [record.levelname for record in records]
    for record, event in zip(records, events, strict=True):
        values = attrs.asdict(event, recurse=False)
        window = values.pop("rate_window")
        values.pop("each_attempt", None)
        values["event_name"] = "attempt_ended" if isinstance(event, AttemptEnded) else "call_ended"
        values.update(rate_window=window.name, rate_limit=window.limit, rate_remaining=window.remaining)
        assert values.items() <= vars(record).items()
        json.dumps({name: getattr(record, name) for name in values})
        assert record.getMessage().startswith(f"{event.operation}: ")
    assert "attempt 1 failed (ServerError, status 503), trying again in 0.25 s" in records[0].getMessage()
    assert "done (status 200) after 2 attempts in 0.250 s" in records[2].getMessage()
    assert "failed (NotFoundError, status 404, outcome not_applied) after 1 attempt" in records[4].getMessage()


async def test_log_without_a_hook(side: Side, clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Retries and failures are logged without anything attached, with all of their fields."""
    async with RawServer(script(BUSY, None, FULL)) as server:
        client = side.client(server.url, retry=clock.policy())
        with caplog.at_level(logging.INFO, "omi_async"):
            await side.call(client, "delete")
            await failure(side, client, "delete")
    retry, failed = caplog.records
    assert ("INFO", 1, 503, 0.25) == tuple(
        getattr(retry, each) for each in ("levelname", "attempt", "status", "retry_wait")
    )
    assert ("WARNING", 60, 900.0) == (failed.levelname, failed.rate_limit, failed.rate_resets_in)  # type: ignore[attr-defined]
    assert retry.bytes_received > 10  # type: ignore[attr-defined]


def test_silent_without_logging(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has set up logging, a failure is raised and not printed as well."""
    monkeypatch.setattr(logging.root, "handlers", [])
    with (
        in_thread(RawServer(script(GONE))) as server,
        OmiClient(KEY, base_url=server.url) as client,
        pytest.raises(NotFoundError),
    ):
        client.conversations.delete("conv_1")
    assert ("", "") == tuple(capfd.readouterr())


async def test_logging_that_raises(
    side: Side, clock: VirtualClock, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler of the user's that fails changes nothing, whatever is logged: retries, failures, a failed hook."""

    def broken(_: logging.LogRecord) -> bool:
        raise HookError

    monkeypatch.setattr(logging.getLogger("omi_async"), "filters", [broken])
    async with RawServer(script(BUSY, None, GONE)) as server:
        client = side.client(server.url, on_event=raising(HookError()), retry=clock.policy())
        await side.call(client, "delete")
        error = await failure(side, client, "update")
        assert (404, "not_applied", 1) == (error.status, error.outcome, error.attempts)
    async with RawServer(script(BUSY)) as server:
        client = side.client(server.url, retry=clock.policy())
        inner(client)._retrier.budget.withdraw(Budget.FULL)
        error = await failure(side, client, "update")
        assert (503, "unknown", 1) == (error.status, error.outcome, error.attempts)


async def test_a_record_factory_with_fields_of_its_own(
    side: Side, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are written without fields where the program gives every record one of the same name."""
    make = logging.getLogRecordFactory()

    def with_fields(*values: Any, **named: Any) -> logging.LogRecord:
        record = make(*values, **named)
        record.status = "the program's own"
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", with_fields)
    async with RawServer(script()) as server:
        await side.call(side.client(server.url), "delete")
    records = [record for record in log.records if record.name == "omi_async"]
    assert 2 == len(records)
    assert records[1].getMessage().startswith("conversations.delete: done (status 200)")
    assert {"the program's own"} == {record.status for record in records}  # type: ignore[attr-defined]


async def test_nothing_private(
    side: Side, specimen: Specimen, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event, log record or span has the key, an id, or a text that was sent or came back."""
    events: list[Event] = []
    spans, _ = Spans(), None
    said = {"update": {"title": CANARIES["title"]}}.get(specimen.name, {})
    refusal = answer(422, {"detail": CANARIES["answer"]}, headers={"X-Echo": KEY})
    with Watch(monkeypatch) as watch:
        async with RawServer(script(None, BUSY, refusal)) as server:
            client = side.client(server.url, on_event=events.append, retry=clock.policy())
            instrument(client, tracer_provider=spans.provider)
            await side.call(client, specimen.name, CANARIES["id"], **said)
            await failure(side, client, specimen.name, CANARIES["id"], **said)
            await side.aclose()
    assert len(events) >= 4
    seen = [("event", repr(event)) for event in events] + [("span", span.to_json()) for span in spans.all()]
    logged = [(where, text) for where, text in watch.texts if "omi_async" in where]
    assert logged
    assert [] == hits([*seen, *logged], CANARIES)


# OpenTelemetry


class Spans:
    """A provider of tracers, and what it was told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def tree(self) -> list[tuple[ReadableSpan, list[ReadableSpan]]]:
        """Each call and its attempts."""
        return [
            (call, sorted(self._within(call), key=lambda span: span.start_time or 0))
            for call in self.all()
            if call.name.startswith("conversations.")
        ]

    def _within(self, call: ReadableSpan) -> list[ReadableSpan]:
        assert call.context is not None
        return [span for span in self.all() if span.parent and span.parent.span_id == call.context.span_id]


def values(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_spans(side: Side) -> None:
    """A retried PATCH and a lost DELETE: a span for each call with one for each attempt, in the terms of HTTP."""
    spans = Spans()
    async with RawServer(script(BUSY, None, "reset")) as server:
        client = side.client(server.url, retry=INSTANT)
        lonely = side.client(server.url, retry=RetryPolicy.never())
        for one in (client, lonely, client):
            instrument(one, tracer_provider=spans.provider)
        with spans.provider.get_tracer("user").start_as_current_span("user") as parent:
            await side.call(client, "update")
            error = await failure(side, lonely, "delete")
        port = server.port
    assert "unknown" == error.outcome
    (update, patches), (delete, deletes) = spans.tree()
    assert (2, 1) == (len(patches), len(deletes))
    for call in (update, delete):
        assert call.parent is not None
        assert parent.get_span_context().span_id == call.parent.span_id
    assert {"omi.operation": "conversations.update", "omi.outcome": "success", "omi.attempts": 2} == values(update)
    assert "TransportError" == values(delete)["error.type"]
    assert ("unknown", 1) == (values(delete)["omi.outcome"], values(delete)["omi.attempts"])
    assert (StatusCode.UNSET, StatusCode.ERROR) == (update.status.status_code, delete.status.status_code)
    first, second = map(values, patches)
    assert ["PATCH", "PATCH", "DELETE"] == [each.name for each in (*patches, *deletes)]
    assert {SpanKind.CLIENT} == {each.kind for each in (*patches, *deletes)}
    common = {
        "http.request.method": "PATCH",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.scheme": "http",
        "http.request.body.size": len('{"title":"Design review"}'),
    }
    assert common.items() <= first.items()
    assert common.items() <= second.items()
    assert (503, "503", None) == tuple(
        first.get(name) for name in ("http.response.status_code", "error.type", "http.request.resend_count")
    )
    assert (200, None, 1) == tuple(
        second.get(name) for name in ("http.response.status_code", "error.type", "http.request.resend_count")
    )
    assert "http.response.status_code" not in values(deletes[0])
    assert "url.full" not in first
    for call, attempts in ((update, patches), (delete, deletes)):
        assert call.start_time is not None
        assert call.end_time is not None
        for each in attempts:
            assert each.start_time is not None
            assert each.end_time is not None
            assert call.start_time <= each.start_time <= each.end_time <= call.end_time + 1000


async def test_counters(side: Side, clock: VirtualClock) -> None:
    """Calls, retries and refusals are counted, a call that was held back included."""
    reader = InMemoryMetricReader()
    async with RawServer(script(BUSY, None, GONE, FULL)) as server:
        client = side.client(server.url, retry=clock.policy())
        instrument(client, meter_provider=MeterProvider([reader]))
        await side.call(client, "update")
        await failure(side, client, "delete")
        await failure(side, client, "delete")
        await failure(side, client, "delete")
    data = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]
    counted: dict[str, int] = {}
    for metric in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]:
        for point in metric["data"]["data_points"]:
            labels = point["attributes"]
            what = labels.get("omi.outcome") or labels.get("http.response.status_code") or labels["omi.operation"]
            counted[f"{metric['name']} {what}"] = counted.get(f"{metric['name']} {what}", 0) + point["value"]
    assert {
        "omi.client.calls success": 1,
        "omi.client.calls not_applied": 3,
        "omi.client.retries conversations.update": 1,
        "omi.client.refusals 404": 1,
        "omi.client.refusals 429": 2,
    } == counted


def test_instrument_takes_clients() -> None:
    """Anything but a client is refused."""
    for other in (None, "client", object()):
        with pytest.raises(TypeError, match="takes an AsyncOmiClient or an OmiClient"):
            instrument(other)  # type: ignore[arg-type]
    assert trace.get_current_span() is trace.INVALID_SPAN
