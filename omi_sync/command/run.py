"""The commands that change something: rename, hide, restore and delete."""

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from omi_async import ArchiveError, BulkProgress, BulkStatus, BulkStoppedError, JournalError, OmiError, RateLimitError

from ..archive import Archive
from . import voices
from .client import connect, server
from .interrupts import Interrupts, Job
from .items import Item, gather
from .streams import OutputLost, ask
from .voices import Lines, Outcome
from .words import (
    BY_SERIOUSNESS,
    NAME,
    OK,
    SERVER,
    SHOWN_AT_MOST,
    USAGE,
    Action,
    Problem,
    count,
    exit_code,
    one_line,
    usage,
    why_stopped,
    worth_another_run,
)

_IDS_IN_QUESTION = 3
_LONGEST_CALL = 60.0  # seconds; a request that was sent before a wait began has ended by then
_LONGEST_COMMAND = 200  # characters of a command line that is shown again


@attrs.frozen
class Options:
    """The options that the four commands share."""

    source: str | None
    journal: str | None
    concurrency: int
    dry_run: bool
    as_json: bool
    sandbox: bool
    base_url: str | None
    proxy: str | None
    no_wait: bool
    yes: bool = False
    keep: str | None = None


def perform(
    action: Action,
    given: Sequence[str],
    ids: tuple[str, ...] = (),
    conversation_id: str | None = None,
    title: str | None = None,
    **chosen: Any,
) -> int:
    """Carry a command line out, and return the exit code."""
    options = Options(**chosen)
    voice = voices.choose(action, as_json=options.as_json, dry_run=options.dry_run)
    with voice, Interrupts(voice) as interrupts:
        try:
            where = server(sandbox=options.sandbox, base_url=options.base_url, proxy=options.proxy)
            if options.sandbox and options.journal is not None:
                raise usage("--sandbox takes no --journal: its server and all that is done there end with the command.")
            if options.sandbox and options.keep is not None:
                raise usage("--sandbox takes no --keep: an archive belongs to a server, and this one ends.")
            items = gather(action, options.source, ids, conversation_id, title)
            if options.dry_run:
                return _rehearse(action, items, where, voice)
            if not items:
                voice.notice("Nothing to do: there is no id in the input.")
                return OK
            if action.name == "delete" and not options.yes:
                _confirm(items, where, options)
            return _Run(action, items, options, voice, interrupts, given).code()
        except Problem as problem:
            voice.error(problem.name, str(problem))
            return problem.code
        except KeyboardInterrupt:
            sent = "Nothing was sent." if interrupts.job is None else "What was reported as done is done."
            voice.error("Interrupted", f"Stopped. {sent}")
            return interrupts.code


def _rehearse(action: Action, items: Sequence[Item], where: str, voice: Lines) -> int:
    voice.notice("Dry run: nothing is sent.")
    voice.notice(f"The server would be {where}.")
    for item in items:
        voice.planned(item)
    voice.summary(f"{count(len(items))} would be {action.done}.", {"planned": len(items), "total": len(items)})
    return OK


def _confirm(items: Sequence[Item], where: str, options: Options) -> None:
    """Let a person confirm a deletion on the terminal. Without a terminal, or with `--json`, it is refused."""
    rest = len(items) - _IDS_IN_QUESTION
    names = ", ".join(item.id for item in items[:_IDS_IN_QUESTION]) + (f" and {rest} more" if rest > 0 else "")
    them = "it" if len(items) == 1 else "them"
    refused = (
        f"Deleting {count(len(items))} cannot be undone, and there is no terminal to ask on. "
        f"Nothing was sent. Give --yes if you are sure, {_with_copy(options.keep)}or hide {them} instead."
    )
    if options.as_json:
        raise Problem(USAGE, "NotConfirmed", refused.replace("there is no terminal to ask on", "--json does not ask"))
    question = (
        f"This deletes {count(len(items))} for good: {names}.\n"
        f"The server is {where}.\n"
        f"{_ways_back(them, options.keep)}\n"
        f"Delete {them} for good? [y/N] "
    )
    answer = ask(question, on_terminal=options.source == "-")
    if answer is None:
        raise Problem(USAGE, "NotConfirmed", refused)
    if answer.strip().lower() not in ("y", "yes"):
        raise Problem(USAGE, "NotConfirmed", "Nothing was deleted.")


