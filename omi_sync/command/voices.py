"""The report of a job: in plain lines, on a terminal, and for programs."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Self, TextIO, TypeAlias

from omi_async import BulkOutcome, BulkProgress, BulkStatus, Conversation, Deletion, ExportProgress, SaveProgress

from .items import Item
from .streams import write, write_from_signal
from .words import STOPPING, Action, next_step, one_line, outlook, shown, why

Outcome: TypeAlias = BulkOutcome[Conversation] | BulkOutcome[Deletion]
Progress: TypeAlias = BulkProgress | SaveProgress | ExportProgress


def choose(action: Action, *, as_json: bool, dry_run: bool) -> "Lines":
    """The voice that suits the options and the terminal."""
    if as_json:
        return Json(action)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not dry_run:
        return Bar(action)
    return Lines(action)


def _standing(progress: Progress) -> tuple[int, int | None, dict[str, int]]:
    """How much is done, of how much, and what became of it."""
    match progress:
        case BulkProgress():
            counts = {status.value: getattr(progress, status.value) for status in BulkStatus}
            return progress.settled, progress.total, counts
        case SaveProgress():
            counts = {"saved": progress.saved, "unchanged": progress.unchanged}
            done = progress.saved + progress.unchanged
            return done, None if progress.total is None else max(done, progress.total), counts
        case ExportProgress():
            return progress.exported, progress.total, {}


class Lines:
    """Plain lines: what was done on standard output, all else on standard error."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._waiting = False
        self._output_lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, total: int | None) -> None:
        """The job begins; None if it is not known yet how much it is."""

    def end(self) -> None:
        """The job has ended. A second call does nothing."""

    def output_lost(self) -> None:
        """Standard output takes no more: from now on outcomes go to standard error."""
        self._output_lost = True

    @property
    def _output(self) -> TextIO:
        return sys.stderr if self._output_lost else sys.stdout

    def notice(self, text: str) -> None:
        """A remark that is no outcome and no error."""
        write(sys.stderr, text)

    def error(self, name: str, text: str) -> None:  # noqa: ARG002 - the name is for programs
        """What stopped the command."""
        self.notice(shown(text))

    def outcome(self, outcome: Outcome) -> None:
        """What became of one conversation."""
        if outcome.error is None:
            self._done(self._word(outcome), outcome.id)
            return
        step = next_step(outcome.error, self._action)
        self._not_done(self._word(outcome), f"{outcome.id}: {shown(why(outcome.error))}. {step}")

    def _word(self, outcome: Outcome) -> str:
        match outcome.status:
            case BulkStatus.DONE:
                return self._action.done
            case BulkStatus.UNCONFIRMED:
                return "gone"
            case status:
                return status.value

    def _done(self, word: str, text: str) -> None:
        write(self._output, f"{word:<8} {text}")

    def _not_done(self, word: str, text: str) -> None:
        self.notice(f"{word:<8} {text}")

    def planned(self, item: Item) -> None:
        """What a dry run would do."""
        to = "" if item.title is None else f" to {one_line(item.title.strip())}"
        write(sys.stdout, f"would {self._action.name} {item.id}{to}")

    def entry(self, word: str, name: str, value: str) -> None:  # noqa: ARG002 - the name is for programs
        """A fact of the report: a word, and what it is said of."""
        self._done(word, one_line(value))

    def progress(self, progress: Progress) -> None:
        """Where the job stands, after each item and when a wait begins. Called on the client's thread."""
        if isinstance(progress, ExportProgress) or progress.waiting_until is None:
            self._waiting = False
        elif not self._waiting:
            self._waiting = True
            self.waiting(progress)

    def waiting(self, progress: BulkProgress | SaveProgress) -> None:
        """A wait for the window begins."""
        done, total, _ = _standing(progress)
        word = "settled" if isinstance(progress, BulkProgress) else "saved"
        self.notice(f"{done}{'' if total is None else f' of {total}'} {word}. {outlook(progress)}")

    def stopping(self) -> None:
        """The job is asked to stop. Called by a signal, between any two steps."""
        write_from_signal(STOPPING)

    def summary(self, text: str, facts: dict[str, object]) -> None:  # noqa: ARG002 - the facts are for programs
        """The last word about the job."""
        self.notice(text)


