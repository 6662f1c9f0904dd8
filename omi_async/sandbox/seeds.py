"""What a sandbox starts with where it is given nothing: new objects every time."""

from datetime import UTC, datetime
from typing import Any

from omi_async.sandbox.action_items import SandboxActionItem
from omi_async.sandbox.conversations import SandboxConversation
from omi_async.sandbox.daily_summaries import SandboxDailySummary
from omi_async.sandbox.folders import SandboxFolder
from omi_async.sandbox.goals import SandboxGoal
from omi_async.sandbox.memories import SandboxMemory


def conversations() -> list[SandboxConversation]:
    """Return six conversations, the newest first."""
    return [
        SandboxConversation(
            id="conv_standup",
            created_at=datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC),
            started_at=datetime(2026, 9, 21, 8, 0, tzinfo=UTC),
            finished_at=datetime(2026, 9, 21, 8, 11, 58, tzinfo=UTC),
            title="Monday Stand-up",
            overview="The export is done, search is still slow, and a demo was set for Friday.",
            emoji="💼",
            category="work",
            action_items=[
                {
                    "description": "Measure search on the large account",
                    "created_at": datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC),
                    "due_at": datetime(2026, 9, 23, 16, 0, tzinfo=UTC),
                    "conversation_id": "conv_standup",
                },
                {
                    "description": "Invite the support team to the demo",
                    "completed": True,
                    "created_at": datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC),
                    "updated_at": datetime(2026, 9, 21, 9, 30, tzinfo=UTC),
                    "completed_at": datetime(2026, 9, 21, 9, 30, tzinfo=UTC),
                    "conversation_id": "conv_standup",
                },
            ],
            events=[
                {
                    "title": "Demo for the support team",
                    "description": "Show the new export.",
                    "start": datetime(2026, 9, 25, 13, 0, tzinfo=UTC),
                    "duration": 45,
                }
            ],
            transcript_segments=[
                {
                    "id": "seg_standup_1",
                    "text": "Good morning. The export is finished, it went out on Friday.",
                    "speaker_id": 0,
                    "start": 0.0,
                    "end": 4.6,
                },
                {
                    "id": "seg_standup_2",
                    "text": "Search is still slow on the large account, I will measure it.",
                    "speaker_id": 1,
                    "start": 5.1,
                    "end": 9.84,
                },
            ],
            folder_id="folder_work",
            folder_name="Work",
            starred=True,
        ),
        SandboxConversation(
            id="conv_design",
            created_at=datetime(2026, 9, 18, 14, 46, 2, tzinfo=UTC),
            started_at=datetime(2026, 9, 18, 14, 0, tzinfo=UTC),
            finished_at=datetime(2026, 9, 18, 14, 45, 20, 500000, tzinfo=UTC),
            title="Talk about the new settings page",
            overview="Two layouts were compared; the one with a single column was chosen.",
            emoji="🎨",
            category="design",
            action_items=[{"description": "Draw the single-column layout", "conversation_id": "conv_design"}],
            source="desktop",
            transcript_segments=[
                {
                    "id": "seg_design_1",
                    "text": "The single column reads better on a phone.",
                    "speaker_id": 0,
                    "start": 12.0,
                    "end": 15.25,
                }
            ],
            folder_id="folder_work",
            folder_name="Work",
        ),
        SandboxConversation(
            id="conv_lisbon",
            created_at=datetime(2026, 9, 12, 17, 31, tzinfo=UTC),
            started_at=datetime(2026, 9, 12, 17, 5, tzinfo=UTC),
            finished_at=datetime(2026, 9, 12, 17, 30, tzinfo=UTC),
            title="Planos para domingo",
            overview="Ideias para um passeio de domingo em Lisboa.",
            emoji="✈️",
            category="travel",
            events=[{"title": "Passeio em Alfama", "start": datetime(2026, 9, 13, 10, 0, tzinfo=UTC)}],
            language="pt",
            source="phone",
            transcript_segments=[{"text": "Começamos em Alfama e almoçamos perto do rio.", "start": 1.2, "end": 4.9}],
            geolocation={
                "latitude": 38.7139,
                "longitude": -9.1334,
                "address": "Lisboa, Portugal",
                "location_type": "locality",
            },
        ),
        SandboxConversation(
            id="conv_checkup",
            created_at=datetime(2026, 9, 9, 10, 20, tzinfo=UTC),
            started_at=datetime(2026, 9, 9, 10, 0, tzinfo=UTC),
            finished_at=None,
            title="Yearly check-up",
            overview="Everything is fine; more sleep was advised.",
            emoji="🩺",
            category="health",
            source=None,
        ),
        SandboxConversation(
            id="conv_noise",
            created_at=datetime(2026, 9, 8, 19, 2, tzinfo=UTC),
            started_at=datetime(2026, 9, 8, 19, 1, tzinfo=UTC),
            finished_at=datetime(2026, 9, 8, 19, 1, 20, tzinfo=UTC),
            title="Background noise",
            overview="",
            transcript_segments=[{"text": "Uh-huh.", "speaker_id": 0, "start": 0.4, "end": 0.9}],
            discarded=True,
        ),
        SandboxConversation(
            id="conv_locked",
            created_at=datetime(2026, 9, 2, 12, 40, tzinfo=UTC),
            started_at=datetime(2026, 9, 2, 12, 0, tzinfo=UTC),
            finished_at=datetime(2026, 9, 2, 12, 39, tzinfo=UTC),
            title="Lunch with the founders",
            overview="How the first customers were found.",
            emoji="🍜",
            category="entrepreneurship",
            locked=True,
        ),
    ]


