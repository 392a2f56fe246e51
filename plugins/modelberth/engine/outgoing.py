"""One file of an upload on its way into the bucket, part by part, digested in the same pass."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from modelberth.core.chunks import CHUNK_SIZE, Run, parts
from modelberth.core.failure import Failure
from modelberth.engine.describe import Digesting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelberth.engine.scan import SourceFile
    from modelberth.engine.stores import Store, Stored, Writing

log = logging.getLogger(__name__)

MOST_PARTS = 9_000
"""S3 takes 10,000."""


class Outgoing:
    """One file on its way."""

    def __init__(self, store: Store, file: SourceFile, key: str) -> None:
        self.digesting = Digesting(file, "blake3", store.checksum)
        self.key = key
        self.runs: list[Run] = parts(file.size, self.digesting.head, CHUNK_SIZE, MOST_PARTS)
        self._store = store
        self._writing: Writing | None = None
        self._lock = threading.Lock()
        self._left = max(len(self.runs), 1)

    def _begun(self) -> Writing:
        with self._lock:
            if self._writing is None:
                self._writing = self._store.write(self.key, [self._size(run) for run in self.runs])
            return self._writing

    def _size(self, run: Run) -> int:
        return sum(span.length for span in self.digesting.spans[run.first : run.first + run.count])

    def send_part(self, number: int) -> int:
        """Read, digest and send a part; return its bytes."""
        run = self.runs[number]
        data = bytearray(self._size(run))
        position = 0
        for index in range(run.first, run.first + run.count):
            length = self.digesting.spans[index].length
            self.digesting.read(index, memoryview(data)[position : position + length])
            position += length
        checksum = self.digesting.checksum
        self._begun().send(number, memoryview(data), checksum.of(data) if checksum else 0)
        return len(data)

    def is_complete(self, count: int) -> bool:
        """Count *count* parts as sent; say whether they were the last."""
        with self._lock:
            self._left -= max(count, 1)
            return not self._left

    def finish(self) -> Stored | None:
        """Let the object appear."""
        stored = self._begun().finish(self.digesting.total())
        self._writing = None  # a small object's bytes are in it
        return stored

    def abandon(self) -> None:
        """Leave nothing of an unfinished object behind, as far as the store can still be reached."""
        if self._writing:
            try:
                self._writing.abandon()
            except (Failure, OSError) as failure:
                log.warning("Object %s: %s", self.key, failure)


def tasks(sendings: Iterable[Outgoing], *, parallel: bool) -> Iterator[tuple[Outgoing, list[int]]]:
    """Yield what one thread sends in one go: a part where the store takes them in any order, else a whole file."""
    for item in sendings:
        numbers = list(range(len(item.runs)))
        if parallel and numbers:
            yield from ((item, [number]) for number in numbers)
        else:
            yield item, numbers
