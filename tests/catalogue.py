"""The fault scenarios and the tests that show them: `python -m tests.catalogue` prints the table of docs/faults.md.

A test names its scenarios with `pytest.mark.scenario`; a scenario without a test has a reason here instead, which
begins with "does not apply" or "documented". `--write` puts the table into the page.
"""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"

_HEAD = ("| number | scenario | shown by, or why not |", "|---|---|---|")

SCENARIOS: dict[int, tuple[str, str | None]] = {
    # Connection
    1: ("nothing listens on the port", None),
    2: ("the host name is never found", None),
    3: ("the host name is found at the second try", None),
    4: ("connecting never ends", None),
    5: ("certificate of an unknown authority", None),
    6: ("certificate for another host", None),
    7: ("certificate expired or not valid yet", None),
    8: ("the TLS handshake never ends", None),
    9: ("plain HTTP where TLS is expected", None),
    10: ("TLS cut in the handshake or in the answer", None),
    11: ("only outdated TLS versions offered", None),
    12: ("two addresses, the first one dead", None),
    13: ("new connection closed before any answer", None),
    14: ("kept connection closed before any answer", None),
    15: ("a call just as the server closes an idle connection", None),
    16: ("half-closed connection not noticed yet", None),
    17: ("reset before the request is read", None),
    18: ("reset after the change was made", None),
    19: ("reset in the middle of the request", None),
    20: ("the server never reads", None),
    21: ("network silent for a while", None),
    22: ("one connection that always fails", None),
    23: ("connection closed after each answer", None),
    24: ("IPv4 only, IPv6 only", None),
    # Broken HTTP
    25: ("status line that is none", None),
    26: ("HTTP/2 preface, HTTP/0.9", None),
    27: ("statuses 99 and 1000", None),
    28: ("every status from 100 to 999", None),
    29: ("answer cut in its header", None),
    30: ("body shorter than announced", None),
    31: ("body longer than announced", None),
    32: ("contradictory or impossible lengths", None),
    33: ("broken chunks", None),
    34: ("body that ends with the connection", None),
    35: ("interim answers before the final one", None),
    36: ("interim answers or header lines without end", None),
    37: ("101 that nobody asked for", None),
    38: ("204 with a body, 205, 304", None),
    39: ("oversized header, many headers, long reason", None),
    40: ("bare line feeds, folded lines, NUL in a header", None),
    41: ("header text not UTF-8 or not harmless", None),
    42: ("a second answer waiting in the buffer", None),
    # Slow
    43: ("no answer at all", None),
    44: ("the body stalls", None),
    45: ("a byte now and then, forever", None),
    46: ("slow, but within the limit", None),
    47: ("the answer comes just after the limit", None),
    48: ("every attempt slow: limit of the whole call", None),
    49: ("limits that make no sense", None),
    50: ("waiting for a free connection", None),
    # Statuses
    51: ("200 as it should be", None),
    52: ("200 with another conversation", None),
    53: ("200 with another title than the one sent", None),
    54: ("201, 202, 206", None),
    55: ("empty success of a deletion", None),
    56: ("empty or null success of an update", None),
    57: ("deletion answered with success false", None),
    58: ("deletion answered with something like true", None),
    59: ("400", None),
    60: ("401", None),
    61: ("401 once, then good", None),
    62: ("402, locked conversation", None),
    63: ("403, with words or with an object", None),
    64: ("404 at the first attempt", None),
    65: ("deletion made, answer lost, then 404", None),
    66: ("deletion never made, answer lost, then 404", None),
    67: ("deletion made and answered 500, then 404", None),
    68: ("deletion throttled or not sent, then 404", None),
    69: ("update left open, then 404", None),
    70: ("update and deletion at the same time", None),
    71: ("update made by half", None),
    72: ("the other refusals", None),
    73: ("408 and 425", None),
    74: ("409, 412, 423", None),
    75: ("422 with all kinds of detail", None),
    76: ("429 without a word on the wait", None),
    77: ("500, 502, 503, 504, 520 to 530", None),
    78: ("501, 505, 511", None),
    79: ("5xx with HTML, nothing or gzip", None),
    80: ("503 that says not to try again", None),
    81: ("success after some failures", None),
    # Retry-After and the rate headers
    82: ("Retry-After of seconds", None),
    83: ("Retry-After zero, negative, empty", None),
    84: ("Retry-After of an hour", None),
    85: ("Retry-After that is no number", None),
    86: ("Retry-After as a date, clocks apart", None),
    87: ("several Retry-After headers", None),
    88: ("Retry-After on other statuses", None),
    89: ("a success that spends the window", None),
    90: ("reset time in odd forms", None),
    91: ("429 to every attempt", None),
    92: ("the machine's clock jumps", None),
    # Redirects
    93: ("redirect to the same origin", None),
    94: ("303, which turns into a GET", None),
    95: ("redirect to another origin", None),
    96: ("redirect from https to http", None),
    97: ("redirect loops and odd targets", None),
    98: ("300, 304, 305, 306", None),
    # Body
    99: ("HTML with status 200", None),
    100: ("text that is not UTF-8", None),
    101: ("JSON cut, or with something behind it", None),
    102: ("JSON nested 100,000 deep", None),
    103: ("numbers beyond all bounds", None),
    104: ("a name twice in one object", None),
    105: ("a wrong type in every field", None),
    106: ("fields this version does not know", None),
    107: ("fields missing", None),
    108: ("enum values this version does not know", None),
    109: ("times in odd forms", None),
    110: ("surrogates, NUL and bidirectional marks in text", None),
    111: ("compression bombs", None),
    112: ("bodies of 100 MB and without end", None),
    113: ("gzip corrupt, cut, or something else", None),
    114: ("error bodies without end", None),
    115: ("cookies", None),
    # The caller's arguments and the key
    116: ("ids that climb the path", None),
    117: ("ids with separators of a URL", None),
    118: ("ids empty, blank or padded", None),
    119: ("ids with control characters or surrogates", None),
    120: ("ids outside ASCII", None),
    121: ("ids of megabytes", None),
    122: ("ids that are not text", None),
    123: ("every allowed id arrives as it is", None),
    124: ("titles blank or too long, nothing to change", None),
    125: ("titles with lone surrogates", None),
    126: ("titles and discarded of wrong types", None),
    127: ("left out, None and a value", None),
    128: ("keys with characters that no key has", None),
    129: ("keys missing, huge, or of another family", None),
    130: ("the key in everything printable", None),
    131: ("the key in logs, warnings and tracebacks", None),
    132: ("an answer that repeats the key", None),
    133: ("base URLs that are refused", None),
    134: ("a URL passed for an id", None),
    135: ("netrc, proxies and TLS settings of the environment", None),
    136: ("the caller's own headers", "does not apply: no method takes headers."),
    137: ("the caller's own session", None),
    # Process, loop, threads
    138: ("cancelled at every step", None),
    139: ("timeouts and task groups around a call", None),
    140: ("cancelled as the answer arrives", None),
    141: ("used after it was closed", None),
    142: ("closed while calls run", None),
    143: ("closed twice, early, or elsewhere", None),
    144: ("forgotten without being closed", None),
    145: ("made outside a loop", None),
    146: ("used from a second loop", None),
    147: ("fork before the first call", None),
    148: ("fork between calls", None),
    149: ("fork during a call", None),
    150: ("pools of processes, pickling", None),
    151: ("64 threads on one client", None),
    152: ("called from its own loop's thread", None),
    153: ("synchronous call inside a running loop", None),
    154: ("the loop's thread dies", None),
    155: ("Ctrl-C during a synchronous call", None),
    156: ("other signals and exits during a call", None),
    157: ("timeout of a synchronous call", None),
    158: ("the end of the program, ten ways", None),
    159: (
        "thread ended in the middle of a write",
        "documented: a program that ends during a call cannot know whether the write was applied.",
    ),
    160: ("context variables across the bridge", None),
    161: ("errors across threads", None),
    162: ("no file descriptors left", None),
    163: ("no memory left while reading", None),
    164: ("other event loops and task factories", None),
    165: ("the user's own hook fails", None),
    # Load
    166: ("10,000 calls at once", None),
    167: ("10,000 calls cancelled at once", None),
    168: ("a stream of 1,000,000 writes", None),
    169: ("bad items, bad iterators, slow readers", None),
    170: ("two writes to one conversation", None),
    171: ("stopped half way and begun again", None),
    172: ("10,000 calls while the server is down", None),
    173: ("recovery after an outage", None),
    174: ("the retry budget under load", None),
    175: ("slow server and retries", None),
    176: ("a server that counts requests", None),
    177: ("two processes with one key", None),
    178: ("an hour of mixed faults", None),
    179: ("a million calls", None),
    # Supply
    180: ("versions of aiohttp with known holes", None),
    181: ("the next aiohttp behaves otherwise", None),
    182: (
        "parser in pure Python, python -O",
        "documented in docs/reliability.md: `.ci/run` and `.ci/nightly modes` run so.",
    ),
    183: ("tenacity's shared state", None),
    # A hostile reader
    184: ("answers that were there before the request", None),
    185: ("a server that always speaks first", None),
    186: ("a creation on a connection that has ended", None),
    187: ("a 404 from something in front of the API", None),
    188: ("a small answer with very many wrong rows", None),
    189: ("a limit on the wait for one outcome", None),
    190: ("a job that is cancelled twice", None),
    191: ("two updates of one record in a resumed job", None),
    192: ("closing that is itself cut off", None),
    193: ("one of several rate windows closed", None),
    194: ("calls cancelled before they left", None),
    195: ("a journal with very many settled items", None),
    196: ("the journal's other file removed or left behind", None),
    197: ("text by classes of the caller's own", None),
    198: ("host names that cannot be", None),
    199: ("paths that are no journal", None),
    200: ("results that this version does not know", None),
    201: ("the journal read while it is held", None),
    202: ("a journal that others can read", None),
    203: ("lengths and numbers beyond all bounds, from the caller", None),
    204: ("no thread to be had", None),
    205: ("threads that fail and begin at once", None),
    206: ("Retry-After of years", None),
    207: ("refusals that repeat what was sent", None),
    208: ("keys taken for ids, ids that no record can have", None),
    209: ("503 with a long Retry-After in a job", None),
    210: ("numbers in a raw answer that nobody keeps", None),
    211: ("the last reference to a client goes on another thread", None),
    212: ("base URLs with too much or too little", None),
    213: ("a deletion answered with nothing", None),
    # Reported by users of other clients
    232: ("two consumers of one job", None),
    233: ("a job that is dropped", None),
    234: ("a job asked from another loop", None),
    235: ("an input that the loop over outcomes fills", None),
    236: ("an input whose length is a query", None),
    237: ("an input that raises the client's own error", None),
    238: ("a set as input", None),
    239: ("a job that stops after items were done", None),
    240: ("Ctrl-C while waiting for an outcome", None),
    241: ("Ctrl-C within a job's input", None),
    242: ("Ctrl-C while a job is closed", None),
    243: ("SIGINT at any moment of a job", None),
    244: ("callbacks that nobody would await", None),
    245: ("callbacks that use the client", None),
    246: ("a job with more workers than connections", None),
    247: ("no asyncio loop, as under trio", None),
    248: ("on_progress uses what belongs to the caller's thread", None),
    249: ("an error that is somebody else's", None),
    250: ("no event loop can be made", None),
    251: ("a lookup that hangs, lookups at exit", None),
    252: ("a machine that sleeps while a job waits", None),
    253: ("mocks made from the client's class", None),
    254: ("type hints read at run time", None),
    255: ("a listing closed as iterators are", None),
    256: ("a datetime that is no moment", None),
    257: ("numpy's bool", None),
    258: ("titles that show nothing", None),
    259: ("errors rebuilt by task queues", None),
    260: ("a gateway's page in place of an answer", None),
    261: ("a limit of None, in two places", None),
    262: ("rows outside of the dates that were asked for", None),
    263: ("a cancellation that is not the job's own", None),
    264: ("a lost connection in the traces of a session", None),
    # The command
    300: ("standard output closed", None),
    301: ("standard output on a full disk", None),
    302: ("the reader of standard output leaves", None),
    303: ("standard error closed, full or unseen", None),
    304: ("standard input closed", None),
    305: ("characters that the output's encoding lacks", None),
    306: ("input without end, input that comes slowly", None),
    307: ("headings and other columns among ids", None),
    308: ("the last day of a range, impossible dates", None),
    309: ("escape sequences in what the server sends", None),
    310: ("line breaks within an id or a title", None),
    311: ("joiners, marks and overrides in titles", None),
    312: ("accents typed and stored differently", None),
    313: ("the terminal is closed during a job", None),
    314: ("which server a deletion would reach", None),
    315: ("another tool's variable names the server", None),
    316: ("a wait that cannot be told of", None),
    # A reader of lists
    320: ("lists of which most is hidden", None),
    321: ("a second page with nothing but known rows", None),
    322: ("action items without a date of creation", None),
    323: ("moments that no answer can bring back", None),
    324: ("bounds in the wrong order", None),
    325: (
        "waits for a row that are given up",
        "documented in conversations.md: they give up the request of the page as well",
    ),
    # Bulk jobs and journals
    340: ("a journal on another server", None),
    341: ("texts of an item that can be read only once", None),
    342: ("texts of an item in a set", None),
    343: ("something in between refuses a single item", None),
    344: ("a server that knows the path, but not the method", None),
    345: ("a journal of more items than the input has", None),
    346: ("client.request in a window that a method knows", None),
    347: ("Ctrl-C while an outcome is taken", None),
    # Answers that look like others
    360: ("a conflict after a part of the change", None),
    361: ("460 and 499: something in between did not wait", None),
    362: ("any object in place of a search's results", None),
    363: ("a text repeated within a URL, escaped, or cut", None),
    364: ("a whole number repeated as a float", None),
    365: ("a key given for a path, filter or name", None),
    366: ("a record under a new id after the change", None),
    367: ("a time zone that there is not", None),
    368: ("a missing scope that the request names", None),
}


