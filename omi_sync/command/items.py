"""The conversations to work on, out of arguments, a file or standard input.

All of them are read and checked before the first request. A job may take hours, and its journal knows the items by
their places: a line that is corrected later would make another job of it.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator

import attrs

from omi_async import ConversationUpdate
from omi_async.resources.conversations import delete_conversation, update_conversation

from .streams import LARGEST_INPUT, read_input
from .words import SHOWN_AT_MOST, Action, usage

_ID_HEADINGS = ("id", "conversation_id")
_OTHER_SEPARATORS = {";": "semicolon", "\t": "tab"}


@attrs.frozen
class Item:
    """One conversation of the input."""

    where: str
    """Where it was given. Error messages show this instead of the value, which may be anything."""
    id: str
    title: str | None = attrs.field(default=None, repr=False)

    def update(self, action: Action) -> ConversationUpdate:
        """The update that carries the action out."""
        return ConversationUpdate(self.id, title=self.title, discarded=action.discarded)

    def refusal(self, action: Action) -> str | None:
        """Why the client would refuse the action before sending anything, if it would."""
        request = (
            delete_conversation(self.id)
            if action.name == "delete"
            else update_conversation(self.id, self.title, action.discarded)
        )
        return str(request.args[0]).replace("conversation_id", "an id") if isinstance(request, Exception) else None


def is_id(text: str) -> bool:
    """Whether the client would take the text for an id."""
    return not isinstance(delete_conversation(text), Exception)


def gather(
    action: Action, source: str | None, ids: tuple[str, ...], conversation_id: str | None, title: str | None
) -> list[Item]:
    """The items of a command line, each once, all of them fit to be sent."""
    single = conversation_id is not None or title is not None
    if source is not None and (ids or single):
        raise usage("Give the conversations as arguments or with --from, not both.")
    if source is not None:
        text = _text(source)
        found = list(_renames(text) if action.name == "rename" else _ids(text))
    elif action.name == "rename":
        if conversation_id is None or title is None:
            raise usage("Rename what to what? Give an id and a title, or --from FILE with lines of id,title.")
        found = [Item("the argument", conversation_id, title)]
    else:
        if not ids:
            raise usage("Which conversations? Give their ids, or --from FILE with one id a line.")
        found = [Item(f"argument {number}", each) for number, each in enumerate(ids, 1)]
    return _checked(action, found)


def _text(source: str) -> str:
    name = "Standard input" if source == "-" else source
    raw = b""
    try:
        raw = read_input(source)
        if len(raw) <= LARGEST_INPUT:
            return raw.decode("utf-8-sig")  # spreadsheets begin their files with a byte order mark
        problem = f"{name} is larger than {LARGEST_INPUT // 2**20} MiB."
    except OSError as error:
        problem = f"{name} cannot be read: {error.strerror or error}."
    except UnicodeDecodeError:
        utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        problem = f"{name} is not UTF-8 text{' but UTF-16: save it as UTF-8' if utf_16 else ''}."
    except ValueError:  # a null character in the name
        problem = "--from names no file."
    raise usage(problem)


def _ids(text: str) -> Iterator[Item]:
    first = True
    # Only line feeds and carriage returns end a line: of the rest, each would make two ids of one.
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        each = line.strip()
        if not each or each.startswith("#"):
            continue
        heading = first and each.strip("\"'").lower() in _ID_HEADINGS
        first = False
        if not heading:
            yield Item(f"line {number}", each)


def _renames(text: str) -> Iterator[Item]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    first = True
    try:
        for row in rows:
            fields = [field.strip() for field in row]
            if not any(fields) or fields[0].startswith("#"):
                continue
            headings = [field.lower() in _ID_HEADINGS for field in fields] if first else []
            first = False
            if headings[:1] == [True]:
                continue
            if any(headings):
                raise usage(f"line {rows.line_num}: the id must be in the first column, the title in the second.")
            separator = next((name for mark, name in _OTHER_SEPARATORS.items() if mark in fields[0]), None)
            if len(fields) != 2 or separator is not None:
                hint = "a title with a comma in it needs quotes" if len(fields) > 2 else "a comma belongs between them"
                if separator is not None:
                    hint = f"a comma belongs between them, not a {separator}"
                raise usage(f"line {rows.line_num}: expected an id and a title, found {len(fields)} columns ({hint}).")
            yield Item(f"line {rows.line_num}", *fields)
    except csv.Error as error:
        problem = f"line {rows.line_num}: not readable as CSV ({error})."
    else:
        return
    raise usage(problem)


def _checked(action: Action, found: Iterable[Item]) -> list[Item]:
    kept: dict[str, Item] = {}
    problems = []
    for item in found:
        refusal = item.refusal(action)
        earlier = kept.setdefault(item.id, item)
        if refusal is not None:
            problems.append(f"{item.where}: {refusal}")
        elif earlier.title != item.title:
            problems.append(f"{item.where}: another title for the conversation of {earlier.where}.")
    if problems:
        rest = len(problems) - SHOWN_AT_MOST
        more = [f"... and {rest} more."] if rest > 0 else []
        raise usage("\n".join([*problems[:SHOWN_AT_MOST], *more]))
    return list(kept.values())
