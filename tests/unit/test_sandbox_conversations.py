"""What the two generations of the server do differently with conversations, and what both cannot do."""

import json

import pytest

from omi_async.sandbox import Sandbox, SandboxConversation
from tests.support.caller import calling

ITEMS = "/v1/dev/user/conversations"
SEGMENTS = f"{ITEMS}/from-segments"
SEGMENT: dict[str, object] = {"text": "Hello there.", "start": 0.5, "end": 2.25}
AS_USUAL: dict[str, object] = {"transcript_segments": [SEGMENT]}


class TestOlderServer:
    async def test_only_creations_are_limited(self) -> None:
        """Changes, deletions and reads are not counted, the second counter of from-segments does not exist."""
        async with calling(Sandbox(write_limit=2, read_limit=0, transcript_limit=0, generation="2026-05")) as call:
            statuses = [
                (await call("PATCH", f"{ITEMS}/conv_standup", {"title": "x"})).status,
                (await call("PATCH", f"{ITEMS}/conv_standup", {"title": "x"})).status,
                (await call("DELETE", f"{ITEMS}/conv_noise")).status,
                (await call("GET", f"{ITEMS}?include_transcript=true")).status,
                (await call("POST", SEGMENTS, AS_USUAL)).status,
                (await call("POST", ITEMS, {"text": "a"})).status,
                (await call("POST", ITEMS, {"text": "a"})).status,
            ]
        assert [200, 200, 200, 200, 200, 200, 429] == statuses

    @pytest.mark.parametrize(
        ("generation", "query", "count"),
        [
            ("newest", "limit=1000", 200),
            ("newest", "limit=1000&include_transcript=1", 200),
            ("2026-05", "limit=1000", 100),
            ("2026-05", "limit=1000&include_transcript=1", 25),
        ],
    )
    async def test_pages_differ_in_size(self, generation: str, query: str, count: int) -> None:
        """The older server gives fewer rows, above all with transcripts."""
        rows = [SandboxConversation(id=f"c{number}") for number in range(210)]
        async with calling(Sandbox(rows, generation=generation)) as call:  # type: ignore[arg-type]
            assert count == len(json.loads((await call("GET", f"{ITEMS}?{query}")).body))

    async def test_blank_titles_are_stored_as_nothing(self) -> None:
        """Only the length is checked."""
        async with calling(Sandbox(generation="2026-05")) as call:
            assert 200 == (await call("PATCH", f"{ITEMS}/conv_standup", {"title": "  "})).status
            assert "" == call.sandbox.conversations["conv_standup"].title

    async def test_words_and_defaults_of_its_own(self) -> None:
        """A category is named, a creation says less, times need no zone, keys for MCP are wrong keys."""
        async with calling(Sandbox([], generation="2026-05")) as call:
            unknown = await call("GET", f"{ITEMS}?categories=it%27s")
            assert {"detail": 'Invalid category "it\'s" is not a valid CategoryEnum'} == json.loads(unknown.body)
            created = await call("POST", SEGMENTS, {**AS_USUAL, "started_at": "2026-09-01", "conversation_role": "x"})
            assert {"id", "status", "discarded"} == set(json.loads(created.body))
            assert ["external_integration"] == [each.source for each in call.sandbox.conversations.values()]
            other = await call("GET", ITEMS, authorization="Bearer omi_mcp_1")
            assert b'{"detail":"Invalid API Key"}' == other.body

    async def test_a_row_that_cannot_be_sent_breaks_the_list(self) -> None:
        """It is not left out."""
        broken = SandboxConversation(id="c", events=[{"title": "no start"}])
        async with calling(Sandbox([broken], generation="2026-05")) as call:
            assert 500 == (await call("GET", ITEMS)).status


class TestNewestServer:
    @pytest.mark.parametrize(("limit", "own_limit"), [(25, 30), (5, 6)])
    async def test_from_segments_has_a_counter_of_its_own(self, limit: int, own_limit: int) -> None:
        """It opens later than the common one, and so outlasts it; it grows and shrinks with the common limit."""
        now = [0.0]
        async with calling(Sandbox([], write_limit=limit, clock=lambda: now[0])) as call:
            await call("DELETE", f"{ITEMS}/missing")
            now[0] = 3599
            early = [await call("POST", SEGMENTS, AS_USUAL) for _ in range(limit)]
            assert [200] * (limit - 1) + [429] == [answer.status for answer in early]
            assert str(limit) == early[-1].headers["X-RateLimit-Limit"]
            now[0] = 3600
            late = [await call("POST", SEGMENTS, AS_USUAL) for _ in range(own_limit - limit + 2)]
            assert [200] * (own_limit - limit + 1) + [429] == [answer.status for answer in late]
            assert (str(own_limit), "3599") == tuple(
                late[-1].headers[name] for name in ("X-RateLimit-Limit", "Retry-After")
            )

    @pytest.mark.parametrize(
        ("sent", "kind"),
        [
            ({"started_at": "2026-09-01T00:00:00"}, "timezone_aware"),
            ({"finished_at": "2026-09-01"}, "timezone_aware"),
            ({"conversation_role": "lecture"}, "literal_error"),
            ({"capture_evidence": "much"}, "model_attributes_type"),
            ({"conversation_finalization_reason": 5}, "string_type"),
        ],
    )
    async def test_newer_fields_are_checked(self, sent: dict[str, object], kind: str) -> None:
        """All but `client_processing`, which may be anything."""
        async with calling(Sandbox([])) as call:
            answer = await call("POST", SEGMENTS, {**AS_USUAL, **sent})
            assert (422, kind) == (answer.status, json.loads(answer.body)["detail"][0]["type"])
            usual = {
                **AS_USUAL,
                "client_processing": 5,
                "capture_evidence": {},
                "conversation_role": "meeting",
                "conversation_finalization_reason": "silence",
            }
            assert 200 == (await call("POST", SEGMENTS, usual)).status


@pytest.mark.parametrize("name", [".", "..", "____", "__x__", "x" * 1501, "%C3%A9" * 751])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_some_ids_can_never_be_stored(method: str, name: str) -> None:
    """The database refuses them, so each is a bare 500."""
    async with calling(Sandbox()) as call:
        answer = await call(method, f"{ITEMS}/{name}", {"title": "x"} if method == "PATCH" else None)
        assert (500, b"Internal Server Error") == (answer.status, answer.body)
