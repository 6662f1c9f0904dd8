"""Serves a sandbox until it is stopped: `python -m omi_async.sandbox --port N`."""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omi_async.sandbox.allowance import USUAL_WRITE_LIMIT
from omi_async.sandbox.faults import read_fault
from omi_async.sandbox.records import read_records
from omi_async.sandbox.server import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted and return the exit code: 0 after Ctrl-C or SIGTERM, 1 if the port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m omi_async.sandbox", description="Serve a loopback Omi server for trying things out."
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    parser.add_argument(
        "--write-limit",
        type=_limit,
        default=USUAL_WRITE_LIMIT,
        metavar="N|none",
        help="writes an hour and key (default %(default)s)",
    )
    for kind in ("read", "transcript"):
        parser.add_argument(
            f"--{kind}-limit",
            type=_limit,
            default=None,
            metavar="N|none",
            help=f"{kind}s an hour and key (default none)",
        )
    parser.add_argument(
        "--generation",
        choices=("newest", "2026-05"),
        default="newest",
        help="the server that is played (default %(default)s)",
    )
    parser.add_argument(
        "--fail",
        type=_fault,
        action="append",
        default=[],
        metavar="JSON",
        help='a fault to play, such as \'{"status": 503, "times": 2}\'; may be given several times',
    )
    parser.add_argument(
        "--records",
        type=_records,
        default={},
        metavar="FILE",
        help='records to begin with, in JSON by kind: {"conversations": [{"id": "conv_1", "title": "One"}]}',
    )
    parser.add_argument(
        "--log", action="store_true", help="show each request on standard error, without keys and texts"
    )
    options = parser.parse_args(arguments)
    if options.log:
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        logging.getLogger("omi_async.sandbox").setLevel(logging.DEBUG)
    try:
        sandbox = Sandbox(
            **options.records,
            host=options.host,
            port=options.port,
            write_limit=options.write_limit,
            read_limit=options.read_limit,
            transcript_limit=options.transcript_limit,
            generation=options.generation,
        )
        for fault in options.fail:
            sandbox.fail(**fault)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(sandbox))
    except KeyboardInterrupt:
        # Only where the loop cannot take signals, as on Windows.
        return 0
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(sandbox: Sandbox) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has KeyboardInterrupt instead
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with sandbox:
        url, key = sandbox.url, sandbox.api_key
        # Flushed, so that a parent process reading a pipe sees it at once.
        print(f"Omi sandbox on {url}", flush=True)
        print(f"export OMI_API_KEY={key}", flush=True)
        print(f"export OMI_API_BASE={url}", flush=True)
        print(f"read-only key  {sandbox.read_only_key}", flush=True)
        print(f"conversations  {' '.join(sandbox.conversations)}", flush=True)
        print(
            f"try            curl -X PATCH {url}/v1/dev/user/conversations/conv_standup"
            f" -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
            ' -d \'{"title": "Weekly planning"}\'',
            flush=True,
        )
        print("Ctrl-C stops it.", flush=True)
        await stopped.wait()


def _records(path: str) -> dict[str, Any]:
    try:
        return read_records(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from None


def _fault(text: str) -> dict[str, Any]:
    """Return a fault as the arguments of `Sandbox.fail`."""
    try:
        document: dict[str, Any] = json.loads(text)
        read_fault(document)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return document


def _limit(text: str) -> int | None:
    try:
        return None if text.lower() == "none" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a whole number or none") from None


if __name__ == "__main__":
    sys.exit(main())
