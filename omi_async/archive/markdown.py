"""A conversation as a Markdown note, and the name of its file."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

import attrs

from .view import View, local, plain

_LONGEST_TITLE = 100  # bytes of UTF-8: the whole name then has less than 143, which even encrypted directories take

# Slashes and the like mean something to one of the systems; brackets, # and ^ to links in Obsidian, % to Logseq.
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*#^\[\]%]')
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")

_STAMP = re.compile(rb"^omi_export: [\"']?([0-9a-f]{16})-([0-9a-f]{16})[\"']?\r?\n", re.MULTILINE)
_ID = re.compile(rb"^id: [\"']?(.*?)[\"']?\r?$", re.MULTILINE)


@attrs.frozen
class Stamp:
    """What a note says of itself: of which view it was made, and whether it is as it was written."""

    view: str
    is_intact: bool


def note(view: View, zone: tzinfo | None) -> bytes:
    """The whole file."""
    body = "\n\n".join(filter(None, _paragraphs(view, zone)))
    properties = "".join(f"{name}: {value}\n" for name, value in _properties(view, zone))
    unstamped = f"---\n{properties}---\n\n{body}\n".encode()
    stamp = f'omi_export: "{view.digest}-{_digest(unstamped)}"\n'
    return f"---\n{properties}{stamp}---\n\n{body}\n".encode()


def is_note_of(raw: bytes, conversation_id: str) -> bool:
    """Whether a file is the note of a conversation, as it was written or edited."""
    found = _ID.search(_front(raw))
    return found is not None and found[1] == _quoted(conversation_id)[1:-1].encode()


def stamp(raw: bytes) -> Stamp | None:
    """The stamp of a file, if it has one."""
    found = _STAMP.search(_front(raw))
    if found is None:
        return None
    # Git and editors may have made line ends of Windows of it, which changes nothing.
    unstamped = (raw[: found.start()] + raw[found.end() :]).replace(b"\r\n", b"\n")
    return Stamp(found[1].decode(), found[2].decode() == _digest(unstamped))


def _front(raw: bytes) -> bytes:
    end = raw.find(b"\n---", 3)
    return raw[:end] + b"\n" if raw.startswith(b"---") and end > 0 else b""


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


# Names


def path_of(view: View, zone: tzinfo | None) -> tuple[str, str, str]:
    """Year, month and name of a note's file. No other conversation has a say in it, so it is always the same."""
    moment = local(view.started or view.created or datetime.min.replace(tzinfo=UTC), zone)
    words = f"{moment:%H%M} {_safe(view.title)}".rstrip()
    day = f"{moment.year:04}-{moment:%m-%d}"
    return f"{moment.year:04}", f"{moment:%m}", f"{day} {words}{ending(view.id)}"


def ending(conversation_id: str) -> str:
    """The end of a name, which tells conversations with the same title apart."""
    return f" {hashlib.sha256(conversation_id.encode(errors='backslashreplace')).hexdigest()[:8]}.md"


def _safe(title: str) -> str:
    """The title without what a name must not have on Linux, macOS or Windows."""
    plain = _NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", title))
    seen = "".join(" " if unicodedata.category(each) in _UNSEEN else each for each in plain)
    words = re.sub("_{2,}", "_", " ".join(seen.split()))  # Logseq makes a folder of ___
    cut = words.encode()[:_LONGEST_TITLE].decode(errors="ignore")
    if cut != words and " " in cut[len(cut) // 2 :]:
        cut = cut.rpartition(" ")[0]
    return cut.strip(" .")


# Front matter


def _properties(view: View, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    yield "id", _quoted(view.id)
    for name, moment in (("created", view.created), ("started", view.started), ("finished", view.finished)):
        if moment is not None:
            yield name, local(moment, zone).isoformat(timespec="seconds")
    for name in ("category", "folder", "language", "source", "place"):
        if text := getattr(view, name):
            yield name, _quoted(text)
    if view.people:
        yield "people", f"[{', '.join(map(_quoted, view.people))}]"


def _quoted(text: str) -> str:
    """A string of JSON, which YAML reads too; what YAML has to have escaped is escaped."""
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


# Body


def _paragraphs(view: View, zone: tzinfo | None) -> Iterator[str]:
    yield "# " + (_line(f"{view.emoji} {view.title}") or "Untitled")
    yield plain(view.overview).strip()
    yield _section(
        "Action items",
        [f"- [{'x' if each.is_done else ' '}] {_line(each.text)}{_when(' (due {})', each.due, zone)}"
         for each in view.tasks],
    )  # fmt: skip
    yield _section(
        "Events",
        [f"- {_when('{} ', each.start, zone)}{_line(': '.join(filter(None, (each.title, each.description))))}"
         for each in view.events],
    )  # fmt: skip
    if view.said:
        yield "## Transcript"
    for each in view.said:
        minutes, seconds = divmod(int(each.start), 60)
        yield f"**{_line(each.speaker)}** {minutes:02}:{seconds:02}: {_line(each.text)}"


def _section(heading: str, lines: list[str]) -> str:
    return "\n".join([f"## {heading}", "", *lines]) if lines else ""


def _when(form: str, moment: datetime | None, zone: tzinfo | None) -> str:
    return "" if moment is None else form.format(f"{local(moment, zone):%Y-%m-%d %H:%M}")


def _line(text: str) -> str:
    return " ".join(plain(text).split())
