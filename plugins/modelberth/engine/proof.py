"""Reads files of a snapshot again and compares every chunk: what verify, check and sync have in common."""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.chunks import CHUNK_SIZE, Span
from modelberth.core.damage import Problem
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry
from modelberth.core.ready import Rehash, Stats
from modelberth.engine import claim, direct, filesystem
from modelberth.engine.hashing import chunk_hasher
from modelberth.engine.http import Answer
from modelberth.engine.pace import Pace
from modelberth.engine.progress import Progress
from modelberth.engine.transport import read_exactly
from modelberth.engine.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from modelberth.engine.claim import Published
    from modelberth.engine.stopping import Stop

Task = tuple[Entry, int, int]
"""A file and a range of its chunks."""

_PER_TASK = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read.

    :param threads: How many at once, 0 for as many as there are cores.
    :param rate: Bytes a second at most, None for no limit.
    """

    threads: int = 0
    rate: int | None = None


AT_FULL_SPEED = Reading()


class Buffers(threading.local):
    """A chunk's worth of memory for each thread."""

    def __init__(self) -> None:
        pages = mmap.mmap(-1, CHUNK_SIZE + direct.BLOCK)
        with suppress(OSError):  # not every kernel has them
            pages.madvise(mmap.MADV_HUGEPAGE)  # 4 entries of the processor's table instead of 2,048 for each copy
        self._pages = memoryview(pages)
        self.chunk = self._pages[:CHUNK_SIZE]

    def at(self, offset: int) -> memoryview:
        """Return memory that lies as bytes at *offset* of a file do in their block, so that they can be written so."""
        shift = offset % direct.BLOCK
        return self._pages[shift : shift + CHUNK_SIZE]


def mismatches(
    published: Published, entries: Iterable[Entry], stop: Stop, reading: Reading = AT_FULL_SPEED
) -> list[Problem]:
    """Return each chunk of *entries* that is not as the snapshot's manifest says.

    What cannot be read is read once more at the end, when minutes may have passed: to a soft mount EIO is a time-out.

    :raises OSError: Something could not be read for a reason that may pass: it says nothing about the snapshot.
    """
    run = _Run(published, list(entries), stop, reading)
    threads = reading.threads or len(os.sched_getaffinity(0))
    with run.progress.shown():
        for_each(run.read, run.tasks(), stop, threads)
        for_each(run.read, run.once_more(), stop, threads)
    return sorted(run.problems)


class _Run:
    """One reading of some files of a snapshot."""

    def __init__(self, published: Published, entries: list[Entry], stop: Stop, reading: Reading) -> None:
        self.problems: list[Problem] = []
        self.progress = Progress(str(published.revision), "read", {entry.path: entry.size for entry in entries})
        self._files = published.files
        self._entries = entries
        self._unread: list[Task] = []
        self._final = False
        self._stop = stop
        self._pace = Pace(reading.rate, stop)
        self._buffers = Buffers()
        self._hasher = chunk_hasher(published.manifest.chunk_digest)

    def tasks(self) -> Iterator[Task]:
        """Yield what one thread reads in one go."""
        for entry in self._entries:
            for first in range(0, max(len(entry.chunks), 1), _PER_TASK):
                yield entry, first, min(first + _PER_TASK, len(entry.chunks))

    def once_more(self) -> list[Task]:
        """Return what could not be read; what cannot be read again is a problem."""
        self._final = True
        return self._unread

    def read(self, task: Task) -> None:
        """Read some chunks of a file again and note what is wrong with them."""
        entry, first, last = task
        try:
            descriptor = filesystem.open_regular(self._files / entry.path)
        except OSError as error:
            self._could_not_read(task, error)
            return
        try:
            for index in range(first, last):
                self._read(descriptor, entry, index)
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, entry: Entry, index: int) -> None:
        self._stop.check()
        span, digest = entry.span(index), entry.chunks[index]
        self._pace.take(span.length)
        try:
            problem = self._problem(descriptor, span, digest)
        except OSError as error:
            self._could_not_read((entry, index, index + 1), error)
            return
        if problem:
            self._note(entry, span, problem)
        self.progress.add(entry.path, span.length)

    def _could_not_read(self, task: Task, error: OSError) -> None:
        if error.errno not in filesystem.LOST:
            raise error
        if self._final:
            self._note(task[0], _span(*task), f"it could not be read: {error.strerror}.")
        else:
            self._unread.append(task)

    def _note(self, entry: Entry, span: Span, problem: str) -> None:
        self.problems.append(Problem(entry.path, span.start, span.length, f"File {entry.path!r}, {span}: {problem}"))

    def _problem(self, descriptor: int, span: Span, expected: bytes) -> str | None:
        hasher = self._hasher()
        try:
            read_exactly(descriptor, self._buffers.chunk[: span.length], span.start, hasher.update)
        except Answer:
            return "the file ends before it."
        found = hasher.digest()
        return None if found == expected else f"expected {expected.hex()[:16]}..., got {found.hex()[:16]}..."


def _span(entry: Entry, first: int, last: int) -> Span:
    """Return the bytes of some neighbouring chunks."""
    if first == last:
        return Span(0, 0)
    start = entry.span(first).start
    return Span(start, entry.span(last - 1).end - start)


@dataclass(frozen=True)
class Look:
    """What a quick look at a snapshot found.

    :param stats: The table of its files now.
    :param reread: Which of them had to be read again.
    :param linked: The inodes of those that have several names.
    """

    stats: Stats
    reread: list[Entry]
    linked: frozenset[int]


def look(
    published: Published,
    judge: Callable[[Stats, Stats], Rehash],
    stop: Stop,
    reading: Reading = AT_FULL_SPEED,
) -> Look:
    """Look whether a snapshot is still what its manifest names, reading only what may not be.

    :param judge: Says how much to read, given the tables of the files now and at publication.
    :raises Failure: Something differs; all of it is named.
    """
    tree = claim.read_tree(published.files)
    problems = claim.strays(tree, published.manifest)
    how = judge(tree.stats, published.ready.stats)
    reread = [] if problems else _to_read(published, tree.stats, how)
    problems += mismatches(published, reread, stop, reading)
    if problems:
        raise damaged(published, problems)
    return Look(tree.stats, reread, frozenset(tree.linked))


def _to_read(published: Published, now: Stats, how: Rehash) -> list[Entry]:
    before = published.ready.stats
    if how is Rehash.NOTHING:
        return []
    entries = published.manifest.files
    return [entry for entry in entries if how is Rehash.EVERYTHING or now[entry.path] != before.get(entry.path)]


def damaged(published: Published, problems: Sequence[Problem | str], *, recorded: bool = False) -> Failure:
    """Return the failure that says what is wrong with a snapshot.

    :param recorded: Whether the claim has it on record.
    """
    name = f"{published.revision.short} copy {published.snapshot.copy}"
    said = [f"Snapshot {name} is damaged: {problem}" for problem in problems]
    how = "" if recorded else f" with --damaged {published.snapshot}"
    said[-1] += f" Sync again{how}, which stages a fresh copy."
    failure = Failure(ExitCode.MISMATCH, *said)
    failure.facts = {"revision": str(published.revision), "snapshot": str(published.snapshot)}
    return failure
