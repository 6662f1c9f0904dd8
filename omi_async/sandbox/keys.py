"""API keys: what a key says about itself, and the endpoints of the signed-in user."""

import secrets
from datetime import UTC, datetime

from omi_async.sandbox.allowance import READ_SCOPES, SCOPES, ApiKey
from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.fields import Field, blank, list_of, optional, text
from omi_async.sandbox.replies import JSON_TYPE, UNKNOWN_KEY, Kind, Reply, json_reply, refusal
from omi_async.sandbox.schema import read_body
from omi_async.sandbox.store import wire_time

_KEY = Kind("Key")
_COLLECTION = "/v1/dev/keys"
_PREFIX = "omi_dev_"

_CREATE = {"name": Field(text()), "scopes": Field(optional(list_of(text())), None)}


def first_keys(full: str, read_only: str) -> dict[str, ApiKey]:
    """Return the user's two keys with these secrets, by secret."""
    begun = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
    keys = (
        ApiKey("key_full", "Sandbox", full, begun, SCOPES),
        ApiKey("key_read_only", "Sandbox, read only", read_only, begun.replace(minute=5), READ_SCOPES),
    )
    return {key.secret: key for key in keys}


class Keys:
    """The endpoints of keys, which are kept by their secrets."""

    def __init__(self, keys: dict[str, ApiKey], generation: Generation) -> None:
        self._keys = keys
        self._old = generation != "newest"

    @property
    def routes(self) -> tuple[Route, ...]:
        """The one for any key, and the three for the signed-in user; none is limited here."""
        one = f"{_COLLECTION}/{{key_id}}"
        return (
            Route(method="GET", path="/v1/dev/key", handler=self._current, kind=_KEY, scope=None, older_windows=None),
            Route(method="GET", path=_COLLECTION, handler=self._list, kind=_KEY, scope=None, signed_in=True),
            Route(
                method="POST",
                path=_COLLECTION,
                handler=self._create,
                kind=_KEY,
                scope=None,
                signed_in=True,
                takes_json=True,
            ),
            Route(method="DELETE", path=one, handler=self._revoke, kind=_KEY, scope=None, signed_in=True),
        )

    def _current(self, incoming: Incoming) -> Reply:
        if incoming.key is None:
            return refusal(401, UNKNOWN_KEY)
        return json_reply(200, {**self._to_json(incoming.key), "scopes": incoming.key.effective_scopes})

    def _list(self, _: Incoming) -> Reply:
        newest_first = sorted(self._keys.values(), key=lambda key: key.created_at, reverse=True)
        return json_reply(200, [self._to_json(key) for key in newest_first])

    def _create(self, incoming: Incoming) -> Reply:
        request = read_body(incoming.content, _CREATE)
        if blank(request["name"]):
            return refusal(422, "Key name cannot be empty")
        scopes = READ_SCOPES if request["scopes"] is None else tuple(request["scopes"])
        if not set(SCOPES).issuperset(scopes):
            return refusal(400, f"Invalid scopes. Available: {list(SCOPES)}")
        key = ApiKey(
            id=secrets.token_hex(10),
            name=request["name"].strip(),
            secret=f"{_PREFIX}{secrets.token_hex(16)}",
            created_at=datetime.now(UTC),
            scopes=scopes,
        )
        incoming.applied = True
        self._keys[key.secret] = key
        return json_reply(200, {**self._to_json(key), "key": key.secret})

    def _revoke(self, incoming: Incoming) -> Reply:
        for key in list(self._keys.values()):
            if key.id == incoming.parameters["key_id"]:
                incoming.applied = True
                del self._keys[key.secret]
        # The same for a key that does not exist.
        return Reply(204, headers={"Content-Type": JSON_TYPE})

    def _to_json(self, key: ApiKey) -> dict[str, object]:
        random = key.secret.removeprefix(_PREFIX)
        return {
            "id": key.id,
            "name": key.name,
            "key_prefix": f"{_PREFIX}{random[:4]}...{random[-4:]}",
            "created_at": self._time(key.created_at),
            "last_used_at": None if key.last_used_at is None else self._time(key.last_used_at),
            "scopes": key.scopes,
        }

    def _time(self, time: datetime) -> str | None:
        # The older server leaves the zone out.
        return time.replace(tzinfo=None).isoformat() if self._old else wire_time(time)
