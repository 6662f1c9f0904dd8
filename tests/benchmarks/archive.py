"""How long a search in a large archive takes: `python -m tests.benchmarks.archive`.

It makes an archive of 20,000 conversations with 10 million words, and searches for words that are in few of them, in
many and in all. Shown are the median and the best of the turns, by the clock and in processor time.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import omi_sync
from omi_async.archive.documents import of_text
from omi_async.archive.rows import now, store, writing
from tests.support.archives import Vocabulary, conversations

_PORTION = 1000


def _fill(archive: omi_sync.Archive, count: int, words: int) -> int:
    """Fill an archive, and return how many bytes of JSON are in it."""
    size = 0

    def work(connection: sqlite3.Connection) -> None:
        with writing(connection):
            for text in texts:
                store(connection, of_text(text, has_transcript=True), now())

    made = conversations(count, words=words)
    for start in range(0, count, _PORTION):
        portion = made[start : start + _PORTION]
        texts = [json.dumps(each.to_json(include_transcript=True), ensure_ascii=False) for each in portion]
        size += sum(len(text.encode()) for text in texts)
        archive._bridge.run(archive._bridge.target._run(work))
    return size


def main() -> None:
    """Make the archive and search in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.archive")
    parser.add_argument("--conversations", type=int, default=20000)
    parser.add_argument("--words", type=int, default=500, help="of each transcript")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--archive", type=Path, help="one to go on using; made if it is not there")
    options = parser.parse_args()
    usual = Vocabulary(1).words
    queries = {
        "a rare word": next(word for word in reversed(usual) if len(word) > 7),
        "a word of one in twenty": usual[1000],
        "two words": f"{usual[50]} {usual[300]}",
        "a word of most": usual[50],
        "the most usual word": usual[0],
        "the two most usual words": f"{usual[0]} {usual[1]}",
        "these as a phrase": f'"{usual[0]} {usual[1]}"',
        "a beginning": "pre*",
    }
    with tempfile.TemporaryDirectory() as directory:
        file = options.archive or Path(directory) / "archive.db"
        is_new = not file.exists()
        with omi_sync.Archive(file) as archive:
            if is_new:
                size = _fill(archive, options.conversations, options.words)
                print(f"{size / 2**20:.0f} MiB of JSON, {file.stat().st_size / 2**20:.0f} MiB of archive")
            print(f"{archive.count()} conversations\n")
            print("| search for | found on the first page | median, ms | best, ms | processor, median, ms | best, ms |")
            print("|---|---:|---:|---:|---:|---:|")
            for name, query in queries.items():
                clock, processor = [], []
                for _ in range(options.turns):
                    began, worked = time.perf_counter(), time.process_time()
                    found = len(archive.search(query))
                    clock.append((time.perf_counter() - began) * 1000)
                    processor.append((time.process_time() - worked) * 1000)
                print(
                    f"| {name} | {found} | {statistics.median(clock):.1f} | {min(clock):.1f} "
                    f"| {statistics.median(processor):.1f} | {min(processor):.1f} |"
                )


if __name__ == "__main__":
    main()