def _is_mark(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(attr="scenario", value=ast.Attribute(attr="mark", value=ast.Name(id="pytest"))):
            return True
    return False


def _is_test(name: str) -> bool:
    return name.startswith(("test", "Test"))


class _Module:
    """One test file, read without running it."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        # Helpers that build parameters and pass the number on: name -> name and position of the argument.
        self._helpers: dict[str, tuple[str, int]] = {}
        functions = [node for node in self.tree.body if isinstance(node, ast.FunctionDef)]
        for node in functions * 2:  # twice, for helpers of helpers
            names = [argument.arg for argument in node.args.args]
            for call in ast.walk(node):
                for argument in self._arguments(call):
                    if isinstance(argument, ast.Name) and argument.id in names:
                        self._helpers[node.name] = argument.id, names.index(argument.id)

    def numbers(self, *nodes: ast.AST) -> set[int]:
        """The scenarios marked in there."""
        return {number for node in nodes for each in ast.walk(node) for number in self._numbers(each)}

    def _arguments(self, node: ast.AST) -> list[ast.expr]:
        """The arguments that are scenario numbers, if it is a call that takes such."""
        if not isinstance(node, ast.Call):
            return []
        if _is_mark(node):
            return node.args
        if isinstance(node.func, ast.Name) and node.func.id in self._helpers:
            name, position = self._helpers[node.func.id]
            named = [keyword.value for keyword in node.keywords if keyword.arg == name]
            return named or node.args[position : position + 1]
        return []

    def _numbers(self, node: ast.AST) -> Iterator[int]:
        for argument in self._arguments(node):
            match argument:
                case ast.Constant(value=int(number)):
                    yield number
                case ast.Starred(value=ast.Call(func=ast.Name(id="range")) as bounds):
                    yield from range(*[ast.literal_eval(bound) for bound in bounds.args])
                case ast.Name():  # handed on by a helper
                    pass
                case _:
                    raise ValueError("scenario numbers are written out, or as *range(first, end)")


def shown() -> dict[int, dict[str, set[str]]]:
    """Scenario number -> test file -> names of the tests, read from the sources without running them."""
    found: dict[int, dict[str, set[str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        module, name = _Module(path), path.relative_to(ROOT).as_posix()
        for node in module.tree.body:
            members = node.body if isinstance(node, ast.ClassDef) else []
            for each in (node, *members):
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and _is_test(each.name):
                    numbers, test = module.numbers(*each.decorator_list), {each.name}
                elif each is node:
                    numbers, test = module.numbers(node), set()  # pytestmark, a table of parameters, or a helper
                else:
                    continue
                for number in numbers:
                    found.setdefault(number, {}).setdefault(name, set()).update(test)
    return found


def _cell(number: int, tests: dict[str, set[str]]) -> str:
    reason = SCENARIOS[number][1]
    parts = [reason] if reason else []
    for name, functions in sorted(tests.items()):
        parts.append(f"`{name.removeprefix('tests/')}`{': ' if functions else ''}{', '.join(sorted(functions))}")
    return "; ".join(parts) if len(parts) < 2 or not reason else f"{parts[0]} {'; '.join(parts[1:])}"


def table() -> list[str]:
    """The lines of the table."""
    tests = shown()
    rows = [f"| {number} | {SCENARIOS[number][0]} | {_cell(number, tests.get(number, {}))} |" for number in SCENARIOS]
    return [*_HEAD, *rows]


def rows(page: str) -> dict[int, str]:
    """Number -> third cell, of the table in a page."""
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in page.splitlines() if "|" in line]
    return {int(cell[0]): cell[2] for cell in cells if len(cell) == 3 and cell[0].isdigit()}


def filled(page: str) -> str:
    """The page with its table renewed; one without a table gets it at its end."""
    lines = page.rstrip("\n").splitlines()
    first = next((index for index, line in enumerate(lines) if line.startswith("| number |")), None)
    if first is None:
        return "\n".join([*lines, *([""] if lines else []), *table(), ""])
    end = next((index for index in range(first, len(lines)) if not lines[index].startswith("|")), len(lines))
    return "\n".join([*lines[:first], *table(), *lines[end:], ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.catalogue", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="renew the table in docs/faults.md")
    parser.add_argument("--missing", action="store_true", help="list the scenarios without a test or a reason")
    arguments = parser.parse_args()
    if arguments.missing:
        tests = shown()
        for number, (title, reason) in SCENARIOS.items():
            if number not in tests and reason is None:
                print(number, title)
    elif arguments.write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""), encoding="utf-8")
    else:
        print("\n".join(table()))


if __name__ == "__main__":
    main()
