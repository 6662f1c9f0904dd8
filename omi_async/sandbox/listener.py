"""Sockets, faults and records around the endpoints: everything that knows aiohttp's server."""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import attrs
from aiohttp import web

from omi_async.sandbox.allowance import USUAL_READ_LIMIT, USUAL_WRITE_LIMIT, Allowance, RateWindow, whole_seconds
from omi_async.sandbox.api import Api, Incoming
from omi_async.sandbox.faults import Fault, FaultQueue, RecordedRequest
from omi_async.sandbox.replies import Reply, refusal

_logger = logging.getLogger("omi_async.sandbox")

_KEY = re.compile(r"omi_(dev|mcp)_[^/]*")

# aiohttp reads zero as "wait forever"; hanging handlers are ended before, so there is nothing to wait for.
_SHUTDOWN_SECONDS = 0.05

_KEPT_BODY = 2 * 1024 * 1024

# For a scripted 429 where the real server has no window.
_ANY_READS = RateWindow("", USUAL_READ_LIMIT, "reads")
_ANY_WRITES = RateWindow("", USUAL_WRITE_LIMIT, "writes")


class Listener:
    """Takes requests from the network to *api*, plays *faults* and writes everything down in *records*."""

    def __init__(
        self,
        api: Api,
        allowance: Allowance,
        faults: FaultQueue,
        records: list[RecordedRequest],
        *,
        keep_alive: bool,
    ) -> None:
        self._api = api
        self._keep_alive = keep_alive
        self._allowance = allowance
        self._faults = faults
        self._records = records
        self._exchanges: set[asyncio.Task[Any]] = set()
        self._resets = 0
        app = web.Application()
        app.router.add_route("*", r"/{path:[\s\S]*}", self._serve)
        app.on_shutdown.append(self._end_exchanges)
        # The real server takes bodies as they come, and no access log belongs into the output of a test.
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=_SHUTDOWN_SECONDS)

    async def start(self, host: str, port: int) -> int:
        """Listen on *host* and return the port; raises OSError if it is taken."""
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, host, port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening and drop every connection, whatever it is waiting for."""
        await self._runner.cleanup()

    def reset(self) -> None:
        """Carry out no request that is still delayed: it was meant for what was there before."""
        self._resets += 1

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
        incoming = Incoming(
            method=request.method,
            path=unquote(target),
            query=query,
            headers=request.headers,
            body=body,
            origin=f"http://{request.host}",
        )
        record = RecordedRequest(
            method=request.method,
            path=request.raw_path,
            headers=_without_key(request.headers),
            body=body[:_KEPT_BODY],
        )
        self._records.append(record)
        reply: Reply | None
        if _is_loopback(request.headers.get("Host")):
            reply = await self._play(incoming, target)
        else:
            # A page in a browser could have its own name resolved to this machine, and the keys are published.
            reply = refusal(421, "The sandbox answers to names of this machine only")
        self._settle(record, None if reply is None else reply.status, incoming.applied)
        if reply is None:
            return _drop(request)
        response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        if not self._keep_alive:
            response.force_close()
        return response

    async def _play(self, incoming: Incoming, target: str) -> Reply | None:
        route, ids = self._api.find(incoming.method, incoming.path) or (None, {})
        if route is not None and route.method != incoming.method:
            route = None
        fault: Fault | None = None
        if f"{incoming.path}/".startswith("/v1/dev/"):
            fault = self._faults.take(incoming.method, target, ids)
        if fault is None:
            return self._api.answer(incoming)
        if fault.delay:
            # Goes on when the client has left, as on the real server: a late change is still made.
            resets = self._resets
            await asyncio.sleep(fault.delay)
            if resets != self._resets:
                return None
        reply = self._api.answer(incoming) if fault.reaches_server else None
        if fault.close is not None:
            return None
        window = _ANY_READS if incoming.method == "GET" else _ANY_WRITES
        if route is not None and route.windows:
            window = route.windows[0]
        limit = self._allowance.limit(window)
        scripted = fault.scripted_reply(
            reply,
            kind=None if route is None else route.kind,
            scope=None if route is None else route.scope,
            limit=window.limit if limit is None else limit,
            retry_after=whole_seconds(self._allowance.seconds(window)),
        )
        return reply if scripted is None else scripted

    def _settle(self, record: RecordedRequest, status: int | None, applied: bool) -> None:
        # Without the query, which may hold texts.
        path = _KEY.sub(r"omi_\1_***", record.path.partition("?")[0])
        answer = "dropped" if status is None else status
        _logger.debug("%s %s %s%s", record.method, path, answer, ", applied" if applied else "")
        # From the end, where it stands unless many others came since; nowhere if the list was cleared.
        for index in range(len(self._records) - 1, -1, -1):
            if self._records[index] is record:
                self._records[index] = attrs.evolve(record, status=status, applied=applied)
                return

    async def _end_exchanges(self, _: web.Application) -> None:
        exchanges = list(self._exchanges)
        for task in exchanges:
            task.cancel()
        if exchanges:
            await asyncio.wait(exchanges)


def loopback(host: str) -> tuple[str, str] | None:
    """Return the address to bind and the host part of the URL for *host*, or None if it is not this machine."""
    if host.lower() == "localhost":
        # Bound on both families, a free port would be a different one on each.
        return "127.0.0.1", "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address) and address in ipaddress.IPv4Network("127.0.0.0/8"):
        return host, host
    return ("::1", "[::1]") if address == ipaddress.IPv6Address("::1") else None


def _is_loopback(host: str | None) -> bool:
    """Return whether a Host header, of which only old clients send none, names this machine."""
    return host is None or loopback(re.sub(r":\d*$", "", host).strip("[]")) is not None


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
