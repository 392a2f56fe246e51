"""One file of an upload on its way into the bucket, part by part, digested in the same pass."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from modelberth.core.failure import Failure
from modelberth.core.parts import delta_parts, equal_parts
from modelberth.engine.describe import Digested, Digesting
from modelberth.engine.hashing import Checksum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from modelberth.core.parts import Part
    from modelberth.engine.earlier import Earlier
    from modelberth.engine.source import File
    from modelberth.engine.stores import Store, Stored, Unfinished, Writing
    from modelberth.engine.transport import Fill

log = logging.getLogger(__name__)


class Flow(Protocol):
    """What files on their way share."""

    def read(self, file: File, length: int, fill: Fill) -> memoryview:
        """Return the next *length* bytes of *file*, in memory that is this thread's, once they may pass."""

    def count(self, item: Outgoing, count: int, what: str) -> None:
        """Take in what became of some bytes: ``sent``, ``copied`` or ``kept``."""


class Outgoing:
    """One file on its way."""

    def __init__(self, file: File, key: str, parts: Sequence[Part]) -> None:
        self.file = file
        self.key = key
        self.parts = parts
        self.unjoined = False
        self._writing: Writing | None = None
        self._lock = threading.Lock()
        self._left = max(len(parts), 1)

    def begin(self, store: Store, unfinished: Unfinished | None) -> Writing:
        """Return the object that is being written; the first caller begins it."""
        with self._lock:
            if self._writing is None:
                self._writing = store.write(self.key, self.parts, unfinished)
            return self._writing

    def send(self, numbers: Sequence[int], writing: Writing, flow: Flow) -> None:
        """Read, digest and send parts, which are neighbours."""

        def sink(index: int, fill: Fill) -> None:
            number = numbers[index]
            view = flow.read(self.file, self.parts[number].span.length, fill)
            needed = writing.send(number, view, self.sum(number, view))
            flow.count(self, len(view), "sent" if needed else "kept")

        if numbers:
            self.file.bring([self.parts[number].span for number in numbers], sink)

    def sum(self, number: int, view: memoryview) -> int:
        """Take in a part's bytes; return their checksum as a number."""
        raise NotImplementedError

    def digested(self) -> Digested:
        """Return the file's digests.

        :raises Failure: It is not what it should be: it changed, or has another SHA-256.
        """
        raise NotImplementedError

    def is_complete(self, parts: int) -> bool:
        """Count *parts* parts as done; say whether they were the last."""
        with self._lock:
            self._left -= max(parts, 1)
            return not self._left

    def finish(self, writing: Writing, digested: Digested) -> Stored | None:
        """Let the object appear.

        :raises Unjoined: The store does not make it of parts that it copied or kept.
        """
        stored = writing.finish(digested.checksum)
        self._writing = None  # a small object's bytes are in it
        return stored

    def give_up(self) -> None:
        """Let nobody wait for parts that will not come."""

    def leave(self) -> None:
        """Let go of an unfinished object; a later run goes on with it where the store can."""
        self._end(lambda writing: writing.leave())

    def abandon(self) -> None:
        """Leave nothing of an unfinished object behind, as far as the store can still be reached."""
        self._end(lambda writing: writing.abandon())

    def _end(self, end: Callable[[Writing], None]) -> None:
        if self._writing:
            try:
                end(self._writing)
            except (Failure, OSError) as failure:
                log.warning("Object %s: %s", self.key, failure)
            self._writing = None


class Whole(Outgoing):
    """A file that is sent as a whole, and digested as it passes."""

    def __init__(self, file: File, key: str, checksum: str, *, sha256: bool = False) -> None:
        super().__init__(file, key, equal_parts(file.size))
        self._digesting = Digesting(file, "blake3", checksum, sha256=sha256)

    def sum(self, number: int, view: memoryview) -> int:
        """Digest a part in its turn."""
        return self._digesting.take(self.parts[number].span.start, view)

    def digested(self) -> Digested:
        """Return what came of it."""
        return self._digesting.finished()

    def give_up(self) -> None:
        """Let nobody wait for parts that will not come."""
        self._digesting.give_up()


class Delta(Outgoing):
    """A file of which the bucket holds parts already, digested in a pass before: those are copied, the rest is sent.

    The store joins them only if all together have the checksum of the pass before.
    """

    def __init__(self, digested: Digested, key: str, earlier: Earlier, checksum: str) -> None:
        entry = digested.entry
        super().__init__(digested.file, key, delta_parts(entry.size, entry.head, entry.chunks, earlier.held))
        self._digested = digested
        self._objects = earlier.objects
        self._checksum = Checksum(checksum)

    @property
    def worthwhile(self) -> bool:
        """Whether there is anything to copy."""
        return any(part.held for part in self.parts)

    def send(self, numbers: Sequence[int], writing: Writing, flow: Flow) -> None:
        """Bring a part: let the store copy it, or read and send it.

        :raises Unjoined: The store does not copy parts.
        """
        part = self.parts[numbers[0]]
        if not part.held:
            super().send(numbers, writing, flow)
            return
        writing.copy(numbers[0], part.span.length, self._objects[part.held.key], part.held.start)
        flow.count(self, part.span.length, "copied")

    def sum(self, number: int, view: memoryview) -> int:  # noqa: ARG002 - which part it is makes no difference
        """Return the checksum only."""
        return self._checksum.of(view)

    def digested(self) -> Digested:
        """Return what the pass before found, if that is still so."""
        self.file.refuse_changed()
        return self._digested


def tasks(items: Iterable[Outgoing], *, parallel: bool) -> Iterator[tuple[Outgoing, list[int]]]:
    """Yield what one thread does in one go: a part where store and source take any order, else a whole file."""
    for item in items:
        numbers = list(range(len(item.parts)))
        if parallel and numbers and not item.file.in_order:
            yield from ((item, [number]) for number in numbers)
        else:
            yield item, numbers
