"""What may be typed: the commands, their arguments and their options, as click reads them."""

import functools
import signal
import sys
from collections.abc import Sequence
from datetime import date, datetime, time

import click

from omi_async import Category, __version__

from .archives import export, show_matches, show_status
from .archives import read as read_archive
from .reading import read, show_list, show_one
from .recreating import recreate
from .run import perform
from .saving import save
from .streams import OutputLost, write
from .voices import Json, Lines
from .words import EXPORT, GET, LIST, NAME, OK, RECREATE, SAVE, SEARCH, SERVER, STATUS, USAGE, WRITES, Action, shown

_LONGEST_PAUSE = 525_600  # minutes: a year

_ID_SOURCES = "ID... are conversation ids. With --from FILE they are read from a file, one a line."
_TITLE_SOURCES = "Renames one conversation, or with --from FILE those of a CSV file with the columns id,title."
_SKIPPED = "Blank lines and lines that begin with # are skipped; --from - reads standard input."


def run(given: Sequence[str]) -> int:
    """Run a command line, and return the exit code."""
    try:
        code = _group(given).main(list(given), prog_name=NAME, standalone_mode=False)
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        return _misused(error, as_json="--json" in given)
    except OutputLost as lost:
        return _unheard(lost, as_json="--json" in given)
    return int(code or OK)


def _unheard(lost: OutputLost, *, as_json: bool) -> int:
    """The end of a command that only shows something. A reader that leaves, as `head` does, has enough."""
    if lost.reader_left:
        return OK
    voice = Json(LIST) if as_json else Lines(LIST)
    voice.error(lost.name, f"Stopped: {lost}.")
    return SERVER


def _misused(error: click.ClickException, *, as_json: bool) -> int:
    text = error.format_message().replace("\n\t", " ")  # click lists choices on lines of their own
    text = f"{text if text.endswith('?') else text.rstrip('.') + '.'} Nothing was sent."
    if getattr(error, "option_name", None) in ("--api-key", "--key", "--token"):
        text = f"{text} The key is read from the environment variable OMI_API_KEY only."
    if as_json:
        Json.put(sys.stderr, error="UsageError", detail=shown(text))
    else:
        path = getattr(getattr(error, "ctx", None), "command_path", NAME)
        write(sys.stderr, f"{shown(text)}\nTry: {path} --help")
    return USAGE


