"""Who may call what, and how often: the key, its scope and its rate window, checked in one place."""

from collections.abc import Callable, Mapping

import attrs

from omi_async.sandbox.answers import (
    MCP_KEY,
    NO_KEY,
    UNKNOWN_KEY,
    RefusedError,
    missing_scope,
    rate_limited,
    refusal,
)

CONVERSATIONS_READ = "conversations:read"
CONVERSATIONS_WRITE = "conversations:write"

READ_SCOPES = frozenset({CONVERSATIONS_READ, "memories:read", "action_items:read", "goals:read"})
ALL_SCOPES = READ_SCOPES | {CONVERSATIONS_WRITE, "memories:write", "action_items:write", "goals:write"}

WRITE_POLICY = "dev:conversations"
"""The server's name for the window shared by all conversation writes of a key."""

READS_POLICY = "dev:conversation_reads_total"
"""The window shared by all conversation reads of a key; each kind has another of its own."""
LIST_POLICY = "dev:conversations_read"
DETAIL_POLICY = "dev:conversation_detail_read"
TRANSCRIPT_POLICY = "dev:conversation_transcript_read"
"""The window of the reads that ask for transcripts, of either kind; they spend the others as well."""


@attrs.frozen
class RatePolicy:
    """At most *limit* calls in a window of *window_seconds* that opens with the first call of a key."""

    limit: int
    window_seconds: float


@attrs.define
class _Window:
    opened: float
    calls: int = 0


class Gate:
    """Admits calls by key, scope and rate policies, in that order.

    *keys* maps each valid key to its scopes. A policy that is missing from *policies* has no limit.
    """

    def __init__(
        self,
        keys: Mapping[str, frozenset[str]],
        policies: Mapping[str, RatePolicy],
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._policies = policies
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def admit(self, authorization: str | None, scope: str, *policy_names: str) -> None:
        """Let one call pass, or raise `RefusedError` with the 401, 403 or 429 the real server would give."""
        key = self._key(authorization)
        if scope not in self._keys[key]:
            raise RefusedError(missing_scope(scope))
        for name in policy_names:
            self._spend(key, name)

    def _key(self, authorization: str | None) -> str:
        if not authorization or not authorization.startswith("Bearer "):
            raise RefusedError(refusal(401, NO_KEY))
        # Every "Bearer " is cut out, wherever it stands: so does the real server.
        key = authorization.replace("Bearer ", "")
        if key.startswith("omi_mcp_"):
            raise RefusedError(refusal(401, MCP_KEY))
        if key not in self._keys:
            raise RefusedError(refusal(401, UNKNOWN_KEY))
        return key

    def _spend(self, key: str, policy_name: str) -> None:
        policy = self._policies.get(policy_name)
        if policy is None:
            return
        now = self._clock()
        window = self._windows.get((policy_name, key))
        if window is None or now - window.opened >= policy.window_seconds:
            window = self._windows[policy_name, key] = _Window(now)
        # A refused call is counted as well, but never moves the window's end.
        window.calls += 1
        if window.calls > policy.limit:
            left = window.opened + policy.window_seconds - now
            raise RefusedError(rate_limited(policy.limit, whole_seconds(left)))


def whole_seconds(seconds: float) -> str:
    """Return *seconds* as the server's counter reports them: rounded, so 0 in the last half second."""
    return str(int(seconds + 0.5))
