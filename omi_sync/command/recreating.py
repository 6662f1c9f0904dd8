"""The command that makes conversations of the copies in an archive."""

import json
import sys

from ..archive import Archive
from ..client import OmiClient
from .archives import existing
from .streams import write
from .voices import Lines
from .words import one_line


def recreate(client: OmiClient, voice: Lines, ids: tuple[str, ...], *, archive: str | None, as_json: bool) -> None:
    """Recreate conversations, one after the other; an error ends it."""
    with Archive(existing(archive)) as opened:
        for each in dict.fromkeys(ids):
            try:
                made = client.conversations.recreate(opened, each)
            except BaseException:
                voice.notice(f"Not recreated: {one_line(each)}")
                raise
            if as_json:
                facts = {"id": made.id, "recreated_from": each, "status": made.status, "differences": made.differences}
                write(sys.stdout, json.dumps({"action": "recreate", **facts}))
            elif made.conversation is None:
                voice.notice(
                    f"gone     {one_line(each)}: it was recreated and then deleted; the server does not repeat that."
                )
            else:
                changed = ", ".join(made.differences)
                write(sys.stdout, f"recreated {one_line(each)} as {one_line(made.id)}; not as before: {changed}")
