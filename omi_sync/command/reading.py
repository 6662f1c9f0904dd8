"""The commands that only read: list and get."""

import itertools
import json
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import attrs

from omi_async import Conversation, InvalidRequestError, OmiError, TranscriptSegment

from ..client import OmiClient
from .client import connect
from .streams import discard_output, write
from .voices import Json, Lines
from .words import OK, USAGE, Action, Problem, exit_code, one_line, shown, usage, why_stopped


def read(
    action: Action,
    show: Callable[..., None],
    *,
    as_json: bool,
    sandbox: bool,
    base_url: str | None,
    **options: Any,
) -> int:
    """Carry a command line out, and return the exit code; `show` is `show_list` or `show_one`."""
    voice = Json(action) if as_json else Lines(action)
    try:
        with ExitStack() as stack:
            client = connect(stack, voice, sandbox=sandbox, base_url=base_url, wait=True)
            show(client, voice, as_json=as_json, **options)
    except Problem as problem:
        voice.error(problem.name, str(problem))
        return problem.code
    except InvalidRequestError as error:
        voice.error("UsageError", f"{error.message.replace('conversation_id', 'ID')} Nothing was sent.")
        return USAGE
    except OmiError as error:
        voice.error(type(error).__name__, f"Stopped: {why_stopped(error)}")
        return exit_code(error)
    except BrokenPipeError:  # `head` leaves once it has enough
        discard_output()
    except KeyboardInterrupt:
        voice.error("Interrupted", "Stopped.")
        return 128 + signal.SIGINT
    return OK


def show_list(
    client: OmiClient,
    voice: Lines,
    *,
    start_date: datetime | None,
    end_date: datetime | None,
    categories: tuple[str, ...],
    folder_id: str | None,
    starred: bool | None,
    title_matches: str | None,
    limit: int | None,
    ids: bool,
    as_json: bool,
) -> None:
    """List conversations."""
    if ids and as_json:
        raise usage("--ids and --json are two forms of the same.")
    matches = _matching(title_matches or "")
    listing = client.conversations.list(
        start_date=_local(start_date),
        end_date=_local(end_date),
        categories=categories or None,
        folder_id=folder_id,
        starred=starred,
        # Titles are compared here, so it is not known how many conversations must be looked at.
        limit=limit if title_matches is None else None,
    )
    found = itertools.islice((each for each in listing if matches(each.structured.title)), limit)
    if as_json:
        for each in found:
            write(sys.stdout, _as_json(each))
    elif ids:
        for each in found:
            write(sys.stdout, each.id)
    else:
        _table(found)
    if listing.gaps:
        voice.notice("Some conversations are locked and not listed; after very many of them, others may be missing.")


def _matching(pattern: str) -> Callable[[str], object]:
    try:
        return re.compile(pattern, re.IGNORECASE).search
    except re.error as error:
        problem = f"--title-matches is not a regular expression: {error}."
    raise usage(problem)


def _local(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone()  # one without an offset is local time


def _table(conversations: Iterable[Conversation]) -> None:
    rows = (
        (
            each.id,
            each.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
            str(each.structured.category),
            one_line(each.structured.title),
        )
        for each in conversations
    )
    if not sys.stdout.isatty():
        for row in rows:
            write(sys.stdout, "\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "created", "category", "title", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


def show_one(client: OmiClient, _: Lines, conversation_id: str, *, include_transcript: bool, as_json: bool) -> None:
    """Show one conversation."""
    conversation = client.conversations.get(conversation_id, include_transcript=include_transcript)
    if as_json:
        write(sys.stdout, _as_json(conversation))
        return
    write(sys.stdout, shown("\n\n".join(filter(None, _paragraphs(conversation)))))


def _paragraphs(conversation: Conversation) -> Iterator[str]:
    structured = conversation.structured
    created = conversation.created_at.astimezone()
    yield f"{structured.emoji} {structured.title}\n{conversation.id}, {created:%Y-%m-%d %H:%M}, {structured.category}"
    yield structured.overview
    yield "\n".join(f"[{'x' if task.completed else ' '}] {task.description}" for task in structured.action_items)
    yield "\n".join(f"{event.start.astimezone():%Y-%m-%d %H:%M} {event.title}" for event in structured.events)
    yield "\n".join(
        f"{int(segment.start) // 60:02}:{int(segment.start) % 60:02} {_speaker(segment)}: {segment.text}"
        for segment in conversation.transcript_segments or ()
    )


def _speaker(segment: TranscriptSegment) -> str:
    return segment.speaker_name or f"Speaker {segment.speaker_id or 0}"


def _as_json(conversation: Conversation) -> str:
    values = attrs.asdict(
        conversation, value_serializer=lambda _, __, value: value.isoformat() if isinstance(value, datetime) else value
    )
    return json.dumps(values)
