"""A job for cron, which deletes the conversations whose ids are in a file.

0 * * * *  cd omi && OMI_API_KEY=$(cat key) .venv/bin/python cron_job.py ids.txt
"""

import os
import sys
from pathlib import Path

from omi_sync import OmiClient, OmiError, is_retryable


def main(path: Path) -> int:
    code = 0
    with OmiClient() as omi:
        try:
            ids, journal = path.read_text().split(), path.with_suffix(".db")
            for outcome in omi.conversations.delete_many(ids, journal=journal, wait=False):
                if outcome.error:
                    print(f"{outcome.id}: {outcome.error}", file=sys.stderr)
                    code = os.EX_TEMPFAIL if is_retryable(outcome.error) else code or 1
        except OmiError as error:  # it stopped: a closed window, a refused key, another run with the journal
            print(error, file=sys.stderr)
            return os.EX_TEMPFAIL if is_retryable(error) else os.EX_CONFIG
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
