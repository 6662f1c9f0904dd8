"""Delete conversations of several users at once: a Dask cluster gets one task, and one journal, for each key.

The server's window belongs to a key, so one key's items stay together; the keys do not wait for each other.

    pip install distributed
    OMI_ANN_KEY=... OMI_BEN_KEY=... python docs/examples/many_keys.py work.json journals/

`work.json` says what to delete, `{"ann": ["conv_1", ...], "ben": [...]}`. Tasks carry names and ids only: each worker
takes the keys from its own environment. Interrupted, the same command goes on where the journals end; the directory
must be one that all workers share.
"""

import json
import os
import sys
from pathlib import Path

from distributed import Client, LocalCluster, as_completed

from omi_sync import BulkOutcome, BulkProgress, Deletion, OmiClient


def delete(user: str, ids: list[str], journals: str) -> tuple[str, BulkProgress, list[BulkOutcome[Deletion]]]:
    """All of one key. Dask may run it again after it lost a worker: what was settled is not sent again."""
    key, base_url = os.environ[f"OMI_{user.upper()}_KEY"], os.environ.get(f"OMI_{user.upper()}_BASE")
    with (
        OmiClient(key, base_url=base_url) as omi,
        omi.conversations.delete_many(ids, journal=Path(journals, f"{user}.db")) as job,
    ):
        open_ends = [outcome for outcome in job if outcome.error is not None]
    return user, job.progress, open_ends


def main(work: str, journals: str) -> None:
    Path(journals).mkdir(parents=True, exist_ok=True)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as dask,
    ):
        tasks = [
            # pure=False: a second run is a second run, and not the remembered result of the first.
            dask.submit(delete, user, ids, journals, pure=False, retries=3)
            for user, ids in json.loads(Path(work).read_text()).items()
        ]
        for _, (user, progress, open_ends) in as_completed(tasks, with_results=True):
            print(f"{user}: {progress.settled} of {progress.total} settled, {progress.resumed} of them before")
            for outcome in open_ends:
                print(f"  {outcome.id}: {outcome.status}. {outcome.error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