def _with_copy(keep: str | None) -> str:
    return "with --keep FILE to have a copy first, " if keep is None else ""


def _ways_back(them: str, keep: str | None) -> str:
    if keep is not None:
        return f"Each is first stored in {one_line(keep)}, with its transcript. Audio and photos are lost."
    return (
        f"It cannot be undone. To have a copy of {them} first: --keep FILE\n"
        f"To keep {them} and only have {them} out of sight: {NAME} hide"
    )


class _Run:
    """One job, from the first request to the last word about it."""

    def __init__(
        self,
        action: Action,
        items: Sequence[Item],
        options: Options,
        voice: Lines,
        interrupts: Interrupts,
        given: Sequence[str],
    ) -> None:
        self._action = action
        self._items = items
        self._options = options
        self._voice = voice
        self._interrupts = interrupts
        self._given = given
        self._outcomes: dict[str, Outcome] = {}
        self._stopped_by: OmiError | None = None
        self._abandoned = False
        """A second signal ended the job without waiting for the requests under way."""
        self._throttled = 0
        self._output_lost: OutputLost | None = None

    def code(self) -> int:
        """Do the job, report it, and return the exit code."""
        options = self._options
        with ExitStack() as stack:
            client = connect(
                stack,
                self._voice,
                sandbox=options.sandbox,
                base_url=options.base_url,
                proxy=options.proxy,
                wait=not options.no_wait,
            )
            self._voice.begin(len(self._items))
            settings: dict[str, Any] = {
                "concurrency": options.concurrency,
                "journal": options.journal,
                "on_progress": self._watch,
                "wait": not options.no_wait,
            }
            if options.keep is not None:
                settings["keep"] = stack.enter_context(Archive(options.keep))
            job: Job = (
                client.conversations.delete_many([item.id for item in self._items], **settings)
                if self._action.name == "delete"
                else client.conversations.update_many([item.update(self._action) for item in self._items], **settings)
            )
            self._interrupts.job = job
            try:
                self._follow(job)
            except KeyboardInterrupt:
                self._abandoned = True
            self._interrupts.over = True
            progress = job.progress
        return self._conclude(progress)

    def _watch(self, progress: BulkProgress) -> None:
        """Called on the client's own thread."""
        self._voice.progress(progress)
        self._interrupts.watch(progress)

    def _follow(self, job: Job) -> None:
        try:
            for outcome in job:
                self._take(outcome)
                if self._interrupts.asked or self._output_lost is not None:
                    break
        except BulkStoppedError as stopped:
            self._stopped_by = stopped.reason
        except OmiError as error:  # the journal, most likely
            self._stopped_by = error
        finally:
            try:
                job.close()
            finally:
                for outcome in job.unclaimed:
                    self._take(outcome)

    def _take(self, outcome: Outcome) -> None:
        if outcome.status is BulkStatus.FAILED and isinstance(outcome.error, RateLimitError):
            self._throttled += 1  # the window closed before it: the summary counts it as not done
            return
        self._outcomes[outcome.id] = outcome
        try:
            self._voice.outcome(outcome)
        except OutputLost as lost:
            self._output_lost = lost
            self._voice.output_lost()
            self._voice.outcome(outcome)

    # How it ended

    def _conclude(self, progress: BulkProgress) -> int:
        progress = attrs.evolve(progress, failed=progress.failed - self._throttled)
        left = len(self._items) - progress.settled
        reason = self._stopped_by
        self._voice.end()
        if reason is not None:
            way_on = "" if isinstance(reason, (ArchiveError, JournalError)) else self._way_on()
            self._voice.error(type(reason).__name__, f"Stopped: {why_stopped(reason)}{way_on}")
        elif left > 0 and self._interrupts.asked:
            self._voice.error("Interrupted", f"Stopped as you asked.{self._under_way(left)}{self._way_on()}")
        elif left > 0 and self._output_lost is not None:
            self._voice.error(self._output_lost.name, f"Stopped: {self._output_lost}.{self._way_on()}")
        elif self._output_lost is not None:
            self._voice.error(self._output_lost.name, f"The rest of the report stands here: {self._output_lost}.")
        elif progress.unknown or any(worth_another_run(each.error) for each in self._outcomes.values()):
            self._voice.notice(f"Run the same command again to try what is left.{self._about_journals()}")
        self._voice.summary(self._counted(progress), self._facts(progress, left))
        if reason is None and left > 0 and self._interrupts.asked:
            return self._interrupts.code
        return self._worst(progress)

    def _worst(self, progress: BulkProgress) -> int:
        errors = [each.error for each in self._outcomes.values() if each.error is not None]
        if self._stopped_by is not None:
            errors.append(self._stopped_by)
        codes = {exit_code(error) for error in errors}
        if self._output_lost is not None:
            codes.add(SERVER)
        otherwise = USAGE if progress.failed else OK  # an earlier run may have failed
        return next((code for code in BY_SERIOUSNESS if code in codes), otherwise)

    def _counted(self, progress: BulkProgress) -> str:
        parts = [f"{progress.done} of {count(len(self._items))} {self._action.done}"]
        if progress.unconfirmed:
            parts.append(f"{progress.unconfirmed} gone without a confirmation")
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        if progress.unknown:
            parts.append(f"{progress.unknown} unknown")
        if (left := len(self._items) - progress.settled) > 0:
            parts.append(f"{left} not done")
        earlier = f" ({progress.resumed} of them in an earlier run)" if progress.resumed else ""
        return f"{', '.join(parts)}{earlier}."

    def _facts(self, progress: BulkProgress, left: int) -> dict[str, object]:
        facts: dict[str, object] = {status.value: getattr(progress, status.value) for status in BulkStatus}
        facts.update(not_done=left, resumed=progress.resumed, total=len(self._items))
        if left > 0 and self._options.journal is None:
            facts["not_done_ids"] = self._undone()
        return facts

    def _undone(self) -> list[str]:
        return [each.id for each in self._items if each.id not in self._outcomes]

    def _under_way(self, left: int) -> str:
        """A sentence on the requests that were under way and not waited for; no more than `concurrency` can be."""
        waited = self._interrupts.waited
        # The worker that waits for the window sends nothing. Others may have been without an answer when it began.
        number = min(left, self._options.concurrency - (1 if waited else 0))
        if not self._abandoned or not number or waited > _LONGEST_CALL:
            return ""
        requests = "One request" if number == 1 else f"Up to {number} requests"
        return f" {requests} may have been under way: whether what they asked for was done is not known."

    def _way_on(self) -> str:
        if self._options.journal is not None:
            again = shlex.join([NAME, *self._given])
            has_password = "@" in (self._options.proxy or "")
            if len(again) > _LONGEST_COMMAND or self._options.source == "-" or has_password:
                again = "the same command with the same input and journal"
            return f"\nTo go on where it stopped: {again}"
        undone = self._undone()
        if not undone:
            return ""
        rest = len(undone) - SHOWN_AT_MOST
        listed = " ".join(undone[:SHOWN_AT_MOST]) + (f" and {rest} more (--json lists all)" if rest > 0 else "")
        return f"\nNot done: {listed}{self._about_journals()}"

    def _about_journals(self) -> str:
        if self._options.journal is not None or len(self._items) == 1:
            return ""
        return "\nWith --journal FILE a later run goes on where an earlier one stopped."
