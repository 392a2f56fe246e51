"""Sends files: their parts on several threads, each object finished when its last part is there."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.failure import Failure
from modelberth.core.parts import part_size
from modelberth.engine.describe import nothing
from modelberth.engine.outgoing import Outgoing, tasks
from modelberth.engine.progress import Progress
from modelberth.engine.stores import Unjoined
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.engine.describe import Digested
    from modelberth.engine.pace import Pace
    from modelberth.engine.source import File
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Store, Stored, Unfinished
    from modelberth.engine.transport import Fill

_MEMORY = 128 * 1024 * 1024
"""Bytes of parts on their way at once, where nobody asked for a number of streams."""

Done = Callable[[Outgoing, "Digested", "Stored | None"], None]
"""Called with each object that was finished; None when another one had its key."""


@dataclass(frozen=True)
class Sender:
    """How an upload sends.

    :param unfinished: What an interrupted run of the same upload left, by key.
    :param subject: What progress is told of.
    :param streams: How many at once, 0 for as many as suit this machine.
    """

    subject: str

    store: Store
    stop: Stop
    pace: Pace
    unfinished: Mapping[str, Unfinished]
    streams: int = 0

    def threads(self, largest: int) -> int:
        """Return how many parts are on their way at once when the largest file has *largest* bytes."""
        return self.streams or max(1, min(default_streams(), _MEMORY // part_size(largest)))

    def send(self, items: Iterable[Outgoing], sizes: Mapping[str, int], done: Done) -> _Pass:
        """Send *items*, of *sizes* bytes by path.

        :raises Failure: One of them could not be sent; objects that were begun can be gone on with, unless that is
            useless.
        """
        run = _Pass(self, done, Progress(self.subject, "sent", sizes))
        try:
            with run.progress.shown():
                work = tasks(run.begun_of(items), parallel=self.store.parallel_parts)
                for_each(run.do, work, self.stop, self.threads(max(sizes.values(), default=0)))
        except BaseException as error:
            run.end(again=not isinstance(error, Failure) or error.code.worth_retrying)
            raise
        return run


class _Pass:
    """One pass over some files.

    :param unjoined: Those that the store did not make of copied or kept parts: they have to be sent as a whole.
    :param bytes: How many were ``sent``, ``copied`` and ``kept``.
    """

    def __init__(self, sender: Sender, done: Done, progress: Progress) -> None:
        self.unjoined: list[Outgoing] = []
        self.bytes: Counter[str] = Counter()
        self.progress = progress
        self._sender = sender
        self._done = done
        self._begun: set[Outgoing] = set()
        self._lock = threading.Lock()
        self._memory = threading.local()

    def begun_of(self, items: Iterable[Outgoing]) -> Iterator[Outgoing]:
        """Yield *items*, remembering those that are not finished."""
        for item in items:
            self._begun.add(item)
            yield item

    def do(self, task: tuple[Outgoing, list[int]]) -> None:
        """Bring some parts of a file; let its object appear when they were the last."""
        item, numbers = task
        try:
            self._bring(item, numbers)
        except BaseException:
            item.give_up()
            raise
        if item.is_complete(len(numbers)):
            self._finish(item)

    def _bring(self, item: Outgoing, numbers: list[int]) -> None:
        sender = self._sender
        if item.unjoined:
            return
        try:
            writing = item.begin(sender.store, sender.unfinished.get(item.key))
            item.send(numbers, writing, self)
        except Unjoined:
            item.unjoined = True

    def read(self, file: File, length: int, fill: Fill) -> memoryview:
        """Return the next *length* bytes of *file*, in memory that is this thread's, once they may pass.

        It is used again: memory that is given back and asked for anew in such pieces stays with the allocator, twice.
        """
        memory: bytearray = getattr(self._memory, "part", bytearray())
        if len(memory) < length:
            self._memory.part = memory = bytearray(max(length, CHUNK_SIZE))
        view = memoryview(memory)[:length]
        if file.cheap:
            self._sender.pace.take(length)  # all of a part: several that are read side by side would leave in a burst
            fill(view, nothing)
        else:
            self._sender.pace.receive(fill, view, nothing)
        return view

    def count(self, item: Outgoing, count: int, what: str) -> None:
        """Take in what became of some bytes."""
        self._sender.stop.check()
        self.progress.add(item.file.path, count)
        with self._lock:
            self.bytes[what] += count

    def _finish(self, item: Outgoing) -> None:
        stored = None
        if not item.unjoined:
            digested = item.digested()
            try:
                stored = item.finish(item.begin(self._sender.store, None), digested)
            except Unjoined:
                item.unjoined = True
        if item.unjoined:
            item.abandon()
            self.unjoined.append(item)
        else:
            self._done(item, digested, stored)
        self._begun.remove(item)

    def end(self, *, again: bool) -> None:
        """Let go of what is not finished.

        :param again: Whether the same upload may go on with it.
        """
        for item in tuple(self._begun):
            if again:
                item.leave()
            else:
                item.abandon()
