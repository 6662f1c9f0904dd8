"""Daily summaries: what is stored, and their endpoints. The server of May 2026 has none."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from omi_async.sandbox.api import Incoming, Route
from omi_async.sandbox.conversations import ALL_READS, DETAILS, LISTS, READ
from omi_async.sandbox.fields import Field, text, within
from omi_async.sandbox.replies import Kind, Reply, json_reply
from omi_async.sandbox.schema import read_query
from omi_async.sandbox.store import Store, check_aware, check_readable, wire_time

DAILY_SUMMARY = Kind("Daily summary")

_COLLECTION = "/v1/dev/user/daily-summaries"

_DAY = text(pattern=r"^\d{4}-\d{2}-\d{2}$")
_LIST = {
    "limit": Field(within(1, 100), 30),
    "offset": Field(within(0), 0),
    "start_date": Field(_DAY, None),
    "end_date": Field(_DAY, None),
}

_STATS = (
    "total_conversations",
    "total_duration_minutes",
    "action_items_count",
    "memories_created",
    "action_items_created",
    "watching_minutes",
    "proactive_moments",
)
_PARTS = {
    "highlights": ("topic", "emoji", "summary", "conversation_ids"),
    "action_items": ("description", "priority", "completed", "source_conversation_id"),
    "unresolved_questions": ("question", "conversation_id"),
    "decisions_made": ("decision", "conversation_id"),
    "knowledge_nuggets": ("insight", "conversation_id"),
    "locations": ("latitude", "longitude", "address", "conversation_id", "time"),
}
"""The lists of a summary, and what the server sends of each object in them."""

_Objects = tuple[Mapping[str, Any], ...]


@attrs.frozen
class SandboxDailySummary:
    """One stored summary of a day, by the API's field names; to change it, put another in its place.

    `date` is the day as YYYY-MM-DD. `stats` and the lists hold the objects of the API: keys left out are sent
    as null, unknown ones are left out. `more` has further fields of the summary, which are sent as they are.
    `unreadable` stands for a row that the server cannot send. Raises ValueError for a time without a zone.
    """

    id: str
    date: str = "2026-09-01"
    created_at: datetime | None = attrs.field(default=None, validator=check_aware)
    headline: str | None = attrs.field(default=None, repr=False)
    overview: str | None = attrs.field(default=None, repr=False)
    day_emoji: str | None = attrs.field(default=None, repr=False)
    stats: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    highlights: _Objects | None = attrs.field(default=None, repr=False)
    action_items: _Objects | None = attrs.field(default=None, repr=False)
    unresolved_questions: _Objects | None = attrs.field(default=None, repr=False)
    decisions_made: _Objects | None = attrs.field(default=None, repr=False)
    knowledge_nuggets: _Objects | None = attrs.field(default=None, repr=False)
    memories_learned: _Objects = attrs.field(default=(), repr=False)
    locations: _Objects | None = attrs.field(default=None, repr=False)
    more: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    unreadable: bool = False


class DailySummaries:
    """The endpoints of daily summaries."""

    def __init__(self, store: Store[SandboxDailySummary]) -> None:
        self._store = store

    @property
    def routes(self) -> tuple[Route, ...]:
        """Both; they are counted with the lists and the reads of single conversations."""
        return (
            Route(
                method="GET",
                path=_COLLECTION,
                handler=self._list,
                kind=DAILY_SUMMARY,
                scope=READ,
                windows=(ALL_READS, LISTS),
                older_windows=None,
            ),
            Route(
                method="GET",
                path=f"{_COLLECTION}/{{summary_id}}",
                handler=self._get,
                kind=DAILY_SUMMARY,
                scope=READ,
                windows=(ALL_READS, DETAILS),
                older_windows=None,
            ),
        )

    def _list(self, incoming: Incoming) -> Reply:
        query = read_query(incoming.query, _LIST)
        first, last = query["start_date"], query["end_date"]
        rows = [
            summary
            for summary in self._store.all()
            if (first is None or first <= summary.date) and (last is None or summary.date <= last)
        ]
        rows.sort(key=lambda summary: summary.date, reverse=True)
        page = rows[query["offset"] : query["offset"] + query["limit"]]
        return json_reply(200, {"summaries": self._store.rows(page, _to_json)})

    def _get(self, incoming: Incoming) -> Reply:
        summary_id = incoming.parameters["summary_id"]
        if not summary_id.strip() or ".." in summary_id or "\\" in summary_id:
            raise ValueError("no summary can have this id")
        return json_reply(200, _to_json(self._store.find(summary_id)))


def _to_json(summary: SandboxDailySummary) -> dict[str, object]:
    check_readable(summary)
    row: dict[str, object] = {
        "id": summary.id,
        "date": summary.date,
        "created_at": wire_time(summary.created_at),
        "headline": summary.headline,
        "overview": summary.overview,
        "day_emoji": summary.day_emoji,
        "stats": None if summary.stats is None else {name: summary.stats.get(name) for name in _STATS},
    }
    for part, names in _PARTS.items():
        objects: _Objects | None = getattr(summary, part)
        row[part] = None if objects is None else [{name: each.get(name) for name in names} for each in objects]
    return {**row, "memories_learned": [dict(each) for each in summary.memories_learned], **summary.more}
