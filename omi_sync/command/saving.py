"""The command that fills an archive: save."""

import time
from contextlib import ExitStack
from datetime import datetime, timedelta

from omi_async import OmiError, RateLimitError, SaveResult

from ..archive import Archive
from ..client import OmiClient
from . import voices
from .archives import file_of
from .client import connect, server
from .interrupts import Interrupts
from .voices import Lines
from .words import OK, SAVE, Problem, clock, exit_code, local, usage, why_stopped, worth_another_run

_sleep = time.sleep


def save(
    *,
    archive: str | None,
    every: float | None,
    full: bool,
    no_wait: bool,
    as_json: bool,
    sandbox: bool,
    base_url: str | None,
    proxy: str | None,
) -> int:
    """Carry a command line out, and return the exit code."""
    voice = voices.choose(SAVE, as_json=as_json, dry_run=False)
    pausing = False
    with voice, Interrupts(voice) as interrupts:
        try:
            server(sandbox=sandbox, base_url=base_url, proxy=proxy)
            if sandbox and archive is None:
                raise usage("--sandbox needs --archive: an archive belongs to a server, and this one ends.")
            with ExitStack() as stack:
                client = connect(stack, voice, sandbox=sandbox, base_url=base_url, proxy=proxy, wait=not no_wait)
                opened = stack.enter_context(Archive(file_of(archive)))
                while True:
                    error = _pull(client, opened, voice, full=full, wait=not no_wait)
                    if every is None or not (error is None or _may_pass(error)):
                        return OK if error is None else exit_code(error)
                    pausing = error is None
                    again = datetime.now().astimezone() + timedelta(minutes=every)
                    voice.notice(f"The next time is at {clock(again)}.")
                    _sleep(every * 60)
                    pausing = False
        except Problem as problem:
            voice.error(problem.name, str(problem))
            return problem.code
        except KeyboardInterrupt:
            voice.end()
            voice.error("Interrupted", "Stopped. What was saved is kept; the same command goes on from there.")
            return OK if pausing else interrupts.code


def _may_pass(error: OmiError) -> bool:
    return isinstance(error, RateLimitError) or worth_another_run(error)


def _pull(client: OmiClient, archive: Archive, voice: Lines, *, full: bool, wait: bool) -> OmiError | None:
    """Save what there is, and report it; the error that ended it early, if one did."""
    voice.begin(None)
    try:
        result = client.conversations.save_to(archive, full=full, on_progress=voice.progress, wait=wait)
    except OmiError as error:
        voice.end()
        voice.error(type(error).__name__, f"Stopped: {why_stopped(error)}")
        return error
    voice.end()
    _report(result, voice)
    return None


def _report(result: SaveResult, voice: Lines) -> None:
    for word, ids in (("missing", result.missing), ("failed", result.failed)):
        for each in ids:
            voice.entry(word, "id", each)
    for gap in result.gaps:
        between = f"between {local(gap.oldest):%Y-%m-%d %H:%M} and {local(gap.newest):%Y-%m-%d %H:%M}"
        voice.notice(f"The server withholds conversations {between}: locked ones, most often.")
    facts: dict[str, object] = {name: getattr(result, name) for name in ("new", "changed", "unchanged", "requests")}
    facts.update(missing=len(result.missing), failed=len(result.failed), gaps=len(result.gaps))
    text = f"{result.new} new, {result.changed} changed, {result.unchanged} unchanged"
    if result.missing:
        text += f", {len(result.missing)} not in the server's list any more (the archive keeps them)"
    if result.failed:
        text += f", {len(result.failed)} that the server lists and does not give"
    voice.summary(f"{text}.", facts)
