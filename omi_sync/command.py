"""The command for people: `omi-conversations` lists and shows conversations, renames, hides, restores and deletes them.

    _command_line     what may be typed; click reads it
    _items            the conversations, out of arguments, a file or standard input, checked before anything is sent
    _Run              the job itself, its end, and what Ctrl-C makes of it
    _read             list and get
    _Lines            what is said in plain lines; `_Bar` says it to a terminal, `_Json` to a program

click and rich are loaded when the command runs, so that the packages need neither.
"""

import csv
import functools
import io
import itertools
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, TextIO, TypeAlias

import attrs

from omi_async import (
    AuthenticationError,
    BulkOutcome,
    BulkProgress,
    BulkStatus,
    BulkStoppedError,
    Category,
    ConfigurationError,
    Conversation,
    ConversationUpdate,
    Deletion,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    ServerError,
    TranscriptSegment,
    TransportError,
    __version__,
    _protocol,
)

from .bulk import Bulk
from .client import OmiClient

if TYPE_CHECKING:
    import click

_NAME = "omi-conversations"

# Exit codes. A job of several items ends with the most serious of theirs.
_OK, _USAGE, _AUTH, _SERVER, _THROTTLED, _NOT_FOUND = 0, 1, 2, 3, 4, 5
_BY_SERIOUSNESS = (_AUTH, _SERVER, _THROTTLED, _USAGE, _NOT_FOUND)

_LISTED = 10  # ids that are shown to people; programs are given all
_ASKED = 3  # ids that a question shows
_LONGEST_CALL = 60.0  # seconds; what was under way when a wait began has ended by then
_TYPED = 200  # characters of a command line that is shown again
_TEXT = 4000  # characters of a line: a job's ids fit in


@attrs.frozen
class _Action:
    name: str
    doing: str
    done: str
    help: str
    discarded: bool | None = None

    def update(self, item: "_Item") -> ConversationUpdate:
        return ConversationUpdate(item.conversation_id, title=item.title, discarded=self.discarded)

    def refusal(self, item: "_Item") -> str | None:
        """Why the client would refuse it, if it would."""
        request = (
            _protocol.delete_conversation(item.conversation_id)
            if self.name == "delete"
            else _protocol.update_conversation(item.conversation_id, item.title, self.discarded)
        )
        return str(request.args[0]).replace("conversation_id", "an id") if isinstance(request, Exception) else None


_ACTIONS = (
    _Action("rename", "Renaming", "renamed", "Give conversations new titles."),
    _Action("hide", "Hiding", "hidden", "Hide conversations from all lists; restore brings them back.", discarded=True),
    _Action("restore", "Restoring", "restored", "Bring hidden conversations back.", discarded=False),
    _Action("delete", "Deleting", "deleted", "Delete conversations for good. Most often, hide is what you want."),
)

_LIST = _Action("list", "Listing", "listed", "List conversations, the newest first.")
_GET = _Action("get", "Fetching", "fetched", "Show one conversation, a hidden one too.")

_ID_SOURCES = "ID... are conversation ids. With --from FILE they are read from a file, one a line."
_TITLE_SOURCES = "Renames one conversation, or with --from FILE those of a CSV file with the columns id,title."
_SKIPPED = "Blank lines and lines that begin with # are skipped; --from - reads standard input."


@attrs.frozen
class _Item:
    where: str
    """Where it was given, for error messages; the value itself may be anything and is not repeated."""
    conversation_id: str
    title: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class _Options:
    source: str | None
    journal: str | None
    concurrency: int
    dry_run: bool
    as_json: bool
    sandbox: bool
    base_url: str | None
    no_wait: bool
    yes: bool = False


class _Problem(Exception):
    """What keeps the command from beginning: an exit code, a name for programs, and text for people."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.name = name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `omi-conversations` with these arguments, or the program's own, and return the exit code."""
    try:
        import click
        import rich  # noqa: F401 - needed on terminals only, but missed at once
    except ModuleNotFoundError:
        _write(sys.stderr, f"{_NAME} needs two more libraries: install omi-async[cli]")
        return _USAGE
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _command_line(given).main(given, prog_name=_NAME, standalone_mode=False)
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        return _misused(error, as_json="--json" in given)
    return int(code or _OK)


def _misused(error: "click.ClickException", *, as_json: bool) -> int:
    text = f"{error.format_message().rstrip('.')}. Nothing was sent."
    if getattr(error, "option_name", None) in ("--api-key", "--key", "--token"):
        text = f"{text} The key is read from the environment variable OMI_API_KEY only."
    if as_json:
        _Json.put(sys.stderr, error="UsageError", detail=_shown(text))
    else:
        path = getattr(getattr(error, "ctx", None), "command_path", _NAME)
        _write(sys.stderr, f"{_shown(text)}\nTry: {path} --help")
    return _USAGE


