"""The commands that only read: list and get."""

import itertools
import json
import re
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from omi_async import Conversation, InvalidRequestError, OmiError, TranscriptSegment, to_dict

from ..client import OmiClient
from .client import connect, server
from .items import is_id
from .streams import write
from .voices import Json, Lines
from .words import OK, USAGE, Action, Problem, count, exit_code, local, one_line, shown, usage, why_stopped


def read(
    action: Action,
    show: Callable[..., None],
    *,
    as_json: bool,
    sandbox: bool,
    base_url: str | None,
    proxy: str | None,
    **options: Any,
) -> int:
    """Carry a command line out, and return the exit code; `show` is `show_list` or `show_one`."""
    voice = Json(action) if as_json else Lines(action)
    try:
        server(sandbox=sandbox, base_url=base_url, proxy=proxy)
        with ExitStack() as stack:
            client = connect(stack, voice, sandbox=sandbox, base_url=base_url, proxy=proxy, wait=True)
            show(client, voice, as_json=as_json, **options)
    except Problem as problem:
        voice.error(problem.name, str(problem))
        return problem.code
    except InvalidRequestError as error:
        voice.error("UsageError", f"{error.text.replace('conversation_id', 'ID')} Nothing was sent.")
        return USAGE
    except OmiError as error:
        voice.error(type(error).__name__, f"Stopped: {why_stopped(error)}")
        return exit_code(error)
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
        start_date=start_date,
        end_date=end_date,
        categories=categories or None,
        folder_id=folder_id,
        starred=starred,
        # Titles are compared here, so it is not known how many conversations must be looked at.
        limit=limit if title_matches is None else None,
    )
    found = itertools.islice((each for each in listing if matches(each.structured.title)), limit)
    if as_json:
        for each in found:
            write(sys.stdout, json.dumps(to_dict(each)))
    elif ids:
        _ids(found, voice)
    else:
        _table(found)
    if listing.gaps:
        voice.notice("Some conversations are locked and not listed; after very many of them, others may be missing.")


def _matching(pattern: str) -> Callable[[str], object]:
    # An accented letter may be one character or two: keyboards and stored titles differ in that.
    try:
        search = re.compile(unicodedata.normalize("NFC", pattern), re.IGNORECASE).search
    except (re.error, OverflowError, RecursionError) as error:
        problem = f"--title-matches is not a regular expression: {error}."
    else:
        return lambda title: search(unicodedata.normalize("NFC", title))
    raise usage(problem)


def _ids(conversations: Iterable[Conversation], voice: Lines) -> None:
    """Write ids alone, for other commands to read: a line break within one would make two of it."""
    left_out = 0
    for each in conversations:
        if is_id(each.id):
            write(sys.stdout, each.id)
        else:
            left_out += 1
    if left_out:
        voice.notice(f"{count(left_out)} left out: what the server gave for an id is none.")


def _table(conversations: Iterable[Conversation]) -> None:
    rows = (
        (
            one_line(each.id),
            f"{local(each.created_at):%Y-%m-%d %H:%M}",
            one_line(each.structured.category),
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
    Console(markup=False, highlight=False, emoji=False).print(table)


def show_one(client: OmiClient, _: Lines, conversation_id: str, *, include_transcript: bool, as_json: bool) -> None:
    """Show one conversation."""
    conversation = client.conversations.get(conversation_id, include_transcript=include_transcript)
    if as_json:
        write(sys.stdout, json.dumps(to_dict(conversation)))
        return
    write(sys.stdout, "\n\n".join(filter(None, _paragraphs(conversation))))


def _paragraphs(conversation: Conversation) -> Iterator[str]:
    structured = conversation.structured
    created = f"{local(conversation.created_at):%Y-%m-%d %H:%M}"
    yield _lines(
        [f"{structured.emoji} {structured.title}", f"{conversation.id}, {created}, {structured.category}"],
    )
    yield shown(structured.overview)
    yield _lines(f"[{'x' if task.completed else ' '}] {task.description}" for task in structured.action_items)
    yield _lines(f"{local(event.start):%Y-%m-%d %H:%M} {event.title}" for event in structured.events)
    yield _lines(
        f"{int(segment.start) // 60:02}:{int(segment.start) % 60:02} {_speaker(segment)}: {segment.text}"
        for segment in conversation.transcript_segments or ()
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(map(one_line, lines))


def _speaker(segment: TranscriptSegment) -> str:
    return segment.speaker_name or f"Speaker {segment.speaker_id or 0}"
