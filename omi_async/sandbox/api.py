"""Routing and the checks that all endpoints share, without any input or output: one request in, one answer out.

The order of the checks is the real server's: the request's age, the path, the verb, the JSON, the key with
its scope and rate windows, and only then what the endpoint itself looks at.
"""

import logging
import re
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Literal
from urllib.parse import quote

import attrs

from omi_async.sandbox.allowance import Allowance, ApiKey, RateWindow
from omi_async.sandbox.replies import (
    NO_ROUTE,
    STALE_AFTER_SECONDS,
    Kind,
    Reply,
    ReplyError,
    clock_skew,
    refusal,
    server_error,
)
from omi_async.sandbox.schema import read_json

_logger = logging.getLogger("omi_async.sandbox")

Generation = Literal["newest", "2026-05"]
"""Which of the servers that are about is played: the vendor's, or the one of May 2026."""

# What Starlette leaves unquoted in a Location header.
_LOCATION_SAFE = ":/%#?=@[]!$&'()*+,;"


@attrs.define(kw_only=True)
class Incoming:
    """One request on its way through the checks.

    `path` is decoded, `query` is not; `origin` is scheme and host as the client named them. The checks fill
    in `parameters` (from the path), `content` (the parsed body) and `key` (None for the signed-in user);
    `applied` turns True with the first change.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    origin: str
    parameters: Mapping[str, str] = attrs.field(factory=dict[str, str])
    content: object = None
    key: ApiKey | None = None
    applied: bool = False


@attrs.frozen(kw_only=True)
class Route:
    """One operation: its verb and path, its handler, and what is checked before the handler is called.

    Without a *scope* any key will do; with *signed_in* the request needs the user's ID token instead.
    *windows* are those of the newest server; *older_windows* are those of May 2026, None if it had no such
    route.
    """

    method: str
    path: str
    handler: Callable[[Incoming], Reply]
    kind: Kind
    scope: str | None
    windows: tuple[RateWindow, ...] = ()
    older_windows: tuple[RateWindow, ...] | None = ()
    takes_json: bool = False
    signed_in: bool = False

    def in_2026_05(self) -> "Route | None":
        """Return the route as the older server has it, if it does."""
        return None if self.older_windows is None else attrs.evolve(self, windows=self.older_windows)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the decoded path of a request looks like."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))


class Api:
    """Answers requests by *routes*, which are in the real server's order: a 405 names the first for its path."""

    def __init__(self, routes: Iterable[Route], allowance: Allowance, generation: Generation) -> None:
        if generation != "newest":
            routes = [
                attrs.evolve(route, windows=route.older_windows) for route in routes if route.older_windows is not None
            ]
        self._routes = [(route, route.pattern) for route in routes]
        self._allowance = allowance

    def answer(self, incoming: Incoming) -> Reply:
        """Return the answer to *incoming*, carrying out its change; `incoming.applied` tells whether there was one.

        Whatever breaks on the way is logged and becomes the real server's bare 500.
        """
        try:
            return self._answer(incoming)
        except ReplyError as refused:
            return refused.reply
        except Exception as error:  # noqa: BLE001 - whatever it is
            # Not the error's own words, which may quote a record or a request.
            frames = "".join(traceback.format_tb(error.__traceback__))
            name = type(error).__name__
            _logger.error(  # noqa: TRY400 - an exception would be logged with its words
                "The sandbox could not handle %s %s: %s\n%s", incoming.method, incoming.path, name, frames
            )
            return server_error()

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """Return the first route for *method* and the decoded *path*, or else the first for *path* alone.

        With it come the ids that the path names.
        """
        partial = None
        for route, pattern in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return route, match.groupdict()
            partial = partial or (route, match.groupdict())
        return partial

    def _answer(self, incoming: Incoming) -> Reply:
        _check_age(incoming.headers.get("x-request-start-time"))
        found = self.find(incoming.method, incoming.path)
        if found is None:
            return self._redirect(incoming)
        route, incoming.parameters = found
        if route.method != incoming.method:
            return refusal(405, "Method Not Allowed", {"Allow": route.method})
        if route.takes_json:
            incoming.content = read_json(incoming.body, incoming.headers.get("Content-Type"))
        authorization = incoming.headers.get("Authorization")
        if route.signed_in:
            self._allowance.admit_user(authorization)
        else:
            incoming.key = self._allowance.admit(authorization, route.scope, route.windows)
        return route.handler(incoming)

    def _redirect(self, incoming: Incoming) -> Reply:
        path = incoming.path.rstrip("/")
        if path == incoming.path or self.find(incoming.method, path) is None:
            return refusal(404, NO_ROUTE)
        query = f"?{incoming.query}" if incoming.query else ""
        return Reply(307, headers={"Location": quote(f"{incoming.origin}{path}{query}", safe=_LOCATION_SAFE)})


def _check_age(started: str | None) -> None:
    try:
        client_time = float(started) if started is not None else None
    except ValueError:
        return
    if client_time is not None and time.time() - client_time > STALE_AFTER_SECONDS:
        raise ReplyError(clock_skew(client_time))
