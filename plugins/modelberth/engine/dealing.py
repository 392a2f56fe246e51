"""Deals out the chunks of a sync: each is fetched from the bucket, or taken from the claim where that holds it.

Both kinds are under way at once, so the network is used while the claim is copied, and the rates of both are known
under the same load. What the claim holds is fetched only if the claim proves to be slow and the bucket faster
(:func:`modelberth.core.choices.take_from`).
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.choices import PROBE, From, Pace, take_from
from modelberth.core.chunks import CHUNK_SIZE, Run, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelberth.engine.reuse import Missing


@dataclass(frozen=True, slots=True)
class Task:
    """Chunks of a file, and the side that they shall come from."""

    number: int
    run: Run
    side: From


class Dealing:
    """The tasks of a sync, to be drawn by several threads, one at a time.

    :param holds: Whether the claim holds a chunk, by its file's number and its own.
    :param streams: How many threads draw.
    """

    def __init__(self, missing: Missing, holds: Callable[[int, int], bool], streams: int) -> None:
        chunks = [(number, index) for number, indexes in missing.items() for index in indexes]
        self._held = deque(chunk for chunk in chunks if holds(*chunk))
        self._streams = streams
        self._asked = 0
        self._to_fetch: deque[Task] = deque()
        self._ask_for([chunk for chunk in chunks if not holds(*chunk)])
        self._moved = dict.fromkeys((From.CLAIM, From.BUCKET), 0)
        self._seconds = dict.fromkeys((From.CLAIM, From.BUCKET), 0.0)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Task]:
        """Yield one to fetch and one to take in turn, as long as there are both."""
        while self._held or self._to_fetch:
            if self._held:
                self._reconsider()
            if self._to_fetch:
                yield self._to_fetch.popleft()
            if self._held:
                number, index = self._held.popleft()
                yield Task(number, Run(index, 1), From.CLAIM)

    def _reconsider(self) -> None:
        """Let what the claim holds be fetched, where that is better."""
        left = len(self._held) * CHUNK_SIZE
        match take_from(self._pace(From.CLAIM), self._pace(From.BUCKET), self._asked, left):
            case From.PROBE:
                self._ask_for([self._held.popleft() for _ in range(PROBE // CHUNK_SIZE)])
            case From.BUCKET:
                self._ask_for(list(self._held))
                self._held.clear()

    def _pace(self, side: From) -> Pace:
        with self._lock:
            moved, seconds = self._moved[side], self._seconds[side]
        return Pace(moved, moved * self._streams / seconds if seconds else 0.0)

    def came(self, side: From, count: int, seconds: float) -> None:
        """Note that *count* bytes came, which took one thread *seconds*."""
        with self._lock:
            self._moved[side] += count
            self._seconds[side] += seconds

    def _ask_for(self, chunks: list[tuple[int, int]]) -> None:
        """Let *chunks*, which are in order, be fetched."""
        self._asked += len(chunks) * CHUNK_SIZE
        left = len(chunks)
        of_files: dict[int, list[int]] = {}
        for number, index in chunks:
            of_files.setdefault(number, []).append(index)
        for number, indexes in of_files.items():
            self._to_fetch.extend(Task(number, run, From.BUCKET) for run in runs(indexes, left, self._streams))
            left -= len(indexes)