def _group(given: Sequence[str]) -> click.Group:
    group = click.Group(
        help="List, show, rename, hide, restore and delete Omi conversations; save them in an archive, search and "
        "export that, and recreate what is in it. The API key is taken from OMI_API_KEY.",
        epilog="Exit codes: 0 all done, 1 usage or refused, 2 key refused, 3 server, connection or output failed, or "
        "outcome unknown, 4 window spent, 5 not found, 129 stopped by SIGHUP, 130 by Ctrl-C, 143 by SIGTERM.",
        no_args_is_help=False,  # a missing command is an error of one line, not a whole page
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(__version__, prog_name=NAME)(group)
    group.add_command(_list())
    group.add_command(_get())
    for command in (_save(), _search(), _export(), _status(), _recreate()):
        group.add_command(command)
    for action in WRITES:
        group.add_command(_write(action, given))
    return group


def _start(text: str) -> datetime:
    return _moment(text, time.min)


def _end(text: str) -> datetime:
    return _moment(text, time.max)


def _moment(text: str, time_of_day: time) -> datetime:
    """A date and a time, or a day alone and the time of day given here; without an offset, local time."""
    try:
        try:
            moment = datetime.combine(date.fromisoformat(text), time_of_day)
        except ValueError:
            moment = datetime.fromisoformat(text)
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        problem = f"{text!r} is no date; 2026-11-22, 2026-11-22T08:30 and 2026-11-22T08:30+02:00 are."
    raise click.BadParameter(problem)


def _list() -> click.Command:
    return click.Command(
        LIST.name,
        params=[
            click.Option(
                ["--start-date"],
                type=_start,
                metavar="DATE",
                help="Not older than this; without an offset, local time.",
            ),
            click.Option(
                ["--end-date"],
                type=_end,
                metavar="DATE",
                help="Not newer; 2026-11-22, which includes that day, or 2026-11-22T08:30.",
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
            _json("A JSON object a line, with everything known."),
            *_server(),
        ],
        callback=functools.partial(read, LIST, show_list),
        help=f"{LIST.help} To a program, without --ids or --json, the columns are separated by tabs.",
        short_help="List conversations",
    )


def _get() -> click.Command:
    return click.Command(
        GET.name,
        params=[
            click.Argument(["conversation_id"], metavar="ID"),
            click.Option(["--transcript", "include_transcript"], is_flag=True, help="With what was said."),
            _json("A JSON object a line, with everything known."),
            *_server(),
        ],
        callback=functools.partial(read, GET, show_one),
        help=GET.help,
        short_help="Show one conversation",
    )


def _write(action: Action, given: Sequence[str]) -> click.Command:
    renames = action.name == "rename"
    arguments = (
        [click.Argument(["conversation_id"], required=False), click.Argument(["title"], required=False)]
        if renames
        else [click.Argument(["ids"], nargs=-1, metavar="[ID]...")]
    )
    what = "id,title lines" if renames else "ids"
    confirming = click.Option(["--yes", "-y"], is_flag=True, help="Do not ask.")
    options = [
        click.Option(["--from", "source"], metavar="FILE", help=f"Read {what} from FILE; - is standard input."),
        click.Option(
            ["--journal"],
            metavar="FILE",
            callback=_named,
            help="Remember what is done, so that a later run goes on.",
        ),
        click.Option(
            ["--concurrency"], type=click.IntRange(1, 100), default=4, show_default=True, help="Requests at once."
        ),
        click.Option(["--no-wait"], is_flag=True, help="Stop when the server's window is spent; do not wait."),
        click.Option(["--dry-run"], is_flag=True, help="Say what would be done and send nothing."),
        *([_keep(), confirming] if action.name == "delete" else []),
        _json("One JSON object for each outcome, for programs."),
        *_server(),
    ]
    return click.Command(
        action.name,
        params=[*arguments, *options],
        callback=functools.partial(perform, action, given),
        help=f"{action.help}\n\n{_TITLE_SOURCES if renames else _ID_SOURCES} {_SKIPPED}",
        short_help=action.help.split(".")[0].split(";")[0],
    )


def _keep() -> click.Option:
    text = "First store each conversation with its transcript in this archive, which is made if it is not there."
    return click.Option(["--keep"], metavar="FILE", callback=_named, help=text)


def _minutes(_context: click.Context, _option: click.Parameter, minutes: float | None) -> float | None:
    if minutes is not None and not minutes <= _LONGEST_PAUSE:  # as "nan", which click takes for a number
        raise click.BadParameter(f"it must be a number of minutes, {_LONGEST_PAUSE} at most.")
    return minutes


def _save() -> click.Command:
    return click.Command(
        SAVE.name,
        params=[
            _archive(),
            click.Option(
                ["--every"],
                type=click.FloatRange(0, min_open=True),
                callback=_minutes,
                metavar="MINUTES",
                help="Go on until stopped, and save again so many minutes after each time.",
            ),
            click.Option(["--full"], is_flag=True, help="Look for changes in all conversations."),
            click.Option(["--no-wait"], is_flag=True, help="Stop when the server's window is spent; do not wait."),
            _json("One JSON object a line, for programs."),
            *_server(),
        ],
        callback=save,
        help=f"{SAVE.help} At first all of them, with their transcripts; later what is new and what has changed. One "
        "that was stopped goes on where it was.",
        short_help="Save conversations in an archive",
    )


def _search() -> click.Command:
    return click.Command(
        SEARCH.name,
        params=[
            click.Argument(["words"], nargs=-1, required=True, metavar="WORDS..."),
            _archive(),
            click.Option(
                ["--limit"], type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many."
            ),
            _json("A JSON object a line, with everything known."),
        ],
        callback=functools.partial(read_archive, SEARCH, show_matches),
        help=f"{SEARCH.help} Finds the conversations in which all the words are, with the line that matches best. "
        "'\"in quotes\"' words follow each other, 'begin*' stands for all words that begin so.",
        short_help="Search the archive",
    )


def _export() -> click.Command:
    return click.Command(
        EXPORT.name,
        params=[
            click.Option(
                ["--format", "form"],
                type=click.Choice(["markdown", "jsonl", "csv"]),
                required=True,
                help="Notes, JSON documents, or a table.",
            ),
            click.Option(
                ["--to"], metavar="DIR", callback=_named, help="The folder to write to; without it, standard output."
            ),
            click.Option(["--timezone"], metavar="NAME", help="Of days and times, as Europe/Lisbon; local by default."),
            _archive(),
            _json("One JSON object a line, for programs."),
        ],
        callback=functools.partial(read_archive, EXPORT, export),
        help=f"{EXPORT.help} Markdown writes only what has changed, and leaves alone what you have edited.",
        short_help="Export the archive to files",
    )


def _status() -> click.Command:
    return click.Command(
        STATUS.name,
        params=[_archive(), _json("A JSON object.")],
        callback=functools.partial(read_archive, STATUS, show_status),
        help=STATUS.help,
        short_help="Say what is in the archive",
    )


def _archive() -> click.Option:
    return click.Option(
        ["--archive"],
        metavar="FILE",
        callback=_named,
        help="The archive, instead of OMI_ARCHIVE or omi-archive.db in your home directory.",
    )


def _recreate() -> click.Command:
    return click.Command(
        RECREATE.name,
        params=[
            click.Argument(["ids"], nargs=-1, required=True, metavar="ID..."),
            _archive(),
            _json("One JSON object for each conversation, for programs."),
            *_server(),
        ],
        callback=functools.partial(read, RECREATE, recreate),
        help=f"{RECREATE.help} ID... are the ids that they had. Omi makes new conversations of the transcripts, and "
        "they get their titles; the command says what is not as before. Repeating it makes no second ones.",
        short_help="Make conversations of copies in an archive",
    )


def _named(_context: click.Context, _option: click.Parameter, file: str | None) -> str | None:
    if file is not None and (not file or "\0" in file):
        raise click.BadParameter("it names no file.")
    return file


def _json(text: str) -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help=text)


def _server() -> list[click.Option]:
    return [
        click.Option(["--sandbox"], is_flag=True, help="Try it out on a server inside this command."),
        click.Option(["--base-url"], metavar="URL", help="Another server than OMI_API_BASE or https://api.omi.me."),
        click.Option(["--proxy"], metavar="URL", help="The HTTP proxy to go through, instead of OMI_PROXY."),
    ]
