"""The conversations to work on, out of arguments, a file or standard input.

All of them are read and checked before the first request. A job may take hours, and its journal knows the items by
their places: a line that is corrected later would make another job of it.
"""

import csv
import io
from collections.abc import Iterable, Iterator

import attrs

from omi_async import ConversationUpdate, _protocol

from .streams import read
from .words import SHOWN_AT_MOST, Action, usage


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
            _protocol.delete_conversation(self.id)
            if action.name == "delete"
            else _protocol.update_conversation(self.id, self.title, action.discarded)
        )
        return str(request.args[0]).replace("conversation_id", "an id") if isinstance(request, Exception) else None


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
    try:
        return read(source).decode("utf-8-sig")  # spreadsheets begin their files with a byte order mark
    except OSError as error:
        problem = f"{source} cannot be read: {error.strerror}."
    except UnicodeDecodeError:
        problem = f"{'Standard input' if source == '-' else source} is not UTF-8 text."
    raise usage(problem)


def _ids(text: str) -> Iterator[Item]:
    for number, line in enumerate(text.splitlines(), 1):
        if (each := line.strip()) and not each.startswith("#"):
            yield Item(f"line {number}", each)


def _renames(text: str) -> Iterator[Item]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    first = True
    try:
        for row in rows:
            fields = [field.strip() for field in row]
            if not any(fields) or fields[0].startswith("#"):
                continue
            heading = first and [field.lower() for field in fields] == ["id", "title"]
            first = False
            if heading:
                continue
            if len(fields) != 2:
                hint = "a title with a comma in it needs quotes" if len(fields) > 2 else "a comma belongs between them"
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
