"""The sandbox server: sockets, faults and records around the endpoints of `api`."""

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote

import attrs
from aiohttp import web

from omi_async.sandbox.answers import Answer
from omi_async.sandbox.api import Api, Call
from omi_async.sandbox.faults import Fault, FaultQueue, RecordedRequest
from omi_async.sandbox.gate import (
    ALL_SCOPES,
    CONVERSATIONS_READ,
    CONVERSATIONS_WRITE,
    DETAIL_POLICY,
    LIST_POLICY,
    READ_SCOPES,
    READS_POLICY,
    TRANSCRIPT_POLICY,
    WRITE_POLICY,
    Gate,
    RatePolicy,
    whole_seconds,
)
from omi_async.sandbox.records import SandboxConversation, seeded_conversations

API_KEY = f"omi_dev_{1:032x}"
READ_ONLY_KEY = f"omi_dev_{2:032x}"

USUAL_WRITE_LIMIT = 25
"""Conversation writes an hour that the real server allows a key; a scripted 429 names it without a limit."""

USUAL_READ_LIMIT = 60
"""The same for reads."""

_READ_WINDOW = 3600.0

# aiohttp reads zero as "wait for ever"; hanging handlers are ended before, so there is nothing to wait for.
_SHUTDOWN_SECONDS = 0.05


