"""The command's vocabulary: its actions, its exit codes, and errors in plain English."""

import re
import unicodedata
from datetime import datetime, timedelta

import attrs

from omi_async import (
    AuthenticationError,
    BulkProgress,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    SaveProgress,
    ServerError,
    TransportError,
)

NAME = "omi-conversations"

# Exit codes. A job of several items ends with the most serious of theirs.
OK, USAGE, AUTH, SERVER, THROTTLED, NOT_FOUND = 0, 1, 2, 3, 4, 5
BY_SERIOUSNESS = (AUTH, SERVER, THROTTLED, USAGE, NOT_FOUND)

SHOWN_AT_MOST = 10  # ids or problems that people are shown; programs are given all

_KEY = re.compile(r"omi_(dev|mcp)_\S+", re.IGNORECASE)

# What can move the cursor, start a line or reverse the order of text. Joiners, marks and spaces are part of how
# languages and emoji are written.
_HARMFUL_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_HARMFUL_CHARACTERS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

STOPPING = "Stopping: what is under way is finished first (Ctrl-C once more does not wait for it)."


@attrs.frozen
class Action:
    """What the command can do, and what that is called."""

    name: str
    doing: str
    done: str
    help: str
    discarded: bool | None = None


LIST = Action("list", "Listing", "listed", "List conversations, the newest first.")
GET = Action("get", "Fetching", "fetched", "Show one conversation, a hidden one too.")
SAVE = Action("save", "Saving", "saved", "Save conversations in an archive on this machine.")
SEARCH = Action("search", "Searching", "found", "Search the archive, without the network.")
EXPORT = Action("export", "Exporting", "exported", "Export the archive to files, without the network.")
STATUS = Action("status", "Counting", "counted", "Say what is in the archive, without the network.")
RECREATE = Action("recreate", "Recreating", "recreated", "Make conversations of the copies in an archive.")

WRITES = (
    Action("rename", "Renaming", "renamed", "Give conversations new titles."),
    Action("hide", "Hiding", "hidden", "Hide conversations from all lists; restore brings them back.", discarded=True),
    Action("restore", "Restoring", "restored", "Bring hidden conversations back.", discarded=False),
    Action("delete", "Deleting", "deleted", "Delete conversations for good. Most often, hide is what you want."),
)


class Problem(Exception):
    """What keeps the command from beginning: an exit code, a name for programs, and text for people."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.name = name


def usage(text: str) -> Problem:
    """The problem of an input or an option that cannot be used."""
    return Problem(USAGE, "UsageError", f"{text}{chr(10) if chr(10) in text else ' '}Nothing was sent.")


# Errors


def exit_code(error: OmiError | TypeError) -> int:
    """The exit code that an error asks for."""
    if isinstance(error, OmiError) and error.outcome == "unknown":
        return SERVER
    match error:
        case AuthenticationError() | PermissionDeniedError():
            return AUTH
        case RateLimitError():
            return THROTTLED
        case NotFoundError():
            return NOT_FOUND
        case TransportError() | ServerError() | ResponseError():
            return SERVER
        case _:
            return USAGE


def worth_another_run(error: OmiError | TypeError | None) -> bool:
    """Whether the same command may end differently next time."""
    return isinstance(error, OmiError) and (error.retryable or error.outcome == "unknown")


def why(error: OmiError | TypeError) -> str:
    """What went wrong, without a full stop."""
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
            return error.text.rstrip(".")
        case _:
            return str(error).rstrip(".")


def next_step(error: OmiError | TypeError, action: Action) -> str:
    """What an error of one item means for its conversation, and what to do."""
    if isinstance(error, OmiError) and error.outcome == "unknown":
        if action.name == "delete":
            return "It may or may not have been deleted; if it was, another run will not find it any more."
        return f"It may or may not have been {action.done}; to {action.name} it again does no harm."
    if action.name == "delete" and isinstance(error, OmiError) and error.operation == "conversations.get":
        locked = ", or it is locked" if isinstance(error, NotFoundError) else ""
        return f"No copy of it could be kept{locked}, so it was not deleted."
    step = " Check the id." if isinstance(error, NotFoundError) else ""
    return f"Nothing was changed.{step}"


def why_stopped(error: OmiError) -> str:
    """Why a job ended early, and what to do about it."""
    reason = why(error)
    match error:
        case AuthenticationError():
            return f"{reason}. Check OMI_API_KEY; keys are made in the Omi app: Settings -> Developer -> Create Key."
        case PermissionDeniedError(required_scope=str()):
            return f"{reason}. Make a key that has it in the Omi app: Settings -> Developer -> Create Key."
        case RateLimitError(retry_after=float(seconds)):
            return f"{reason}. The window reopens at {clock(datetime.now().astimezone() + timedelta(seconds=seconds))}."
        case _:
            return f"{reason}."


# Times, numbers and text


def outlook(progress: BulkProgress | SaveProgress) -> str:
    """When the window reopens and when all is done, as far as either is known and worth a word."""
    end, reopens = progress.estimated_end, progress.waiting_until
    if reopens is not None:
        # The estimate is computed from the rate alone, so it may lie before the end of the wait.
        late = end is not None and end - reopens > timedelta(minutes=1)
        then = f", all done about {clock(end)}" if end and late else ", all done soon after" if end else ""
        return f"The server's window is spent; window reopens at {clock(reopens)}{then}."
    if end is not None and end - datetime.now().astimezone() > timedelta(minutes=1):
        return f"All done about {clock(end)}."
    return ""


def clock(moment: datetime) -> str:
    """The time of day here, with the day unless it is today."""
    here = moment.astimezone()
    days = (here.date() - datetime.now().astimezone().date()).days
    if days == 0:
        return here.strftime("%H:%M")
    return here.strftime("%H:%M on %A" if 0 < days < 7 else "%H:%M on %Y-%m-%d")


def count(number: int) -> str:
    """A number of conversations."""
    return "1 conversation" if number == 1 else f"{number} conversations"


def local(moment: datetime) -> datetime:
    """The moment in this machine's time, or as it is where that lies before year 1 or after 9999."""
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):
        return moment


def one_line(text: str) -> str:
    """Text as one line that a terminal may show: without keys, and with `?` for every control character."""
    return "".join("?" if _is_harmful(character) else character for character in _KEY.sub(r"omi_\1_***", text))


def shown(text: str) -> str:
    """Text that a terminal may show, with its line breaks."""
    return "\n".join(one_line(line) for line in text.replace("\r\n", "\n").split("\n"))


def _is_harmful(character: str) -> bool:
    return character in _HARMFUL_CHARACTERS or unicodedata.category(character) in _HARMFUL_CATEGORIES
