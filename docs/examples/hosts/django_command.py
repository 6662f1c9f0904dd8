"""A management command, the file `management/commands/hide.py` of one of the project's applications.

python manage.py hide ids.txt
"""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from omi_sync import ConversationUpdate, OmiClient


class Command(BaseCommand):
    help = "Hide the conversations whose ids are in a file. Interrupted, the same command goes on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **_: object) -> None:
        updates = [ConversationUpdate(conversation_id, discarded=True) for conversation_id in file.read_text().split()]
        with OmiClient() as omi, omi.conversations.update_many(updates, journal=file.with_suffix(".db")) as job:
            failed = [f"{outcome.id}: {outcome.error}" for outcome in job if outcome.error]
        self.stdout.write(f"{job.progress.done} of {job.progress.total} hidden, {job.progress.resumed} settled before")
        if failed:
            raise CommandError("\n".join(failed))
