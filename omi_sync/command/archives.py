"""The commands that read an archive, without the network: search, export and status."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from omi_async import OmiError, to_dict
from omi_async.archive.export import Lines as ExportedLines
from omi_async.archive.export import Pages
from omi_async.models.archive import ArchiveMatch

from .._bridge import original
from ..archive import Archive
from . import voices
from .interrupts import Interrupts
from .streams import write
from .voices import Lines
from .words import OK, USAGE, Action, Problem, count, exit_code, local, one_line, why_stopped

_FILE = "omi-archive.db"


def file_of(archive: str | None) -> str:
    """The archive that a command line means."""
    return archive or os.environ.get("OMI_ARCHIVE") or str(Path.home() / _FILE)


def existing(archive: str | None) -> str:
    """The same, if it is there: a command that only reads makes no file."""
    file = file_of(archive)
    if not os.path.exists(file):
        raise Problem(USAGE, "UsageError", f"There is no archive {one_line(file)}. `save` makes one.")
    return file


def read(action: Action, show: Callable[..., None], *, archive: str | None, as_json: bool, **options: Any) -> int:
    """Carry a command line out, and return the exit code; `show` is one of the functions below."""
    voice = voices.choose(action, as_json=as_json, dry_run=False)
    with voice, Interrupts(voice) as interrupts:
        try:
            with Archive(existing(archive)) as opened:
                show(opened, voice, as_json=as_json, **options)
        except Problem as problem:
            voice.error(problem.name, str(problem))
            return problem.code
        except OmiError as error:
            voice.end()
            text = why_stopped(error).replace("timezone must", "--timezone must").replace(", or None", "")
            voice.error(type(error).__name__, text)
            return exit_code(error)
        except KeyboardInterrupt:
            voice.end()
            voice.error("Interrupted", "Stopped.")
            return interrupts.code
    return OK


def show_matches(archive: Archive, voice: Lines, words: tuple[str, ...], *, limit: int, as_json: bool) -> None:
    """Show what a search finds."""
    found = archive.search(" ".join(words), limit=limit)
    for each in found:
        if as_json:
            write(sys.stdout, json.dumps(to_dict(each)))
        elif sys.stdout.isatty():
            write(sys.stdout, "  ".join(_about(each)))
            write(sys.stdout, f"    {_spoken(each)}{one_line(each.line)}")
        else:
            write(sys.stdout, "\t".join([*_about(each), f"{_spoken(each)}{one_line(each.line)}"]))
    if not found:
        voice.notice("Nothing found.")


def _about(each: ArchiveMatch) -> list[str]:
    return [one_line(each.id), f"{local(each.created_at):%Y-%m-%d %H:%M}", one_line(each.title)]


def _spoken(each: ArchiveMatch) -> str:
    if each.speaker is None or each.start is None:
        return ""
    return f"{int(each.start) // 60:02}:{int(each.start) % 60:02} {one_line(each.speaker)}: "


def show_status(archive: Archive, _: Lines, *, as_json: bool) -> None:
    """Show what is in the archive."""
    status = archive.status()
    if as_json:
        write(sys.stdout, json.dumps(to_dict(status)))
        return
    facts = {
        "conversations": f"{status.conversations}",
        "from": None if status.oldest is None else f"{local(status.oldest):%Y-%m-%d %H:%M}",
        "to": None if status.newest is None else f"{local(status.newest):%Y-%m-%d %H:%M}",
        "not in the server's list any more": f"{status.missing}" if status.missing else None,
        "kept before their deletion": f"{status.kept}" if status.kept else None,
        "still to be fetched": f"{status.pending}" if status.pending else None,
        "saved from": status.server,
        "last saved": "never to the end" if status.saved_at is None else f"{local(status.saved_at):%Y-%m-%d %H:%M}",
    }
    for name, text in facts.items():
        if text is not None:
            write(sys.stdout, f"{name}: {one_line(text)}")
    for gap in status.gaps:
        between = f"{local(gap.oldest):%Y-%m-%d %H:%M} to {local(gap.newest):%Y-%m-%d %H:%M}"
        write(sys.stdout, f"withheld by the server, some of: {between}")


def export(
    archive: Archive,
    voice: Lines,
    *,
    form: Literal["markdown", "jsonl", "csv"],
    to: str | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Export the archive to a folder, or to standard output."""
    if to is None:
        if form == "markdown":
            raise Problem(USAGE, "UsageError", "Where to? Markdown is a file for each conversation: give --to DIR.")
        if form == "csv" and as_json:
            raise Problem(USAGE, "UsageError", "--json and CSV on standard output are two forms of the same.")
        _to_output(archive, ExportedLines(form, timezone))
        return
    voice.begin(None)
    result = archive.export(to, format=form, timezone=timezone, on_progress=voice.progress)
    voice.end()
    for word, files in (("edited", result.edited), ("kept", result.kept)):
        for each in files:
            voice.entry(word, "file", each)
    facts: dict[str, object] = {name: getattr(result, name) for name in ("conversations", "written", "unchanged")}
    facts.update(edited=len(result.edited), kept=len(result.kept))
    text = f"{count(result.conversations)} exported: {result.written} files written, {result.unchanged} unchanged"
    if result.edited:
        text += f", {len(result.edited)} edited by you and left alone"
    if result.kept:
        text += f", {len(result.kept)} edited by you and kept beside new ones"
    voice.summary(f"{text}.", facts)


def _to_output(archive: Archive, lines: ExportedLines) -> None:
    """Write to standard output on this thread, which Ctrl-C ends, whoever reads."""
    pages = Pages()
    output = sys.stdout.buffer
    output.write(lines.head)
    # The rooms of the archive below: a page at a time, so that no more is held.
    while page := archive._bridge.run(original(archive)._run(pages)):
        for document in page:
            output.write(lines.line(document))
    output.flush()