def memories() -> list[SandboxMemory]:
    """Return seven memories, the newest first."""
    return [
        _memory("mem_coffee", 21, "Drinks coffee black, and none after three in the afternoon.", "habits"),
        _memory(
            "mem_lisbon", 19, "Spends a week in Lisbon every autumn, with Ana.", "lifestyle", tags=("travel", "lisbon")
        ),
        _memory("mem_release", 18, "Leads the work on the export and the new settings page.", "work", tags=("work",)),
        _memory("mem_guitar", 15, "Has played the guitar since school.", "hobbies", visibility="public"),
        _memory("mem_rust", 12, "Learns Rust by writing a small search engine.", "learnings", edited=True),
        _memory("mem_sleep", 9, "Wants to sleep eight hours, as the doctor advised.", "manual", manually_added=True),
        _memory(
            "mem_locked",
            2,
            "Met the founders for lunch and heard at length how they had found their first hundred customers.",
            "interesting",
            locked=True,
        ),
    ]


def _memory(name: str, day: int, content: str, category: str, **more: Any) -> SandboxMemory:
    time = datetime(2026, 9, day, 18, 30, tzinfo=UTC)
    scoring = f"{more.get('manually_added', False):02d}_999_{int(time.timestamp()):010d}"
    return SandboxMemory(name, content, category, created_at=time, updated_at=time, scoring=scoring, **more)


def action_items() -> list[SandboxActionItem]:
    """Return six action items, two of them done."""
    standup = datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC)
    return [
        _action_item(
            "item_search",
            "Measure search on the large account",
            standup,
            due_at=datetime(2026, 9, 23, 16, 0, tzinfo=UTC),
            conversation_id="conv_standup",
        ),
        _action_item(
            "item_invite",
            "Invite the support team to the demo",
            standup,
            completed=True,
            updated_at=datetime(2026, 9, 21, 9, 30, tzinfo=UTC),
            completed_at=datetime(2026, 9, 21, 9, 30, tzinfo=UTC),
            conversation_id="conv_standup",
        ),
        _action_item(
            "item_layout",
            "Draw the single-column layout",
            datetime(2026, 9, 18, 14, 46, 2, tzinfo=UTC),
            conversation_id="conv_design",
        ),
        _action_item(
            "item_train",
            "Book the train to Porto",
            datetime(2026, 9, 16, 20, 5, tzinfo=UTC),
            due_at=datetime(2026, 9, 30, 12, 0, tzinfo=UTC),
        ),
        _action_item(
            "item_strings",
            "Buy new strings for the guitar",
            datetime(2026, 9, 15, 18, 31, tzinfo=UTC),
            completed=True,
            updated_at=datetime(2026, 9, 19, 11, 0, tzinfo=UTC),
            completed_at=datetime(2026, 9, 19, 11, 0, tzinfo=UTC),
        ),
        _action_item(
            "item_locked",
            "Write to the founders",
            datetime(2026, 9, 2, 12, 40, tzinfo=UTC),
            conversation_id="conv_locked",
            locked=True,
        ),
    ]


def _action_item(name: str, description: str, created_at: datetime, **more: Any) -> SandboxActionItem:
    return SandboxActionItem(name, description, created_at=created_at, **{"updated_at": created_at, **more})