def _command_line(given: Sequence[str]) -> "click.Group":
    import click

    server = [
        click.Option(["--sandbox"], is_flag=True, help="Try it out on a server inside this command."),
        click.Option(["--base-url"], metavar="URL", help="Another server than OMI_API_BASE or https://api.omi.me."),
    ]

    def shared(action: _Action) -> list[click.Parameter]:
        what = "id,title lines" if action.name == "rename" else "ids"
        asking = click.Option(["--yes", "-y"], is_flag=True, help="Do not ask.")
        return [
            click.Option(["--from", "source"], metavar="FILE", help=f"Read {what} from FILE; - is standard input."),
            click.Option(["--journal"], metavar="FILE", help="Remember what is done, so that a later run goes on."),
            click.Option(
                ["--concurrency"], type=click.IntRange(1, 100), default=4, show_default=True, help="Requests at once."
            ),
            click.Option(["--no-wait"], is_flag=True, help="Stop when the server's window is spent; do not wait."),
            click.Option(["--dry-run"], is_flag=True, help="Say what would be done and send nothing."),
            *([asking] if action.name == "delete" else []),
            click.Option(["--json", "as_json"], is_flag=True, help="One JSON object for each outcome, for programs."),
            *server,
        ]

    group = click.Group(
        help="List, show, rename, hide, restore and delete Omi conversations. The API key is taken from OMI_API_KEY.",
        epilog="Exit codes: 0 all done, 1 usage or refused, 2 key refused, 3 server, connection or unknown outcome, "
        "4 window spent, 5 not found, 130 stopped by Ctrl-C, 143 by SIGTERM.",
        no_args_is_help=False,  # it would be an error with a whole page
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(__version__, prog_name=_NAME)(group)
    moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
    as_json = click.Option(["--json", "as_json"], is_flag=True, help="A JSON object a line, with everything known.")
    group.add_command(
        click.Command(
            _LIST.name,
            params=[
                click.Option(
                    ["--start-date"],
                    type=moment,
                    metavar="DATE",
                    help="Not older than this; without an offset, local time.",
                ),
                click.Option(
                    ["--end-date"], type=moment, metavar="DATE", help="Not newer; 2026-11-22 or 2026-11-22T08:30."
                ),
                click.Option(
                    ["--category", "categories"],
                    multiple=True,
                    type=click.Choice([category.value for category in Category]),
                    metavar="NAME",
                    help="Of this category; may be given several times.",
                ),
                click.Option(["--folder", "folder_id"], metavar="ID", help="In this folder."),
                click.Option(["--starred/--not-starred"], default=None, help="Only those, or none of those."),
                click.Option(["--title-matches"], metavar="REGEX", help="Whose title this expression is found in."),
                click.Option(["--limit"], type=click.IntRange(1), help="At most so many; the default is all of them."),
                click.Option(["--ids"], is_flag=True, help="Only ids, one a line, for --from - of other commands."),
                as_json,
                *server,
            ],
            callback=functools.partial(_read, _LIST, _list),
            help=f"{_LIST.help} To a program, without --ids or --json, the columns are separated by tabs.",
            short_help="List conversations",
        )
    )
    group.add_command(
        click.Command(
            _GET.name,
            params=[
                click.Argument(["conversation_id"], metavar="ID"),
                click.Option(["--transcript", "include_transcript"], is_flag=True, help="With what was said."),
                as_json,
                *server,
            ],
            callback=functools.partial(_read, _GET, _get),
            help=_GET.help,
            short_help="Show one conversation",
        )
    )
    for action in _ACTIONS:
        arguments = (
            [click.Argument(["conversation_id"], required=False), click.Argument(["title"], required=False)]
            if action.name == "rename"
            else [click.Argument(["ids"], nargs=-1, metavar="[ID]...")]
        )
        sources = _TITLE_SOURCES if action.name == "rename" else _ID_SOURCES
        group.add_command(
            click.Command(
                action.name,
                params=[*arguments, *shared(action)],
                callback=functools.partial(_perform, action, given),
                help=f"{action.help}\n\n{sources} {_SKIPPED}",
                short_help=action.help.split(".")[0].split(";")[0],
            )
        )
    return group


def _perform(
    action: _Action,
    given: Sequence[str],
    ids: tuple[str, ...] = (),
    conversation_id: str | None = None,
    title: str | None = None,
    **options: Any,
) -> int:
    chosen = _Options(**options)
    with _voice(action, chosen) as voice, _Interrupts(voice) as interrupts:
        try:
            items = _items(action, chosen, ids, conversation_id, title)
            if chosen.dry_run:
                return _rehearse(action, items, voice)
            if not items:
                voice.notice("Nothing to do: there is no id in the input.")
                return _OK
            if action.name == "delete" and not chosen.yes:
                _ask(items, chosen)
            return _Run(action, items, chosen, voice, interrupts, given).code()
        except _Problem as problem:
            voice.error(problem.name, str(problem))
            return problem.code
        except KeyboardInterrupt:
            sent = "Nothing was sent." if interrupts.job is None else "What was reported as done is done."
            voice.error("Interrupted", f"Stopped. {sent}")
            return interrupts.code


# The input. All of it is read and checked before the first request: a job may take hours, and its journal knows
# the items by their places, so a line that is mended later would make it another job.


def _items(
    action: _Action, options: _Options, ids: tuple[str, ...], conversation_id: str | None, title: str | None
) -> list[_Item]:
    single = conversation_id is not None or title is not None
    if options.source is not None and (ids or single):
        raise _usage("Give the conversations as arguments or with --from, not both.")
    if options.source is not None:
        text = _text(options.source)
        found = list(_renames(text) if action.name == "rename" else _ids(text))
    elif action.name == "rename":
        if conversation_id is None or title is None:
            raise _usage("Rename what to what? Give an id and a title, or --from FILE with lines of id,title.")
        found = [_Item("the argument", conversation_id, title)]
    else:
        if not ids:
            raise _usage("Which conversations? Give their ids, or --from FILE with one id a line.")
        found = [_Item(f"argument {number}", each) for number, each in enumerate(ids, 1)]
    return _checked(action, found)


def _text(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return raw.decode("utf-8-sig")  # spreadsheets begin their files with a mark
    except OSError as error:
        problem = f"{source} cannot be read: {error.strerror}."
    except UnicodeDecodeError:
        problem = f"{'Standard input' if source == '-' else source} is not UTF-8 text."
    raise _usage(problem)


def _ids(text: str) -> Iterator[_Item]:
    for number, line in enumerate(text.splitlines(), 1):
        if (each := line.strip()) and not each.startswith("#"):
            yield _Item(f"line {number}", each)


def _renames(text: str) -> Iterator[_Item]:
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
                raise _usage(f"line {rows.line_num}: expected an id and a title, found {len(fields)} columns ({hint}).")
            yield _Item(f"line {rows.line_num}", *fields)
    except csv.Error as error:
        problem = f"line {rows.line_num}: not readable as CSV ({error})."
    else:
        return
    raise _usage(problem)


def _checked(action: _Action, found: Iterable[_Item]) -> list[_Item]:
    """The items without repetitions, all of them fit to be sent."""
    kept: dict[str, _Item] = {}
    problems = []
    for item in found:
        refusal = action.refusal(item)
        earlier = kept.setdefault(item.conversation_id, item)
        if refusal is not None:
            problems.append(f"{item.where}: {refusal}")
        elif earlier.title != item.title:
            problems.append(f"{item.where}: another title for the conversation of {earlier.where}.")
    if problems:
        rest = len(problems) - _LISTED
        more = [f"... and {rest} more."] if rest > 0 else []
        raise _usage("\n".join([*problems[:_LISTED], *more]))
    return list(kept.values())


def _usage(text: str) -> _Problem:
    return _Problem(_USAGE, "UsageError", f"{text}{chr(10) if chr(10) in text else ' '}Nothing was sent.")


def _ask(items: Sequence[_Item], options: _Options) -> None:
    """Let a person confirm a deletion, on the terminal; refuse where there is none."""
    rest = len(items) - _ASKED
    names = ", ".join(item.conversation_id for item in items[:_ASKED]) + (f" and {rest} more" if rest > 0 else "")
    them = "it" if len(items) == 1 else "them"
    refused = (
        f"Deleting {_count(len(items))} cannot be undone, and there is no terminal to ask on. "
        f"Nothing was sent. Give --yes if you are sure, or hide {them} instead."
    )
    if options.as_json:
        raise _Problem(_USAGE, "NotConfirmed", refused.replace("there is no terminal to ask on", "--json does not ask"))
    question = (
        f"This deletes {_count(len(items))} for good: {names}.\n"
        f"It cannot be undone. To keep {them} and only have {them} out of sight: {_NAME} hide\n"
        f"Delete {them} for good? [y/N] "
    )
    answer = _answer(question, from_terminal=options.source == "-")
    if answer is None:
        raise _Problem(_USAGE, "NotConfirmed", refused)
    if answer.strip().lower() not in ("y", "yes"):
        raise _Problem(_USAGE, "NotConfirmed", "Nothing was deleted.")


def _answer(question: str, *, from_terminal: bool) -> str | None:
    if from_terminal:  # standard input has brought the ids
        try:
            with open("/dev/tty", "r+b", buffering=0) as terminal:
                terminal.write(question.encode())
                return terminal.readline().decode(errors="replace")
        except OSError:
            return None
    if not sys.stdin.isatty():
        return None
    _write(sys.stderr, question, end="")
    answer = ""
    try:
        answer = sys.stdin.readline()
        return answer
    finally:
        if not answer:  # Ctrl-D and Ctrl-C leave the cursor behind the question
            _write(sys.stderr, "")


def _rehearse(action: _Action, items: Sequence[_Item], voice: "_Lines") -> int:
    voice.notice("Dry run: nothing is sent.")
    for item in items:
        voice.planned(item)
    voice.summary(f"{_count(len(items))} would be {action.done}.", {"planned": len(items), "total": len(items)})
    return _OK


# The job


_Job: TypeAlias = Bulk[Conversation] | Bulk[Deletion]
_Outcome: TypeAlias = BulkOutcome[Conversation] | BulkOutcome[Deletion]


class _Run:
    """One job, from the first request to the last word about it."""

    def __init__(
        self,
        action: _Action,
        items: Sequence[_Item],
        options: _Options,
        voice: "_Lines",
        interrupts: "_Interrupts",
        given: Sequence[str],
    ) -> None:
        self._action = action
        self._items = items
        self._options = options
        self._voice = voice
        self._interrupts = interrupts
        self._given = given
        self._outcomes: dict[str, _Outcome] = {}
        self._stopped: OmiError | None = None
        self._cut_off = False  # what was under way was not waited for
        self._throttled = 0
        self._unread = False  # nobody takes what goes to standard output

    def code(self) -> int:
        """Do it, tell it, and return the exit code."""
        with ExitStack() as stack:
            options = self._options
            client = _client(
                stack, self._voice, sandbox=options.sandbox, base_url=options.base_url, wait=not options.no_wait
            )
            job = self._start(client)
            self._interrupts.job = job
            try:
                self._follow(job)
            except KeyboardInterrupt:
                self._cut_off = True
            self._interrupts.over = True
            progress = job.progress
        return self._conclude(progress)

    def _start(self, client: OmiClient) -> _Job:
        self._voice.begin(len(self._items))
        settings: dict[str, Any] = {
            "concurrency": self._options.concurrency,
            "journal": self._options.journal,
            "on_progress": self._watch,
            "wait": not self._options.no_wait,
        }
        if self._action.name == "delete":
            return client.conversations.delete_many([item.conversation_id for item in self._items], **settings)
        return client.conversations.update_many([self._action.update(item) for item in self._items], **settings)

    def _watch(self, progress: BulkProgress) -> None:
        # On the client's own thread.
        self._voice.progress(progress)
        self._interrupts.waiting(progress)

    def _follow(self, job: _Job) -> None:
        try:
            for outcome in job:
                self._take(outcome)
                if self._interrupts.asked or self._unread:
                    break
        except BulkStoppedError as stopped:
            self._stopped = stopped.reason
        except OmiError as error:  # the journal, most likely
            self._stopped = error
        finally:
            try:
                job.close()
            finally:
                for outcome in job.unclaimed:
                    self._take(outcome)

    def _take(self, outcome: _Outcome) -> None:
        if outcome.status is BulkStatus.FAILED and isinstance(outcome.error, RateLimitError):
            self._throttled += 1  # the window closed before it: not done, rather than failed
            return
        self._outcomes[outcome.conversation_id] = outcome
        try:
            self._voice.outcome(outcome)
        except BrokenPipeError:
            self._unread = True
            _silence()

    # How it ended

    def _conclude(self, progress: BulkProgress) -> int:
        progress = attrs.evolve(progress, failed=progress.failed - self._throttled)
        left = len(self._items) - progress.settled
        reason = self._stopped
        self._voice.end()
        if reason is not None:
            way_on = "" if isinstance(reason, JournalError) else self._way_on()
            self._voice.error(type(reason).__name__, f"Stopped: {_reason(reason)}{way_on}")
        elif left > 0 and self._interrupts.asked:
            self._voice.error("Interrupted", f"Stopped as you asked.{self._loose_ends(left)}{self._way_on()}")
        elif left > 0 and self._unread:
            self._voice.error("BrokenPipeError", f"Stopped: nobody reads standard output any more.{self._way_on()}")
        elif progress.unknown or any(_open(each.error) for each in self._outcomes.values()):
            self._voice.notice(f"Run the same command again to try what is left.{self._hint_journal()}")
        self._voice.summary(self._counted(progress), self._facts(progress, left))
        if reason is None and left > 0 and self._interrupts.asked:
            return self._interrupts.code
        return self._worst(progress)

    def _worst(self, progress: BulkProgress) -> int:
        errors = [each.error for each in self._outcomes.values() if each.error is not None]
        if self._stopped is not None:
            errors.append(self._stopped)
        codes = {_code(error) for error in errors}
        earlier = _USAGE if progress.failed or self._unread else _OK
        return next((code for code in _BY_SERIOUSNESS if code in codes), earlier)

    def _counted(self, progress: BulkProgress) -> str:
        parts = [f"{progress.done} of {_count(len(self._items))} {self._action.done}"]
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
        return [each.conversation_id for each in self._items if each.conversation_id not in self._outcomes]

    def _loose_ends(self, left: int) -> str:
        """What was under way when nobody waited for it: at most `concurrency` of what was not reported."""
        idle = self._interrupts.idle_for
        # Who waits for the window sends nothing, but others may not have been answered yet when the wait began.
        count = min(left, self._options.concurrency - (1 if idle else 0))
        if not self._cut_off or not count or idle > _LONGEST_CALL:
            return ""
        requests = "One request" if count == 1 else f"Up to {count} requests"
        return f" {requests} may have been under way: whether what they asked for was done is not known."

    def _way_on(self) -> str:
        if self._options.journal is not None:
            again = shlex.join([_NAME, *self._given])
            if len(again) > _TYPED or self._options.source == "-":
                again = "the same command with the same input and journal"
            return f"\nTo go on where it stopped: {again}"
        undone = self._undone()
        if not undone:
            return ""
        rest = len(undone) - _LISTED
        listed = " ".join(undone[:_LISTED]) + (f" and {rest} more (--json lists all)" if rest > 0 else "")
        return f"\nNot done: {listed}{self._hint_journal()}"

    def _hint_journal(self) -> str:
        if self._options.journal is not None or len(self._items) == 1:
            return ""
        return "\nWith --journal FILE a later run goes on where an earlier one stopped."


def _client(stack: ExitStack, voice: "_Lines", *, sandbox: bool, base_url: str | None, wait: bool) -> OmiClient:
    settings: dict[str, Any] = {"base_url": base_url, "user_agent": f"{_NAME}/{__version__}"}
    if sandbox and base_url is not None:
        raise _usage("--sandbox and --base-url name two different servers.")
    if not wait:
        settings["retry"] = RetryPolicy(retry_after_limit=0.0)
    if sandbox:
        from .sandbox import Sandbox

        server = stack.enter_context(Sandbox())
        known = ", ".join(server.conversations)
        voice.notice(f"Sandbox: a server inside this command, not your account. It knows {known}.")
        settings.update(api_key=server.api_key, base_url=server.url)
    elif not os.environ.get("OMI_API_KEY"):
        raise _Problem(
            _AUTH,
            "AuthenticationError",
            "There is no API key. Nothing was sent. Put one into the environment variable OMI_API_KEY; keys are "
            "made in the Omi app: Settings -> Developer -> Create Key. To try it out without one: --sandbox",
        )
    try:
        return stack.enter_context(OmiClient(**settings))
    except ConfigurationError as error:
        about_key = error.message.startswith("api_key")
        text = error.message.replace("api_key", "OMI_API_KEY").replace(" (omi_mcp_...)", "")
    text = text.replace("base_url", "The base URL (--base-url or OMI_API_BASE)")
    raise _Problem(_AUTH if about_key else _USAGE, "ConfigurationError", f"{text} Nothing was sent.")


# Reading


def _read(
    action: _Action,
    show: Callable[..., None],
    *,
    as_json: bool,
    sandbox: bool,
    base_url: str | None,
    **options: Any,
) -> int:
    """Run `list` or `get`."""
    voice = _Json(action) if as_json else _Lines(action)
    try:
        with ExitStack() as stack:
            client = _client(stack, voice, sandbox=sandbox, base_url=base_url, wait=True)
            show(client, voice, as_json=as_json, **options)
    except _Problem as problem:
        voice.error(problem.name, str(problem))
        return problem.code
    except InvalidRequestError as error:
        voice.error("UsageError", f"{error.message.replace('conversation_id', 'ID')} Nothing was sent.")
        return _USAGE
    except OmiError as error:
        voice.error(type(error).__name__, f"Stopped: {_reason(error)}")
        return _code(error)
    except BrokenPipeError:  # as `head` does it, once it has enough
        _silence()
    except KeyboardInterrupt:
        voice.error("Interrupted", "Stopped.")
        return 128 + signal.SIGINT
    return _OK


def _list(
    client: OmiClient,
    voice: "_Lines",
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
    if ids and as_json:
        raise _usage("--ids and --json are two forms of the same.")
    matches = _matching(title_matches or "")
    listing = client.conversations.list(
        start_date=_local(start_date),
        end_date=_local(end_date),
        categories=categories or None,
        folder_id=folder_id,
        starred=starred,
        # Titles are looked at here: how many conversations that takes is not known.
        limit=limit if title_matches is None else None,
    )
    found = itertools.islice((each for each in listing if matches(each.structured.title)), limit)
    if as_json:
        for each in found:
            _write(sys.stdout, _as_json(each))
    elif ids:
        for each in found:
            _write(sys.stdout, each.id)
    else:
        _table(found)
    if listing.gaps:
        voice.notice("Some conversations are locked and not listed; after very many of them, others may be missing.")


def _matching(pattern: str) -> Callable[[str], object]:
    try:
        return re.compile(pattern, re.IGNORECASE).search
    except re.error as error:
        problem = f"--title-matches is not a regular expression: {error}."
    raise _usage(problem)


def _local(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone()  # which takes one without an offset for local time


def _table(conversations: Iterable[Conversation]) -> None:
    rows = (
        (
            each.id,
            each.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
            str(each.structured.category),
            _protocol.clean(each.structured.title, _TEXT),
        )
        for each in conversations
    )
    if not sys.stdout.isatty():
        for row in rows:
            _write(sys.stdout, "\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "created", "category", "title", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


def _get(client: OmiClient, _: "_Lines", conversation_id: str, *, include_transcript: bool, as_json: bool) -> None:
    conversation = client.conversations.get(conversation_id, include_transcript=include_transcript)
    if as_json:
        _write(sys.stdout, _as_json(conversation))
        return
    _write(sys.stdout, _shown("\n\n".join(filter(None, _paragraphs(conversation)))))


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


def _silence() -> None:
    """Nobody reads standard output any more; without this, Python would try once more at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Interrupts:
    """Ctrl-C and SIGTERM: at the first, what is under way is finished; at the second, it is not waited for.

    Where there is nothing to finish, before the job and while it waits for the window, the first is enough.
    """

    def __init__(self, voice: "_Lines") -> None:
        self.job: _Job | None = None
        self.over = False
        """Nothing is left to stop, only to tell."""
        self._voice = voice
        self._signal: int | None = None
        self._before: dict[int, Any] = {}
        self._idle_since: float | None = None
        self.idle_for = 0.0
        """Seconds for which the job had waited for the window when it was stopped."""

    @property
    def asked(self) -> bool:
        """Whether somebody wants the command to stop."""
        return self._signal is not None

    @property
    def code(self) -> int:
        """128 and the signal's number, as shells have it."""
        return 128 + (self._signal or signal.SIGINT)

    def waiting(self, progress: BulkProgress) -> None:
        """Take note of a wait for the window; one that begins after Ctrl-C is not entered."""
        if progress.waiting_until is None:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        if self.asked and progress.waiting_until is not None:
            interrupt_main()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        first = self._signal is None
        self._signal = self._signal or number
        if self.over:
            return
        waiting = self.job is not None and self.job.progress.waiting_until is not None
        if waiting and self._idle_since is not None:
            self.idle_for = time.monotonic() - self._idle_since
        if first and self.job is not None and not waiting:
            self._voice.stopping()
            return
        raise KeyboardInterrupt


# Errors in plain English


def _code(error: OmiError | TypeError) -> int:
    if isinstance(error, OmiError) and error.outcome == "unknown":
        return _SERVER
    match error:
        case AuthenticationError() | PermissionDeniedError():
            return _AUTH
        case RateLimitError():
            return _THROTTLED
        case NotFoundError():
            return _NOT_FOUND
        case TransportError() | ServerError() | ResponseError():
            return _SERVER
        case _:
            return _USAGE


def _open(error: OmiError | TypeError | None) -> bool:
    """Whether another run may end differently."""
    return isinstance(error, OmiError) and (error.retryable or error.outcome == "unknown")


def _why(error: OmiError | TypeError) -> str:
    match error:
        case AuthenticationError():
            return "the server refuses the key"
        case PermissionDeniedError(required_scope=str(scope)):
            return f"the key may not do this, it lacks the scope {scope}"
        case NotFoundError():
            return "there is no such conversation in this account"
        case PaymentRequiredError():
            return "it is locked, the account's plan does not cover it"
        case RateLimitError():
            return "the server's window is spent"
        case OmiError():
            return error.message.rstrip(".")
        case _:
            return str(error).rstrip(".")


def _next_step(error: OmiError | TypeError, action: _Action) -> str:
    if isinstance(error, OmiError) and error.outcome == "unknown":
        if action.name == "delete":
            return "It may or may not have been deleted; if it was, another run will not find it any more."
        return f"It may or may not have been {action.done}; to {action.name} it again does no harm."
    step = " Check the id." if isinstance(error, NotFoundError) else ""
    return f"Nothing was changed.{step}"


def _reason(error: OmiError) -> str:
    """Why a job ended early, and what to do about it."""
    why = _why(error)
    match error:
        case AuthenticationError():
            return f"{why}. Check OMI_API_KEY; keys are made in the Omi app: Settings -> Developer -> Create Key."
        case PermissionDeniedError(required_scope=str()):
            return f"{why}. Make a key that has it in the Omi app: Settings -> Developer -> Create Key."
        case RateLimitError(retry_after=float(seconds)):
            return f"{why}. The window reopens at {_clock(datetime.now().astimezone() + timedelta(seconds=seconds))}."
        case _:
            return f"{why}."


# What is said, and how


def _voice(action: _Action, options: _Options) -> "_Lines":
    if options.as_json:
        return _Json(action)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not options.dry_run:
        return _Bar(action)
    return _Lines(action)


class _Lines:
    """Plain lines: what was done to standard output, all else to standard error."""

    def __init__(self, action: _Action) -> None:
        self._action = action
        self._waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, total: int) -> None:
        """The job begins."""

    def end(self) -> None:
        """The job has ended; once more, it does nothing."""

    def notice(self, text: str) -> None:
        _write(sys.stderr, text)

    def error(self, name: str, text: str) -> None:  # noqa: ARG002 - the name is for programs
        self.notice(_shown(text))

    def outcome(self, outcome: _Outcome) -> None:
        if outcome.error is None:
            self._done(self._word(outcome), outcome.conversation_id)
            return
        step = _next_step(outcome.error, self._action)
        self._undone(self._word(outcome), f"{outcome.conversation_id}: {_shown(_why(outcome.error))}. {step}")

    def _word(self, outcome: _Outcome) -> str:
        match outcome.status:
            case BulkStatus.DONE:
                return self._action.done
            case BulkStatus.UNCONFIRMED:
                return "gone"
            case status:
                return status.value

    def _done(self, word: str, text: str) -> None:
        _write(sys.stdout, f"{word:<8} {text}")

    def _undone(self, word: str, text: str) -> None:
        self.notice(f"{word:<8} {text}")

    def planned(self, item: _Item) -> None:
        to = "" if item.title is None else f" to {_shown(item.title.strip())}"
        _write(sys.stdout, f"would {self._action.name} {item.conversation_id}{to}")

    def progress(self, progress: BulkProgress) -> None:
        """Called on the client's thread, after each item and when a wait begins: the wait is worth a line."""
        if progress.waiting_until is None:
            self._waiting = False
        elif not self._waiting:
            self._waiting = True
            self.notice(f"{progress.settled} of {progress.total} settled. {_outlook(progress)}")

    def stopping(self) -> None:
        """Called in the middle of anything, by a signal."""
        os.write(sys.stderr.fileno(), f"{_STOPPING}\n".encode())

    def summary(self, text: str, facts: dict[str, object]) -> None:  # noqa: ARG002 - the facts are for programs
        self.notice(text)


class _Json(_Lines):
    """A JSON object a line, on both streams."""

    @staticmethod
    def put(stream: TextIO, **values: object) -> None:
        _write(stream, json.dumps(values))

    def notice(self, text: str) -> None:
        self.put(sys.stderr, notice=text)

    def error(self, name: str, text: str) -> None:
        self.put(sys.stderr, error=name, detail=_shown(text.replace("\n", " ")))

    def outcome(self, outcome: _Outcome) -> None:
        failure = outcome.error
        values: dict[str, object] = {
            "id": outcome.conversation_id,
            "action": self._action.name,
            "status": outcome.status.value,
            "attempts": outcome.attempts,
        }
        if failure is not None:
            values.update(error=type(failure).__name__, detail=_shown(str(failure)))
        self.put(sys.stdout, **values)

    def planned(self, item: _Item) -> None:
        values = {"id": item.conversation_id, "action": self._action.name, "status": "planned"}
        if item.title is not None:
            values["title"] = item.title.strip()
        self.put(sys.stdout, **values)

    def progress(self, progress: BulkProgress) -> None:
        if progress.waiting_until is None:
            self._waiting = False
        elif not self._waiting:
            self._waiting = True
            until = progress.waiting_until.isoformat(timespec="seconds")
            self.put(sys.stderr, waiting_until=until, settled=progress.settled, total=progress.total)

    def stopping(self) -> None:
        os.write(sys.stderr.fileno(), f"{json.dumps({'notice': _STOPPING})}\n".encode())

    def summary(self, text: str, facts: dict[str, object]) -> None:  # noqa: ARG002 - the text is for people
        self.put(sys.stderr, summary=facts)


class _Bar(_Lines):
    """A bar at the bottom of the terminal, the outcomes above it."""

    def __init__(self, action: _Action) -> None:
        super().__init__(action)
        from rich.console import Console

        colour = not (os.environ.get("NO_COLOR") or os.environ.get("OMI_NO_COLOR"))
        self._console = Console(stderr=True, force_terminal=True, no_color=not colour, highlight=False, markup=False)
        self._say: Callable[..., None] = functools.partial(self._console.print, soft_wrap=True)
        self._show: Callable[..., None] | None = None
        self._outlook = ""

    def begin(self, total: int) -> None:
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
        self._show = functools.partial(self._display.update, task)
        self._display.start()

    def end(self) -> None:
        if self._show is not None:
            self._show = None
            self._display.stop()

    def notice(self, text: str) -> None:
        self._say(text)

    def error(self, name: str, text: str) -> None:  # noqa: ARG002 - the name is for programs
        self._say(_shown(text), style="red")

    def _done(self, word: str, text: str) -> None:
        if sys.stdout.isatty():
            self._line(word, text, "green" if word == self._action.done else "yellow")
        else:
            super()._done(word, text)

    def _undone(self, word: str, text: str) -> None:
        self._line(word, text, "red" if word == BulkStatus.FAILED else "yellow")

    def _line(self, word: str, text: str, style: str) -> None:
        from rich.text import Text

        self._say(Text.assemble((f"{word:<8}", style), " ", text))

    def progress(self, progress: BulkProgress) -> None:
        counts = {status.value: getattr(progress, status.value) for status in BulkStatus}
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        if not self._outlook.startswith(_STOPPING):
            self._outlook = _outlook(progress)
        if self._show is not None:
            self._show(completed=progress.settled, counts=text)

    def stopping(self) -> None:
        self._outlook = _STOPPING  # shown when the bar is drawn next, which is soon

    def summary(self, text: str, facts: dict[str, object]) -> None:  # noqa: ARG002 - the facts are for programs
        self._say(text, style="bold")


_STOPPING = "Stopping: what is under way is finished first (Ctrl-C once more does not wait for it)."


def _outlook(progress: BulkProgress) -> str:
    end, reopens = progress.estimated_end, progress.waiting_until
    if reopens is not None:
        # The estimate goes by the rate alone: it may lie before the wait's end.
        late = end is not None and end - reopens > timedelta(minutes=1)
        then = f", all done about {_clock(end)}" if end and late else ", all done soon after" if end else ""
        return f"The server's window is spent; window reopens at {_clock(reopens)}{then}."
    if end is not None and end - datetime.now().astimezone() > timedelta(minutes=1):
        return f"All done about {_clock(end)}."
    return ""


def _clock(moment: datetime) -> str:
    """The time of day here, with the day unless it is today."""
    here = moment.astimezone()
    days = (here.date() - datetime.now().astimezone().date()).days
    if days == 0:
        return here.strftime("%H:%M")
    return here.strftime("%H:%M on %A" if 0 < days < 7 else "%H:%M on %Y-%m-%d")


def _count(number: int) -> str:
    return "1 conversation" if number == 1 else f"{number} conversations"


def _shown(text: str) -> str:
    """Fit to be shown: no key, nothing unprintable."""
    return "\n".join(_protocol.clean(line, _TEXT) for line in text.split("\n"))


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    # In one piece: the client's thread may have something to say at the same time.
    stream.write(text + end)
    stream.flush()