class Sandbox:
    """A server on this machine that behaves like the Omi Developer API and keeps everything in memory.

    It starts with *conversations*, or with six believable ones where none are given. *host* must be a
    loopback address, because the keys are published; *port* 0 takes a free one. A key may make *write_limit*
    writes (None: any number) in *write_window* seconds, counted from its first write as *clock* tells the
    time. Likewise it may make *read_limit* reads an hour, *transcript_limit* of them with transcripts: any
    number unless you say so, 60 and 25 on the real server. Use it as a context manager, or start and close it
    yourself.

    Raises ValueError for a host that is not loopback, and for a port, limit or window out of range.
    """

    def __init__(
        self,
        conversations: Iterable[SandboxConversation] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        write_limit: int | None = 25,
        write_window: float = 3600.0,
        read_limit: int | None = None,
        transcript_limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bind_host, self._url_host = _loopback(host)
        if isinstance(port, bool) or not 0 <= port <= 65535:
            raise ValueError("port must be between 0 and 65535")
        limits = {"write_limit": write_limit, "read_limit": read_limit, "transcript_limit": transcript_limit}
        for name, limit in limits.items():
            if isinstance(limit, bool) or (limit is not None and limit < 0):
                raise ValueError(f"{name} must be zero or more, or None for no limit")
        if not (math.isfinite(write_window) and write_window > 0):
            raise ValueError("write_window must be a number of seconds above zero")
        self._port = port
        self._conversations: dict[str, SandboxConversation] = {}
        for conversation in seeded_conversations() if conversations is None else conversations:
            if conversation.id in self._conversations:
                raise ValueError(f"conversations has the id {conversation.id!r} twice")
            self._conversations[conversation.id] = conversation
        policies = {
            name: RatePolicy(limit, window)
            for name, limit, window in (
                (WRITE_POLICY, write_limit, write_window),
                (READS_POLICY, read_limit, _READ_WINDOW),
                (LIST_POLICY, read_limit, _READ_WINDOW),
                (DETAIL_POLICY, read_limit, _READ_WINDOW),
                (TRANSCRIPT_POLICY, transcript_limit, _READ_WINDOW),
            )
            if limit is not None
        }
        keys = {API_KEY: ALL_SCOPES, READ_ONLY_KEY: READ_SCOPES}
        self._api = Api(self._conversations, Gate(keys, policies, clock))
        self._scripted_limit = USUAL_WRITE_LIMIT if write_limit is None else write_limit
        self._scripted_wait = whole_seconds(write_window)
        self._scripted_read_limit = USUAL_READ_LIMIT if read_limit is None else read_limit
        self._faults = FaultQueue()
        self._requests: list[RecordedRequest] = []
        self._exchanges: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._url: str | None = None
        self._closed = False

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash; still known after closing.

        Raises RuntimeError before the start, when there is no port yet.
        """
        if self._url is None:
            raise RuntimeError("The sandbox has no URL yet: enter its context or start it first.")
        return self._url

    @property
    def api_key(self) -> str:
        """A key that may do everything; it is the same in every sandbox."""
        return API_KEY

    @property
    def read_only_key(self) -> str:
        """A key with the read scopes only."""
        return READ_ONLY_KEY

    @property
    def conversations(self) -> dict[str, SandboxConversation]:
        """The stored conversations by id; add, change and remove them at will."""
        return self._conversations

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far in the order of arrival; clear the list to start afresh."""
        return self._requests

    @property
    def started(self) -> bool:
        """Whether it is serving now."""
        return self._url is not None and not self._closed

    @property
    def pending_faults(self) -> int:
        """How many scripted faults are still to be played, each counted as often as it will be."""
        return self._faults.pending

    async def start(self) -> None:
        """Begin to serve.

        Raises RuntimeError if it was started or closed before, and OSError if the port is taken.
        """
        if self._closed:
            raise RuntimeError("This sandbox is closed; make a new one.")
        if self._runner is not None:
            raise RuntimeError("This sandbox is started already.")
        app = web.Application()
        app.router.add_route("*", r"/{path:[\s\S]*}", self._serve)
        app.on_shutdown.append(self._end_exchanges)
        # The real server takes bodies as they come, and no access log belongs into the output of a test.
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._runner = runner
        try:
            await runner.setup()
            await web.TCPSite(runner, self._bind_host, self._port).start()
        except BaseException:
            self._runner = None
            await runner.cleanup()
            raise
        self._url = f"http://{self._url_host}:{runner.addresses[0][1]}"

    async def aclose(self) -> None:
        """Stop serving and drop every connection, whatever it is waiting for; closing again does nothing."""
        self._closed = True
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = self._url if self.started else "closed" if self._closed else "not started"
        return f"<Sandbox {state}, {len(self._conversations)} conversations>"

    def fail(
        self,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | dict[str, Any] | list[Any] | None = None,
        delay: float = 0.0,
        close: Literal["before", "after"] | None = None,
        apply: bool = False,
        method: str | None = None,
        conversation_id: str | None = None,
        times: int = 1,
    ) -> None:
        """Script a fault for the next *times* requests, or for those of *method* or *conversation_id* only.

        A request meets the oldest fault that matches it. It first waits *delay* seconds. With *status* it is
        answered with that, *headers* and *body* (text as plain text, anything else as JSON) taking the place
        of the real server's; nothing is checked or changed, unless *apply* has the request handled before it
        is answered so. With *close* the connection is dropped without an answer, `"before"` the request is
        handled or `"after"`. With *delay* alone the request is merely slow.

        Raises ValueError naming the argument that is out of range or contradicts another.
        """
        self._faults.add(
            Fault(
                status=status,
                headers=headers,
                body=body,
                delay=delay,
                close=close,
                apply=apply,
                method=method,
                conversation_id=conversation_id,
                times=times,
            )
        )

    def clear_faults(self) -> None:
        """Forget the faults that are still to be played."""
        self._faults.clear()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - aiohttp runs every handler in a task
        self._exchanges.add(task)
        try:
            return await self._exchange(request)
        finally:
            self._exchanges.discard(task)

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.content.read()
        except (ConnectionError, web.RequestPayloadError):
            # The client left in the middle of its request: there is nothing to record and nobody to answer.
            return _drop(request)
        target, _, query = request.raw_path.partition("?")
        call = Call(
            method=request.method,
            path=unquote(target),
            query=query,
            headers=request.headers,
            body=body,
            origin=f"http://{request.host}",
        )
        record = RecordedRequest(
            method=request.method, path=request.raw_path, headers=_without_key(request.headers), body=body
        )
        self._requests.append(record)
        answer = await self._play(call, self._take_fault(call))
        self._settle(record, None if answer is None else answer.status, call.applied)
        if answer is None:
            return _drop(request)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    def _take_fault(self, call: Call) -> Fault | None:
        if not f"{call.path}/".startswith("/v1/dev/"):
            return None
        return self._faults.take(call.method, self._api.conversation_id(call.method, call.path))

    async def _play(self, call: Call, fault: Fault | None) -> Answer | None:
        if fault is None:
            return self._api.answer(call)
        if fault.delay:
            # Goes on when the client has left, as on the real server: a late change is still made.
            await asyncio.sleep(fault.delay)
        answer = self._api.answer(call) if fault.reaches_server else None
        if fault.close is not None:
            return None
        if call.method == "GET":
            scope, limit, wait = CONVERSATIONS_READ, self._scripted_read_limit, whole_seconds(_READ_WINDOW)
        else:
            scope, limit, wait = CONVERSATIONS_WRITE, self._scripted_limit, self._scripted_wait
        scripted = fault.scripted_answer(scope=scope, limit=limit, retry_after=wait)
        return answer if scripted is None else scripted

    def _settle(self, record: RecordedRequest, status: int | None, applied: bool) -> None:
        # From the end, where it stands unless many others came since; nowhere if the list was cleared.
        for index in range(len(self._requests) - 1, -1, -1):
            if self._requests[index] is record:
                self._requests[index] = attrs.evolve(record, status=status, applied=applied)
                return

    async def _end_exchanges(self, _: web.Application) -> None:
        exchanges = list(self._exchanges)
        for task in exchanges:
            task.cancel()
        if exchanges:
            await asyncio.wait(exchanges)


def _drop(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    # aiohttp wants a response and fails quietly to write it.
    return web.Response()


def _without_key(headers: Mapping[str, str]) -> dict[str, str]:
    masked: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() == "authorization":
            masked[name] = "Bearer ***" if value.startswith("Bearer ") else "***"
        else:
            masked[name] = f"{masked[name]}, {value}" if name in masked else value
    return masked


def _loopback(host: str) -> tuple[str, str]:
    """Return the address to bind and the host part of the URL for *host*."""
    if host.lower() == "localhost":
        # Bound on both families, a free port would be a different one on each.
        return "127.0.0.1", "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv4Address) and address in ipaddress.IPv4Network("127.0.0.0/8"):
        return host, host
    if address == ipaddress.IPv6Address("::1"):
        return "::1", "[::1]"
    raise ValueError("host must be in 127.0.0.0/8, ::1 or localhost: the sandbox's keys are published")
