"""OpenTelemetry for a client's calls: spans and counters, with the extra `otel`.

Each call is a span, and each of its attempts a span within it, named and described by the semantic conventions for
HTTP clients. The whole URL (`url.full`) is left out: it has the ids of records.
"""

from typing import Any, Protocol

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue
from yarl import URL

from ._version import __version__
from .client import AsyncOmiClient
from .events import AttemptEnded, CallEnded

_SCOPE = "omi_async"


class Bridged(Protocol):
    """An `omi_sync.OmiClient`."""

    _bridge: Any


def instrument(
    client: AsyncOmiClient | Bridged,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Let OpenTelemetry know of each call that the client makes from now on.

    `client` is an `AsyncOmiClient` or an `OmiClient`; one that is instrumented already stays as it is. The providers
    are the global ones if none are given. Raises TypeError for anything else than a client.
    """
    target = client if isinstance(client, AsyncOmiClient) else getattr(getattr(client, "_bridge", None), "target", None)
    if not isinstance(target, AsyncOmiClient):
        raise TypeError("instrument takes an AsyncOmiClient or an OmiClient.")
    retrier = target._retrier
    if not any(isinstance(watcher, _Recorder) for watcher in retrier.watchers):
        recorder = _Recorder(URL(target._base_url, encoded=True), tracer_provider, meter_provider)
        retrier.watchers = (*retrier.watchers, recorder)


class _Recorder:
    """Records calls when they have ended: spans with the times at which they began and ended."""

    def __init__(self, server: URL, tracers: TracerProvider | None, meters: MeterProvider | None) -> None:
        self._tracer: Tracer = get_tracer(_SCOPE, __version__, tracers)
        meter = get_meter(_SCOPE, __version__, meters)
        self._calls = meter.create_counter("omi.client.calls", "{call}", "Calls that have ended.")
        self._retries = meter.create_counter("omi.client.retries", "{retry}", "Attempts after a call's first one.")
        self._refusals = meter.create_counter(
            "omi.client.refusals",
            "{refusal}",
            "Attempts that the server refused (4xx), and calls held back while its window is closed.",
        )
        self._server: dict[str, AttributeValue] = {
            "server.address": str(server.host),
            "server.port": int(server.port or 443),
            "url.scheme": server.scheme,
        }

    def __call__(self, event: AttemptEnded | CallEnded) -> None:
        if isinstance(event, CallEnded):
            self._count(event)
            self._trace(event)

    def _count(self, call: CallEnded) -> None:
        self._calls.add(1, {"omi.operation": call.operation, "omi.outcome": call.outcome, **_error(call)})
        if call.attempts > 1:
            self._retries.add(call.attempts - 1, {"omi.operation": call.operation})
        refused = [each.status for each in call.each_attempt if each.outcome != "success"]
        for status in refused or ([call.status] if call.attempts == 0 else []):
            if status is not None and 400 <= status < 500:
                self._refusals.add(1, {"omi.operation": call.operation, "http.response.status_code": status})

    def _trace(self, call: CallEnded) -> None:
        values: dict[str, AttributeValue] = {
            "omi.operation": call.operation,
            "omi.outcome": call.outcome,
            "omi.attempts": call.attempts,
            **_error(call),
        }
        whole = self._tracer.start_span(
            call.operation, kind=SpanKind.INTERNAL, attributes=values, start_time=_nanoseconds(call.started_at)
        )
        within = set_span_in_context(whole)
        for each in call.each_attempt:
            span = self._tracer.start_span(
                each.method,
                within,
                SpanKind.CLIENT,
                {**self._server, **_described(each)},
                start_time=_nanoseconds(each.started_at),
            )
            _end(span, each)
        _end(whole, call)


def _described(attempt: AttemptEnded) -> dict[str, AttributeValue]:
    values: dict[str, AttributeValue] = {
        "http.request.method": attempt.method,
        "http.request.body.size": attempt.bytes_sent,
        "omi.bytes_received": attempt.bytes_received,
        "omi.operation": attempt.operation,
        "omi.outcome": attempt.outcome,
        **_error(attempt),
    }
    if attempt.status is not None:
        values["http.response.status_code"] = attempt.status
    if attempt.attempt > 1:
        values["http.request.resend_count"] = attempt.attempt - 1
    return values


def _error(event: AttemptEnded | CallEnded) -> dict[str, AttributeValue]:
    if event.error is None:
        return {}
    refused = event.status is not None and event.status >= 400
    return {"error.type": str(event.status) if refused else event.error}


def _end(span: Span, event: AttemptEnded | CallEnded) -> None:
    if event.error is not None:
        span.set_status(Status(StatusCode.ERROR))
    span.end(_nanoseconds(event.started_at + event.seconds))


def _nanoseconds(since_1970: float) -> int:
    return int(since_1970 * 1e9)
