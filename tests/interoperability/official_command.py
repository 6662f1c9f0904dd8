"""The vendor's own command-line client, `omi-cli`, and one round of all its commands with each generation."""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from omi_sync import Sandbox

# It forgets to ask for click, and does not work with every later typer.
PACKAGES = ("omi-cli==0.2.3", "typer<0.28", "click")

GROUPS = ("memory", "conversation", "action-item", "goal")

GENERATIONS: tuple[Literal["newest", "2026-05"], ...] = ("newest", "2026-05")

Run = Callable[..., Any]
"""Runs a command with its arguments, and returns the JSON that it writes."""


def check() -> Iterator[str]:
    """Give a sentence for each command that does not do its work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        subprocess.run([programs / "python", "-m", "pip", "install", "-q", *PACKAGES], check=True)
        commands = _commands(programs)
        for generation in GENERATIONS:
            yield from _round(folder, programs, commands, generation)


def _commands(programs: Path) -> set[str]:
    listing = (
        "import typer.main; from omi_cli.main import app; groups = typer.main.get_command(app).commands; "
        f"print(*(f'{{name}} {{each}}' for name in {GROUPS} for each in groups[name].commands), sep='\\n')"
    )
    done = subprocess.run([programs / "python", "-c", listing], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def _round(folder: Path, programs: Path, commands: set[str], generation: Literal["newest", "2026-05"]) -> Iterator[str]:
    done: set[str] = set()
    with Sandbox(write_limit=None, generation=generation) as sandbox:
        environment = {
            **os.environ,
            "OMI_API_BASE": sandbox.url,
            "OMI_API_KEY": sandbox.api_key,
            # A file that is not there, so that no profile of this machine counts.
            "OMI_CONFIG": str(folder / "config.toml"),
        }

        def run(*words: str, given: str = "") -> Any:
            finished = subprocess.run(
                [programs / "omi", "--json", *words],
                env=environment,
                input=given,
                capture_output=True,
                text=True,
                timeout=60,
            )
            if finished.returncode != 0:
                raise RuntimeError(f"exit code {finished.returncode}: {finished.stderr.strip()}")
            done.add(" ".join(words[:2]))
            return json.loads(finished.stdout) if finished.stdout.strip() else None

        for story in (_memories, _conversations, _action_items, _goals):
            try:
                story(run, sandbox, folder)
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[1].line
                yield f"{generation}, {story.__name__.strip('_')}: {type(error).__name__}: {error} in {line}"
    for name in sorted(commands - done):
        yield f"{generation}: {name} was not run to its end"
    print(f"official command, {generation}: {len(done)} commands")


def _memories(run: Run, sandbox: Sandbox, _: Path) -> None:
    created = run("memory", "create", "Bakes bread.", "--category", "skills", "--tag", "food", "--tag", "home")
    record = sandbox.memories[created["id"]]
    assert ("Bakes bread.", "skills", ("food", "home")) == (record.content, record.category, record.tags)
    assert created["id"] in {each["id"] for each in run("memory", "list", "--categories", "skills")}
    assert "Bakes bread." == run("memory", "get", created["id"])["content"]
    run("memory", "update", created["id"], "--content", "Bakes cake.", "--visibility", "public", "--tag", "sweet")
    record = sandbox.memories[created["id"]]
    assert ("Bakes cake.", "public", ("sweet",)) == (record.content, record.visibility, record.tags)
    run("memory", "delete", created["id"], "--yes")
    assert created["id"] not in sandbox.memories


def _conversations(run: Run, sandbox: Sandbox, folder: Path) -> None:
    created = run("conversation", "create", "--text", "-", "--text-source-spec", "email", given="Bread and butter.")
    assert "Bread and butter." == sandbox.conversations[created["id"]].overview
    file = folder / "segments.json"
    file.write_text(json.dumps({"transcript_segments": [{"text": "Hello.", "start": 0.0, "end": 1.5}]}))
    spoken = run("conversation", "from-segments", str(file), "--source", "phone")
    assert "phone" == sandbox.conversations[spoken["id"]].source
    assert {created["id"], "conv_design"} <= {
        each["id"] for each in run("conversation", "list", "--include-transcript")
    }
    listed = run("conversation", "list", "--end-date", "2026-09-20T00:00:00", "--categories", "design")
    assert ["conv_design"] == [each["id"] for each in listed]
    whole = run("conversation", "get", "conv_standup", "--include-transcript")
    assert 2 == len(whole["transcript_segments"])
    run("conversation", "update", created["id"], "--title", "Breakfast", "--discarded")
    record = sandbox.conversations[created["id"]]
    assert ("Breakfast", True) == (record.title, record.discarded)
    run("conversation", "delete", created["id"], "--yes")
    assert created["id"] not in sandbox.conversations


def _action_items(run: Run, sandbox: Sandbox, _: Path) -> None:
    created = run("action-item", "create", "Buy flour.", "--due-at", "2026-12-01T10:00:00")
    record = sandbox.action_items[created["id"]]
    assert ("Buy flour.", False) == (record.description, record.completed)
    assert "2026-12-01T10:00:00+00:00" == str(record.due_at).replace(" ", "T")
    assert created["id"] in {each["id"] for each in run("action-item", "list", "--open")}
    assert "Buy flour." == run("action-item", "get", created["id"])["description"]
    run("action-item", "update", created["id"], "--description", "Buy sugar.")
    assert "Buy sugar." == sandbox.action_items[created["id"]].description
    run("action-item", "complete", created["id"])
    assert sandbox.action_items[created["id"]].completed
    assert created["id"] in {each["id"] for each in run("action-item", "list", "--completed")}
    run("action-item", "delete", created["id"], "--yes")
    assert created["id"] not in sandbox.action_items


def _goals(run: Run, sandbox: Sandbox, _: Path) -> None:
    created = run("goal", "create", "Bake", "--target", "12", "--type", "numeric", "--max", "20", "--unit", "loaves")
    record = sandbox.goals[created["id"]]
    assert record.metric is not None
    assert ("Bake", "numeric", 12.0) == (record.title, record.metric["type"], record.metric["target"])
    assert created["id"] in {each["id"] for each in run("goal", "list", "--include-inactive")}
    run("goal", "update", created["id"], "--title", "Bake more", "--target", "15")
    changed = run("goal", "get", created["id"])
    assert ("Bake more", 15.0) == (changed["title"], changed["target_value"])
    run("goal", "progress", created["id"], "3")
    assert 3.0 == run("goal", "get", created["id"])["current_value"]
    assert [3.0] == [each["value"] for each in run("goal", "history", created["id"], "--days", "7")]
    run("goal", "delete", created["id"], "--yes")
    # The newest server keeps it, as one that was given up.
    assert created["id"] not in sandbox.goals or not sandbox.goals[created["id"]].is_active
