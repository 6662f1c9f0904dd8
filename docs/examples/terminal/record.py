"""Record the session of docs/command.md: the real command, on a terminal of its own, against a sandbox.

    python docs/examples/terminal/record.py

writes session.txt and session.svg beside this file. What is shown is what a terminal shows in the end, and for
the command that waits also what it showed meanwhile. Needs the extra `cli`, and a system with pseudo-terminals.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from omi_async.sandbox import SandboxConversation
from omi_sync import Sandbox

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WIDTH = 100
LIMIT = 30.0  # seconds that a command gets to say what is expected of it

SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


class Screen:
    """What a terminal makes of a command's output: cells with their styles, as many rows as there are."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[str, str]]] = [[]]
        self.row = self.column = 0
        self.style = ""
        self._rest = ""

    def feed(self, text: str) -> None:
        text, self._rest = self._rest + text, ""
        at = 0
        while at < len(text):
            found = SEQUENCE.match(text, at)
            if found:
                self.control(found[1], found[2])
                at = found.end()
            elif text[at] == "\x1b" and len(text) - at < 16:  # the rest of it is still to come
                self._rest = text[at:]
                return
            else:
                self.put(text[at])
                at += 1

    def put(self, character: str) -> None:
        match character:
            case "\r":
                self.column = 0
            case "\n":
                self.row += 1
                if self.row == len(self.rows):
                    self.rows.append([])
            case "\b":
                self.column = max(0, self.column - 1)
            case _ if character.isprintable():
                if self.column == WIDTH:
                    self.put("\r")
                    self.put("\n")
                row = self.rows[self.row]
                row.extend([(" ", "")] * (self.column + 1 - len(row)))
                row[self.column] = (character, self.style)
                self.column += 1
            case _:
                raise ValueError(f"unexpected control character {character!r}")

    def control(self, values: str, name: str) -> None:
        match name, values:
            case "m", _:
                self.style = "" if values in ("", "0") else f"{self.style}\x1b[{values}m"
            case "A", _:
                self.row = max(0, self.row - int(values or 1))
            case "K", "2":
                self.rows[self.row] = []
            case (("h" | "l"), "?25"):  # the cursor is shown or hidden
                pass
            case _:
                raise ValueError(f"unexpected control sequence {values}{name}")

    def plain(self) -> str:
        lines = ["".join(character for character, _ in row).rstrip() for row in self.rows]
        return "\n".join(lines).rstrip("\n")

    def styled(self) -> str:
        lines = ["".join(f"{style}{character}\x1b[0m" for character, style in row).rstrip() for row in self.rows]
        return "\n".join(lines).rstrip("\n")


class Session:
    """The commands one after the other, and all that was seen of them."""

    def __init__(self, directory: str, environment: dict[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self.plain: list[str] = []
        self.styled: list[str] = []

    def say(self, text: str) -> None:
        self.plain.append(text)
        self.styled.append(f"\x1b[2m{text}\x1b[0m")

    def show(self, screen: Screen) -> None:
        self.plain.append(screen.plain())
        self.styled.append(screen.styled())

    def run(self, line: str, wanted: str = "", keys: str = "", *, pause: float = 0.0) -> None:
        """Run a command; when the wanted text is there, and after a pause, the keys are pressed.

        With a pause, what the screen shows at its end is part of the session.
        """
        self.plain.append(f"$ {line}")
        self.styled.append(f"\x1b[1m$ {line}\x1b[0m")
        name, *arguments = shlex.split(line)
        if name != "omi-conversations":
            self.plain.append(subprocess.check_output([name, *arguments], cwd=self._directory, text=True).rstrip())
            self.styled.append(self.plain[-1])
            return
        process, terminal = self._start(arguments)
        screen, decoder = Screen(), codecs.getincrementaldecoder("utf-8")()
        end = time.monotonic() + LIMIT + pause
        seen = 0.0
        while True:
            if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{line}: it never came, on the screen is\n{screen.plain()}")
            try:
                data = os.read(terminal, 65536)
            except OSError:  # the command has closed its side
                break
            if not data:
                break
            screen.feed(decoder.decode(data))
            if keys and wanted in screen.plain():
                seen = seen or time.monotonic()
                if time.monotonic() < seen + pause:
                    continue
                if pause:
                    self.show(screen)
                    self.say("[a minute later, Ctrl-C]")
                    screen = Screen()
                os.write(terminal, keys.encode())
                keys = ""
        process.wait()
        os.close(terminal)
        self.show(screen)
        self.say(f"[exit code {process.returncode}]\n")

    def _start(self, arguments: Sequence[str]) -> tuple["subprocess.Popen[bytes]", int]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))

        process = subprocess.Popen(
            # Its own session, with the terminal as the one that Ctrl-C is typed on.
            [sys.executable, "-c", LEAD, sys.executable, "-m", "omi_sync", *arguments],
            cwd=self._directory,
            env=self._environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        return process, ours


LEAD = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def main() -> None:
    """Play the story and write it down."""
    passed = [0.0]  # seconds that the sandbox believes to have gone by
    names = ["conv_standup", *(f"conv_test_{number}" for number in range(1, 9)), "conv_locked", "conv_noise"]
    conversations = [SandboxConversation(id=name, title="Test", locked=name == "conv_locked") for name in names]
    sandbox = Sandbox(conversations, write_limit=6, clock=lambda: time.monotonic() + passed[0])
    with tempfile.TemporaryDirectory() as directory, sandbox:
        Path(directory, "junk.txt").write_text("# from my notes\n" + "\n".join(names[1:-1]) + "\n", encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMI_", "NO_COLOR"))}
        environment.update(
            OMI_API_KEY=sandbox.api_key,
            OMI_API_BASE=sandbox.url,
            PYTHONPATH=str(ROOT),
            TERM="xterm-256color",
            COLORTERM="truecolor",
        )
        session = Session(directory, environment)
        session.run('omi-conversations rename conv_standup "Release plan"')
        session.run("cat junk.txt")
        session.say("")
        hide = "omi-conversations hide --from junk.txt --journal junk.db"
        session.run(hide, "window reopens at", "\x03", pause=61.0)
        session.say("[an hour later]\n")
        passed[0] += 3600.0
        session.run(hide)
        passed[0] += 3600.0
        session.run("omi-conversations delete conv_noise --keep kept.db", "[y/N]", "y\n")
    text = "\n".join(line for line in session.plain) + "\n"
    (HERE / "session.txt").write_text(re.sub(r"\n{3,}", "\n\n", text), encoding="utf-8")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        styled = re.sub(r"\n{3,}", "\n\n", "\n".join(session.styled))
        console.print(Text.from_ansi(styled), soft_wrap=True)
        picture = console.export_svg(title="omi-conversations", unique_id="session")
    # Without the fonts that it would fetch from elsewhere.
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    (HERE / "session.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
