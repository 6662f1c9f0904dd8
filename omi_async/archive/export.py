"""`export`: what is in the archive, as files."""

import csv
import io
import os
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, tzinfo
from functools import partial
from typing import TypeAlias

from .._database import Connection
from .._jobs.progress import watcher
from .._protocol.arguments import misconfigured
from ..errors import ArchiveError
from ..models.archive import ExportProgress, ExportResult
from . import markdown
from .rows import unpacked
from .view import View, local, plain, view, zone_of

_PAGE = 25  # documents that are held at once
_TEMPORARY = ".omi-export-"
_STALE = 3600.0  # seconds after which a temporary file belongs to no run any more

# Spreadsheets take a cell that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
_COLUMNS = (
    *("id", "created_at", "started_at", "finished_at", "title", "overview", "category", "folder", "people"),
    *("action_items", "language", "source"),
)

_READ = (
    "SELECT created_at, number, document FROM conversations WHERE (created_at, number) > (?, ?)"
    " ORDER BY created_at, number LIMIT ?"
)

Page: TypeAlias = list[bytes]


class Pages:
    """All documents of an archive, the oldest conversation first, a page at a time."""

    def __init__(self) -> None:
        self._last = ("", 0)
        self.total = 0

    def __call__(self, connection: Connection) -> Page:
        """The next page; empty at the end."""
        if not self.total:
            (self.total,) = connection.execute("SELECT count(*) FROM conversations").fetchone()
        rows = connection.execute(_READ, (*self._last, _PAGE)).fetchall()
        if rows:
            self._last = rows[-1][:2]
        return [document for _, _, document in rows]


class Lines:
    """The lines of a file with all conversations."""

    def __init__(self, form: str, timezone: str | None) -> None:
        self._form = form
        self._zone = zone_of(timezone)

    @property
    def head(self) -> bytes:
        """What stands before them."""
        # Spreadsheets know UTF-8 by the mark at its beginning.
        return b"" if self._form == "jsonl" else "\ufeff".encode() + _row(_COLUMNS)

    def line(self, document: bytes) -> bytes:
        """The line of a stored document."""
        text = unpacked(document)
        if self._form == "csv":
            return _row([_harmless(cell) for cell in _cells(view(text), self._zone)])
        # In JSON a line break is a blank: those within texts are spelled out.
        return text.replace("\r", " ").replace("\n", " ").encode(errors="backslashreplace") + b"\n"


class Exporting:
    """One run of `export`."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        form: str,
        timezone: str | None,
        on_progress: Callable[[ExportProgress], object] | None,
    ) -> None:
        name = os.fspath(folder) if isinstance(folder, (str, os.PathLike)) else None
        if not isinstance(name, str) or not name or "\0" in name:
            raise misconfigured("folder must be the path of a folder, without a NUL character.")
        if form not in ("markdown", "jsonl", "csv"):
            raise misconfigured("format must be markdown, jsonl or csv.")
        if on_progress is not None and not callable(on_progress):
            raise misconfigured("on_progress must be a plain function.")
        self.read = Pages()
        self._on_progress = None if on_progress is None else watcher(on_progress)
        self._folder = name
        self._count = 0
        self._files: _Notes | _OneFile = (
            _Notes(name, timezone)
            if form == "markdown"
            else _OneFile(name, f"conversations.{form}", Lines(form, timezone))
        )

    def write(self, page: Page) -> None:
        """Write a page."""
        self._explained(partial(self._files.write, page))
        self._count += len(page)

    def tell(self) -> None:
        """Tell how far it is."""
        if self._on_progress is not None:
            self._on_progress(ExportProgress(exported=self._count, total=max(self.read.total, self._count)))

    def finish(self) -> ExportResult:
        """End it."""
        self._explained(self._files.finish)
        files = self._files
        return ExportResult(
            conversations=self._count,
            written=files.written,
            unchanged=files.unchanged,
            edited=tuple(files.edited),
            kept=tuple(files.kept),
        )

    def close(self) -> None:
        """Take away what is unfinished."""
        self._files.close()

    def _explained(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            # Its name of a file has a title in it.
            problem = f" ({error.strerror})" if error.strerror else ""
        else:
            return
        raise ArchiveError(
            f"the folder {self._folder} cannot be written{problem}. What was written is whole: mend that and export "
            "again.",
            outcome="not_applied",
        )


class _Files:
    """What the ways to write have in common."""

    def __init__(self, folder: str) -> None:
        self.written = 0
        self.unchanged = 0
        self.edited: list[str] = []
        self.kept: list[str] = []
        self._folder = folder

    def _prepare(self) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for each in os.scandir(self._folder):
            # A run that was killed may have left it.
            if each.name.startswith(_TEMPORARY) and each.stat(follow_symlinks=False).st_mtime < time.time() - _STALE:
                os.unlink(each.path)

    def _temporary(self) -> tuple[int, str]:
        """A new file, for its owner's eyes only."""
        return tempfile.mkstemp(prefix=_TEMPORARY, dir=self._folder)

    def finish(self) -> None:
        """Nothing more will be written."""

    def close(self) -> None:
        """Take away what is unfinished."""


class _OneFile(_Files):
    """All conversations in one file."""

    def __init__(self, folder: str, name: str, lines: Lines) -> None:
        super().__init__(folder)
        self._path = os.path.join(folder, name)
        self._lines = lines
        self._file: io.BufferedWriter | None = None
        self._temporary_path = ""

    def write(self, page: Page) -> None:
        """Write a page."""
        file = self._opened()
        for document in page:
            file.write(self._lines.line(document))

    def _opened(self) -> io.BufferedWriter:
        if self._file is None:
            self._prepare()
            number, self._temporary_path = self._temporary()
            self._file = os.fdopen(number, "wb")
            self._file.write(self._lines.head)
        return self._file

    def finish(self) -> None:
        self._opened().close()
        if _same(self._temporary_path, self._path):
            self.unchanged = 1
            return
        _put(self._temporary_path, self._path, like=self._path)
        self.written = 1

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                os.unlink(self._temporary_path)


