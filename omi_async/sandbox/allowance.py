"""Who may call what, and how often: the key, its scope and its rate windows, checked in one place."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

import attrs

from omi_async.sandbox.replies import (
    MCP_KEY,
    NO_KEY,
    NO_TOKEN,
    UNKNOWN_KEY,
    UNKNOWN_TOKEN,
    ReplyError,
    missing_scope,
    rate_limited,
    refusal,
)

SCOPES = (
    "conversations:read",
    "conversations:write",
    "memories:read",
    "memories:write",
    "action_items:read",
    "action_items:write",
    "goals:read",
    "goals:write",
)
READ_SCOPES = tuple(scope for scope in SCOPES if scope.endswith(":read"))

USUAL_WRITE_LIMIT = 25
"""Conversation writes an hour that the real server allows a key."""

USUAL_READ_LIMIT = 60
"""Conversation reads an hour that the real server allows a key."""

USUAL_TRANSCRIPT_LIMIT = 25
"""Those of the reads that may ask for transcripts."""

_USUAL_LIMITS = {"writes": USUAL_WRITE_LIMIT, "reads": USUAL_READ_LIMIT, "transcripts": USUAL_TRANSCRIPT_LIMIT}

HOUR = 3600.0


@attrs.frozen
class RateWindow:
    """A counter of the real server, by its name there: at most *limit* calls of a key in an hour.

    *group* names the setting of the sandbox that changes the limit.
    """

    name: str
    limit: int
    group: Literal["writes", "reads", "transcripts"]


@attrs.define
class ApiKey:
    """One key of the user; without *scopes* it may read."""

    id: str
    name: str
    secret: str = attrs.field(repr=False)
    created_at: datetime
    scopes: tuple[str, ...] | None
    last_used_at: datetime | None = None

    @property
    def effective_scopes(self) -> tuple[str, ...]:
        """What the key may do."""
        return READ_SCOPES if self.scopes is None else self.scopes


@attrs.define
class _Count:
    opened: float
    calls: int = 0


class Allowance:
    """Admits calls by key, scope and rate windows, in that order.

    *keys* has the valid keys by their secrets. *limits* gives each group of windows the limit of its smallest
    window, as `write_limit`, or None for no limit; the other windows of the group keep their proportions. The
    windows of writes last *write_window* seconds. Raises ValueError for a limit out of range.
    """

    def __init__(
        self,
        keys: Mapping[str, ApiKey],
        *,
        id_token: str = "",
        limits: Mapping[str, int | None] | None = None,
        write_window: float = HOUR,
        clock: Callable[[], float],
        names_mcp_keys: bool = True,
    ) -> None:
        self._keys = keys
        self._id_token = id_token
        self._limits: dict[str, int | None] = {}
        self.set_limits(limits or {})
        self._first_limits = dict(self._limits)
        self._write_window = write_window
        self._clock = clock
        self._names_mcp_keys = names_mcp_keys
        self._counts: dict[tuple[str, str], _Count] = {}

    def admit(self, authorization: str | None, scope: str | None, windows: tuple[RateWindow, ...]) -> ApiKey:
        """Let one call pass and return its key, or raise `ReplyError` with the server's 401, 403 or 429."""
        key = self._key(authorization)
        if scope is not None and scope not in key.effective_scopes:
            raise ReplyError(missing_scope(scope))
        for window in windows:
            self.spend(key, window)
        key.last_used_at = datetime.now(UTC)
        return key

    def admit_user(self, authorization: str | None) -> None:
        """Let a call of the signed-in user pass, or raise `ReplyError` with the server's 401 or 403."""
        scheme, _, token = (authorization or "").partition(" ")
        if not token:
            raise ReplyError(refusal(403, NO_TOKEN))
        if scheme.lower() != "bearer":
            raise ReplyError(refusal(403, UNKNOWN_TOKEN))
        if token != self._id_token:
            raise ReplyError(refusal(401, UNKNOWN_TOKEN))

    def spend(self, key: ApiKey, window: RateWindow) -> None:
        """Count one call of *key* in *window*, or raise `ReplyError` with the 429 of a full one."""
        limit = self.limit(window)
        if limit is None:
            return
        now, seconds = self._clock(), self.seconds(window)
        count = self._counts.get((window.name, key.secret))
        if count is None or now - count.opened >= seconds:
            count = self._counts[window.name, key.secret] = _Count(now)
        # A refused call is counted as well, but never moves the window's end.
        count.calls += 1
        if count.calls > limit:
            raise ReplyError(rate_limited(limit, whole_seconds(count.opened + seconds - now)))

    def set_limits(self, limits: Mapping[str, int | None]) -> None:
        """Change the limits that are given; what was counted stays. Raises ValueError naming one out of range."""
        for name, limit in limits.items():
            if limit is not None and (type(limit) is not int or limit < 0):
                raise ValueError(f"{name} must be zero or more, or None for no limit")
        self._limits.update(limits)

    def limit(self, window: RateWindow) -> int | None:
        """Return how many calls *window* takes here, None for any number."""
        given = self._limits.get(f"{window.group.removesuffix('s')}_limit")
        # Rounded up, so that a small limit closes no window altogether.
        return None if given is None else -(-window.limit * given // _USUAL_LIMITS[window.group])

    def seconds(self, window: RateWindow) -> float:
        """Return how long *window* lasts here."""
        return self._write_window if window.group == "writes" else HOUR

    def reset(self) -> None:
        """Open all windows again, with the limits of the beginning."""
        self._counts.clear()
        self._limits = dict(self._first_limits)

    def _key(self, authorization: str | None) -> ApiKey:
        if not authorization or not authorization.startswith("Bearer "):
            raise ReplyError(refusal(401, NO_KEY))
        # Every "Bearer " is cut out, wherever it stands: so does the real server.
        secret = authorization.replace("Bearer ", "")
        if secret.startswith("omi_mcp_") and self._names_mcp_keys:
            raise ReplyError(refusal(401, MCP_KEY))
        key = self._keys.get(secret)
        if key is None:
            raise ReplyError(refusal(401, UNKNOWN_KEY))
        return key


def whole_seconds(seconds: float) -> str:
    """Return *seconds* as the server's counter reports them: rounded, so 0 in the last half second."""
    return str(int(seconds + 0.5))