class Json(Lines):
    """A JSON object a line, on both streams."""

    @staticmethod
    def put(stream: TextIO, **values: object) -> None:
        """Write one object."""
        write(stream, json.dumps(values))

    def notice(self, text: str) -> None:
        self.put(sys.stderr, notice=text)

    def error(self, name: str, text: str) -> None:
        self.put(sys.stderr, error=name, detail=shown(text.replace("\n", " ")))

    def outcome(self, outcome: Outcome) -> None:
        failure = outcome.error
        values: dict[str, object] = {
            "id": outcome.id,
            "action": self._action.name,
            "status": outcome.status.value,
            "attempts": outcome.attempts,
        }
        if failure is not None:
            values.update(error=type(failure).__name__, detail=shown(str(failure)))
        self.put(self._output, **values)

    def planned(self, item: Item) -> None:
        values = {"id": item.id, "action": self._action.name, "status": "planned"}
        if item.title is not None:
            values["title"] = item.title.strip()
        self.put(sys.stdout, **values)

    def entry(self, word: str, name: str, value: str) -> None:
        self.put(self._output, **{name: value, "action": self._action.name, "status": word})

    def waiting(self, progress: BulkProgress | SaveProgress) -> None:
        until = progress.waiting_until and progress.waiting_until.isoformat(timespec="seconds")
        done, total, _ = _standing(progress)
        self.put(sys.stderr, waiting_until=until, settled=done, total=total)

    def stopping(self) -> None:
        write_from_signal(json.dumps({"notice": STOPPING}))

    def summary(self, text: str, facts: dict[str, object]) -> None:  # noqa: ARG002 - the text is for people
        self.put(sys.stderr, summary=facts)


class Bar(Lines):
    """A bar at the bottom of the terminal, the outcomes above it."""

    def __init__(self, action: Action) -> None:
        super().__init__(action)
        from rich.console import Console

        color = not (os.environ.get("NO_COLOR") or os.environ.get("OMI_NO_COLOR"))
        self._console = Console(
            stderr=True, force_terminal=True, no_color=not color, highlight=False, markup=False, emoji=False
        )
        self._print: Callable[..., None] = functools.partial(self._console.print, soft_wrap=True)
        self._update: Callable[..., None] | None = None
        self._outlook = ""

    def begin(self, total: int | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.text import Text

        voice = self

        class Display(Progress):
            def get_renderables(self) -> Iterator[Any]:
                yield self.make_tasks_table(self.tasks)
                if voice._outlook:
                    yield Text(voice._outlook, style="yellow")

        self._display = Display(
            TextColumn("{task.description}", markup=False),
            BarColumn(32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        task = self._display.add_task(self._action.doing, total=total, counts="")
        self._update = functools.partial(self._display.update, task)
        self._display.start()

    def end(self) -> None:
        if self._update is not None:
            self._update = None
            self._display.stop()

    def notice(self, text: str) -> None:
        self._print(text)

    def error(self, name: str, text: str) -> None:  # noqa: ARG002 - the name is for programs
        self._print(shown(text), style="red")

    def _done(self, word: str, text: str) -> None:
        if self._output_lost or sys.stdout.isatty():
            self._line(word, text, "green" if word == self._action.done else "yellow")
        else:
            super()._done(word, text)

    def _not_done(self, word: str, text: str) -> None:
        self._line(word, text, "red" if word == BulkStatus.FAILED else "yellow")

    def _line(self, word: str, text: str, style: str) -> None:
        from rich.text import Text

        self._print(Text.assemble((f"{word:<8}", style), " ", text))

    def progress(self, progress: Progress) -> None:
        done, total, counts = _standing(progress)
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        if not isinstance(progress, ExportProgress) and not self._outlook.startswith(STOPPING):
            self._outlook = outlook(progress)
        if self._update is not None:
            self._update(completed=done, total=total, counts=text)

    def stopping(self) -> None:
        self._outlook = STOPPING  # the next drawing of the bar, which is soon, shows it

    def summary(self, text: str, facts: dict[str, object]) -> None:  # noqa: ARG002 - the facts are for programs
        self._print(text, style="bold")
