"""Believable conversations in numbers, and a clock that several processes share."""

import itertools
import mmap
import random
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from omi_async.sandbox import SandboxConversation

NEWEST = datetime(2026, 9, 1, 12, 30, 15, 250_000, tzinfo=UTC)

_SYLLABLES = re.findall("..", "taremisolaverconpreingedanthealistionatenesmentlyful")


class Vocabulary:
    """Words as often as in a language: the tenth most usual one a tenth as often as the first."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self.words = [
            "".join(self._draw.choices(_SYLLABLES, k=self._draw.choice((1, 2, 2, 3, 4)))) for _ in range(20000)
        ]
        self._weights = list(itertools.accumulate(1 / (place + 3) for place in range(len(self.words))))

    def text(self, words: int) -> str:
        return " ".join(self._draw.choices(self.words, cum_weights=self._weights, k=words))


def conversations(count: int, *, words: int = 20, every: timedelta = timedelta(hours=1)) -> list[SandboxConversation]:
    """So many conversations, the newest first, each with a transcript of so many words."""
    vocabulary, draw = Vocabulary(1), random.Random(2)
    made = []
    for number in range(count):
        segments, at, left = [], 0.0, words
        while left > 0:
            said = min(left, draw.randint(5, 40))
            left -= said
            segments.append(
                {
                    "id": f"{draw.getrandbits(128):032x}",
                    "text": vocabulary.text(said),
                    "speaker_id": draw.randrange(3),
                    "start": round(at, 2),
                    "end": round(at + 0.4 * said, 2),
                }
            )
            at += 0.45 * said
        moment = NEWEST - number * every
        made.append(
            SandboxConversation(
                id=f"conv_{number}",
                created_at=moment,
                started_at=moment,
                finished_at=moment + timedelta(seconds=at + 1),
                title=vocabulary.text(5),
                overview=vocabulary.text(40),
                transcript_segments=segments,
            )
        )
    return made


class SharedClock:
    """A clock in a file: whoever sleeps on it moves it, and all processes that have the file see that."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), 8)

    def __call__(self) -> float:
        return float(struct.unpack("d", self._memory[:8])[0])

    async def sleep(self, seconds: float) -> None:
        self._memory[:8] = struct.pack("d", self() + seconds)

    def close(self) -> None:
        self._memory.close()
        self._file.close()


@contextmanager
def shared_clock(file: Path) -> Iterator[SharedClock]:
    """A new clock in a file."""
    file.write_bytes(struct.pack("d", 1000.0))
    clock = SharedClock(file)
    try:
        yield clock
    finally:
        clock.close()