def goals() -> list[SandboxGoal]:
    """Return four goals, one of them given up."""
    return [
        SandboxGoal(
            "goal_5a1d0c7e42b9",
            "Run ten kilometers",
            "I run ten kilometers without a break.",
            "The doctor advised more exercise.",
            ("Three runs a week",),
            datetime(2026, 12, 1, tzinfo=UTC),
            status="focused",
            focus_rank=1,
            metric={"type": "numeric", "current": 6.5, "target": 10.0, "min": 0.0, "max": 10.0, "unit": "km"},
            created_at=datetime(2026, 8, 3, 7, 30, tzinfo=UTC),
            updated_at=datetime(2026, 9, 20, 9, 15, tzinfo=UTC),
            history=(
                {"date": "2026-09-20", "value": 6.5, "recorded_at": datetime(2026, 9, 20, 9, 15, tzinfo=UTC)},
                {"date": "2026-09-13", "value": 5.0, "recorded_at": datetime(2026, 9, 13, 10, 2, tzinfo=UTC)},
                {"date": "2026-08-30", "value": 4.0, "recorded_at": datetime(2026, 8, 30, 9, 40, tzinfo=UTC)},
            ),
        ),
        SandboxGoal(
            "goal_91c3f0aa6d15",
            "Finish the search engine in Rust",
            "It finds a word in all my notes.",
            metric={"type": "scale", "current": 4.0, "target": 8.0},
            created_at=datetime(2026, 8, 20, 19, 0, tzinfo=UTC),
            updated_at=datetime(2026, 9, 12, 21, 10, tzinfo=UTC),
        ),
        SandboxGoal(
            "goal_2b7e9d4410cf",
            "Sleep eight hours",
            "I wake up without the alarm.",
            created_at=datetime(2026, 9, 9, 11, 0, tzinfo=UTC),
            updated_at=datetime(2026, 9, 9, 11, 0, tzinfo=UTC),
        ),
        SandboxGoal(
            "goal_c06f8812be73",
            "Write a song",
            "Ana has heard it.",
            status="abandoned",
            created_at=datetime(2026, 7, 1, 20, 0, tzinfo=UTC),
            updated_at=datetime(2026, 8, 1, 20, 0, tzinfo=UTC),
        ),
    ]


def folders() -> list[SandboxFolder]:
    """Return three folders; one of them holds two conversations."""
    return [
        SandboxFolder("folder_work", "Work", "Meetings and plans", "#3B82F6", "💼", order=1, conversation_count=2),
        SandboxFolder("folder_other", "Other", order=0, is_default=True, is_system=True),
        SandboxFolder("folder_travel", "Travel", color="#10B981", icon="✈️", order=2),
    ]


def daily_summaries() -> list[SandboxDailySummary]:
    """Return the summaries of three days."""
    return [
        SandboxDailySummary(
            "summary_2026_09_21",
            "2026-09-21",
            datetime(2026, 9, 21, 21, 0, 12, tzinfo=UTC),
            "The export is out",
            "A short day: the stand-up, and a date for the demo.",
            "🚀",
            {"total_conversations": 1, "total_duration_minutes": 12, "action_items_count": 2, "memories_created": 1},
            (
                {
                    "topic": "Demo",
                    "emoji": "📅",
                    "summary": "The support team sees the export on Friday.",
                    "conversation_ids": ["conv_standup"],
                },
            ),
            (
                {
                    "description": "Measure search on the large account",
                    "priority": "high",
                    "completed": False,
                    "source_conversation_id": "conv_standup",
                },
            ),
            ({"question": "Why is search slow on the large account?", "conversation_id": "conv_standup"},),
            ({"decision": "The demo is on Friday.", "conversation_id": "conv_standup"},),
            (),
            ({"content": "Drinks coffee black."},),
            (),
        ),
        SandboxDailySummary(
            "summary_2026_09_18",
            "2026-09-18",
            datetime(2026, 9, 18, 21, 0, 9, tzinfo=UTC),
            "One column it is",
            "The layout of the settings page was chosen.",
            "🎨",
            decisions_made=({"decision": "The page has a single column.", "conversation_id": "conv_design"},),
        ),
        SandboxDailySummary(
            "summary_2026_09_12",
            "2026-09-12",
            datetime(2026, 9, 12, 21, 0, 31, tzinfo=UTC),
            "A plan for Sunday",
            "A walk through Alfama, and lunch by the river.",
            "✈️",
            knowledge_nuggets=({"insight": "Alfama is best on foot.", "conversation_id": "conv_lisbon"},),
            locations=(
                {
                    "latitude": 38.7139,
                    "longitude": -9.1334,
                    "address": "Lisboa, Portugal",
                    "conversation_id": "conv_lisbon",
                    "time": "17:05",
                },
            ),
        ),
    ]
