"""The sandbox tells a key about itself, and lets the signed-in user list, create and revoke keys."""

import json
import re
from collections.abc import AsyncIterator

import pytest

from omi_async.sandbox import Sandbox
from tests.support.caller import Answer, Caller, calling

KEY, KEYS = "/v1/dev/key", "/v1/dev/keys"
SCOPES = [
    *("conversations:read", "conversations:write", "memories:read", "memories:write"),
    *("action_items:read", "action_items:write", "goals:read", "goals:write"),
]


class User:
    """The signed-in user."""

    def __init__(self, call: Caller) -> None:
        self.call = call

    async def __call__(self, method: str, path: str = KEYS, body: dict[str, object] | None = None) -> Answer:
        return await self.call(method, path, body, authorization=f"Bearer {self.call.sandbox.id_token}")


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling(Sandbox()) as caller:
        yield caller


@pytest.fixture
def user(call: Caller) -> User:
    return User(call)


class TestCurrent:
    async def test_a_key_learns_about_itself(self, call: Caller) -> None:
        """Six fields; no scope is needed."""
        row = json.loads((await call("GET", KEY)).body)
        assert ("key_full", "Sandbox", "omi_dev_0000...0001", "2026-09-01T08:00:00Z", SCOPES) == (
            *(row[name] for name in ("id", "name", "key_prefix", "created_at", "scopes")),
        )
        assert 6 == len(row)
        assert row["last_used_at"].endswith("Z")
        other = json.loads((await call("GET", KEY, key=call.sandbox.read_only_key)).body)
        assert SCOPES[::2] == other["scopes"]

    async def test_other_tokens_are_refused(self, user: User) -> None:
        """The user's own too."""
        answer = await user("GET", KEY)
        assert (401, b'{"detail":"Invalid API Key"}') == (answer.status, answer.body)

    async def test_the_older_server_has_no_such_route(self) -> None:
        """It answers as to any unknown path."""
        async with calling(Sandbox(generation="2026-05")) as call:
            assert b'{"detail":"Not Found"}' == (await call("GET", KEY)).body


class TestSignedIn:
    @pytest.mark.parametrize(
        ("authorization", "status", "detail"),
        [
            (None, 403, "Not authenticated"),
            ("Bearer", 403, "Not authenticated"),
            ("Basic x", 403, "Invalid authentication credentials"),
            (f"Bearer {Sandbox().api_key}", 401, "Invalid authentication credentials"),
            (f"Bearer {Sandbox().id_token}x", 401, "Invalid authentication credentials"),
        ],
    )
    @pytest.mark.parametrize(("method", "path"), [("GET", KEYS), ("POST", KEYS), ("DELETE", f"{KEYS}/key_full")])
    async def test_nobody_else_gets_in(
        self, call: Caller, method: str, path: str, authorization: str | None, status: int, detail: str
    ) -> None:
        """A key is no ID token."""
        answer = await call(method, path, key=None, authorization=authorization)
        assert (status, {"detail": detail}) == (answer.status, json.loads(answer.body))

    async def test_the_word_before_the_token_may_be_small(self, call: Caller) -> None:
        """Other than for keys."""
        assert 200 == (await call("GET", KEYS, authorization=f"bearer {call.sandbox.id_token}")).status

    async def test_broken_json_comes_first(self, call: Caller) -> None:
        """As everywhere."""
        assert 422 == (await call("POST", KEYS, body=b"{", key=None)).status

    async def test_the_token_is_not_recorded(self, user: User) -> None:
        """It is masked like a key."""
        await user("GET")
        (record,) = user.call.sandbox.requests
        assert "Bearer ***" == record.headers["Authorization"]


class TestKeys:
    async def test_the_newest_comes_first(self, user: User) -> None:
        """Secrets are not shown."""
        rows = json.loads((await user("GET")).body)
        assert ["key_read_only", "key_full"] == [row["id"] for row in rows]
        assert ["omi_dev_0000...0002", "omi_dev_0000...0001"] == [row["key_prefix"] for row in rows]
        assert [None, None] == [row["last_used_at"] for row in rows]

    async def test_a_new_key_works_until_it_is_revoked(self, user: User) -> None:
        """Its secret is shown once."""
        created = json.loads((await user("POST", body={"name": " Mine ", "scopes": ["goals:read"]})).body)
        assert ("Mine", ["goals:read"]) == (created["name"], created["scopes"])
        assert re.fullmatch("omi_dev_[0-9a-f]{32}", created["key"])
        assert created["key_prefix"] == f"omi_dev_{created['key'][8:12]}...{created['key'][-4:]}"
        paths = ("/v1/dev/user/goals", "/v1/dev/user/folders")
        assert [200, 403] == [(await user.call("GET", path, key=created["key"])).status for path in paths]
        assert created["key"].encode() not in (await user("GET")).body
        for _ in range(2):
            answer = await user("DELETE", f"{KEYS}/{created['id']}")
            assert (204, b"") == (answer.status, answer.body)
        assert 401 == (await user.call("GET", paths[0], key=created["key"])).status
        applied = [record.applied for record in user.call.sandbox.requests if record.path.startswith(KEYS)]
        assert [True, False, True, False] == applied

    @pytest.mark.parametrize(
        ("sent", "scopes"),
        [({}, SCOPES[::2]), ({"scopes": None}, SCOPES[::2]), ({"scopes": []}, [])],
    )
    async def test_usual_scopes(self, user: User, sent: dict[str, object], scopes: list[str]) -> None:
        """Reading everything, where none are given; an empty list is none."""
        assert scopes == json.loads((await user("POST", body={"name": "a", **sent})).body)["scopes"]

    @pytest.mark.parametrize(
        ("sent", "status", "part"),
        [
            ({"name": " ", "scopes": ["x"]}, 422, '{"detail":"Key name cannot be empty"}'),
            ({"name": "a", "scopes": ["goals:read", "x"]}, 400, f'{{"detail":"Invalid scopes. Available: {SCOPES}"}}'),
            ({"name": None}, 422, '"type":"string_type"'),
            ({"name": "a", "scopes": "goals:read"}, 422, '"type":"list_type"'),
        ],
    )
    async def test_refusals(self, user: User, sent: dict[str, object], status: int, part: str) -> None:
        """Nothing is created."""
        answer = await user("POST", body=sent)
        assert (status, True) == (answer.status, part in answer.body.decode())
        assert 2 == len(json.loads((await user("GET")).body))

    async def test_a_reset_brings_revoked_keys_back(self, user: User) -> None:
        """And forgets new ones."""
        await user("DELETE", f"{KEYS}/key_full")
        await user("POST", body={"name": "a"})
        assert 401 == (await user.call("GET", KEY)).status
        user.call.sandbox.reset()
        assert 200 == (await user.call("GET", KEY)).status
        assert 2 == len(json.loads((await user("GET")).body))

    async def test_times_of_the_older_server_have_no_zone(self) -> None:
        """They are UTC."""
        async with calling(Sandbox(generation="2026-05")) as call:
            rows = json.loads((await User(call)("GET")).body)
            assert "2026-09-01T08:05:00" == rows[0]["created_at"]
            assert {"goals:read", "memories:read"} <= set(rows[0]["scopes"])