class _Notes(_Files):
    """A Markdown file for each conversation, in a folder for its month."""

    def __init__(self, folder: str, timezone: str | None) -> None:
        super().__init__(folder)
        self._zone = zone_of(timezone)
        self._found: dict[str, list[str]] | None = None
        """The files that may be notes, by the ends of their names."""

    def write(self, page: Page) -> None:
        """Write a page."""
        if self._found is None:
            self._prepare()
            self._found = self._look()
        for document in page:
            each = view(unpacked(document))
            self._put(each, markdown.note(each, self._zone), self._found.get(markdown.ending(each.id), []))

    def _look(self) -> dict[str, list[str]]:
        """Look for notes everywhere in the folder: a person may have moved one, or given it another name."""
        found: dict[str, list[str]] = {}
        for directory, folders, files in os.walk(self._folder):
            folders[:] = [each for each in folders if not each.startswith(".")]  # those of Obsidian, its trash as well
            for name in files:
                if name.endswith(".md") and name[-12:-11] == " ":
                    found.setdefault(name[-12:], []).append(os.path.join(directory, name))
        return found

    def _put(self, each: View, new: bytes, candidates: list[str]) -> None:
        year, month, name = markdown.path_of(each, self._zone)
        path = os.path.join(self._folder, year, month, name)
        was_taken = os.path.lexists(path)  # before it is read: what is written there later is another run's note
        home, old = self._home(each, path, candidates)
        stamp = None
        if home is not None:
            if old.replace(b"\r\n", b"\n") == new:
                self.unchanged += 1
                return
            stamp = markdown.stamp(old)
            if stamp is not None and stamp.view == each.digest and not stamp.is_intact:
                self.edited.append(self._named(home))
                return
        for directory in (os.path.join(self._folder, year), os.path.dirname(path)):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        if home is not None and (stamp is None or not stamp.is_intact):
            self._keep(home, path)
            home = None
        if was_taken and os.path.lexists(path) and not _is_one_file(home, path):
            self._keep(path, path)  # it is no note of this conversation
        number, temporary = self._temporary()
        try:
            with os.fdopen(number, "wb") as file:
                file.write(new)
            if home is not None:
                # The title may have changed, or the zone. A run that ends here leaves one note, which the next finds.
                with suppress(FileNotFoundError):
                    os.rename(home, path)
            _put(temporary, path, like=path if home is not None else None)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self.written += 1

    def _home(self, each: View, path: str, candidates: list[str]) -> tuple[str | None, bytes]:
        """The file of a conversation, and what is in it. Of several, all but one are copies that a person made."""
        # The one that is where it belongs, or else the one that is least deep. What is where it belongs may not have
        # been found: behind a link to a folder, or written meanwhile by another run.
        for candidate in sorted({path, *candidates}, key=lambda one: (one != path, one.count(os.sep), one)):
            try:
                with open(candidate, "rb") as file:
                    raw = file.read()
            except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or a link that leads nowhere
                continue
            except OSError:
                if os.path.isdir(candidate):
                    continue
                raise
            if markdown.is_note_of(raw, each.id):
                return candidate, raw
        return None, b""

    def _keep(self, path: str, beside: str) -> None:
        """Keep what is not ours to change, under a name of its own beside the new file."""
        stem, number = beside.removesuffix(".md"), 1
        while os.path.lexists(kept := f"{stem} (edited{f' {number}' if number > 1 else ''}).md"):
            number += 1
        os.rename(path, kept)
        self.kept.append(self._named(kept))

    def _named(self, path: str) -> str:
        return os.path.relpath(path, self._folder).replace(os.sep, "/")


def _put(temporary: str, path: str, *, like: str | None) -> None:
    """Have a finished file take its place at once, with the mode that its owner gave the one before."""
    if like is not None:
        with suppress(OSError):
            os.chmod(temporary, stat.S_IMODE(os.stat(like).st_mode))
    os.replace(temporary, path)


def _is_one_file(one: str | None, other: str) -> bool:
    """Whether two names are those of one file, as where upper and lower case are the same."""
    try:
        return one is not None and os.path.samefile(one, other)
    except OSError:
        return False


def _same(one: str, other: str) -> bool:
    try:
        if os.path.getsize(one) != os.path.getsize(other):
            return False
        with open(one, "rb") as left, open(other, "rb") as right:
            while block := left.read(2**16):
                if block != right.read(2**16):
                    return False
    except FileNotFoundError:
        return False
    return True


# CSV


def _cells(each: View, zone: tzinfo | None) -> list[str]:
    tasks = [f"[{'x' if task.is_done else ' '}] {task.text}" for task in each.tasks]
    return [
        each.id,
        *[_time(moment, zone) for moment in (each.created, each.started, each.finished)],
        *(each.title, each.overview, each.category, each.folder, "; ".join(each.people)),
        *("\n".join(tasks), each.language, each.source),
    ]


def _time(moment: datetime | None, zone: tzinfo | None) -> str:
    return "" if moment is None else local(moment, zone).isoformat(timespec="seconds")


def _harmless(cell: str) -> str:
    text = plain(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(cells: "list[str] | tuple[str, ...]") -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
