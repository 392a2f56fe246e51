"""Reads files of a snapshot again and compares every chunk: what verify, check and sync have in common."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.chunks import CHUNK_SIZE, Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry
from modelberth.core.ready import Rehash, Stats
from modelberth.engine import claim, filesystem
from modelberth.engine.hashing import Hasher, chunk_hasher
from modelberth.engine.http import Answer
from modelberth.engine.report import Progress
from modelberth.engine.transport import read_exactly
from modelberth.engine.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from modelberth.engine.claim import Published
    from modelberth.engine.stopping import Stop

Task = tuple[Entry, int, int]
"""A file and a range of its chunks."""

_PER_TASK = 8


class Buffers(threading.local):
    """A chunk's worth of memory for each thread."""

    def __init__(self) -> None:
        self.chunk = memoryview(bytearray(CHUNK_SIZE))


def mismatches(directory: Path, entries: Iterable[Entry], digest: str, stop: Stop) -> list[str]:
    """Return one sentence for each chunk in *directory* that is not as its manifest says."""
    entries = list(entries)
    problems: dict[tuple[str, int], str] = {}
    buffers, hasher = Buffers(), chunk_hasher(digest)
    progress = Progress("read", sum(entry.size for entry in entries))

    def read(task: Task) -> None:
        entry, first, last = task
        try:
            descriptor = filesystem.open_regular(directory / entry.path)
        except OSError as error:
            problems[entry.path, first] = f"File {entry.path!r} could not be opened: {error.strerror}."
            return
        try:
            for index in range(first, last):
                stop.check()
                span = entry.span(index)
                if problem := _problem(descriptor, span, entry.chunks[index], hasher(), buffers.chunk):
                    problems[entry.path, index] = f"File {entry.path!r}, {span}: {problem}"
                progress.add(span.length)
        finally:
            os.close(descriptor)

    with progress.shown():
        for_each(read, _tasks(entries), stop, threads=len(os.sched_getaffinity(0)))
    return [problems[key] for key in sorted(problems)]


def _tasks(entries: Iterable[Entry]) -> Iterable[Task]:
    for entry in entries:
        for first in range(0, max(len(entry.chunks), 1), _PER_TASK):
            yield entry, first, min(first + _PER_TASK, len(entry.chunks))


def _problem(descriptor: int, span: Span, expected: bytes, hasher: Hasher, buffer: memoryview) -> str | None:
    try:
        read_exactly(descriptor, buffer[: span.length], span.start, hasher.update)
    except Answer:
        return "the file ends before it."
    except OSError as error:
        return f"it could not be read: {error.strerror}."
    found = hasher.digest()
    return None if found == expected else f"expected {expected.hex()[:16]}..., got {found.hex()[:16]}..."


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


def look(published: Published, judge: Callable[[Stats, Stats], Rehash], stop: Stop) -> Look:
    """Look whether a snapshot is still what its manifest names, reading only what may not be.

    :param judge: Says how much to read, given the tables of the files now and at publication.
    :raises Failure: Something differs; all of it is named.
    """
    tree = claim.read_tree(published.files)
    problems = claim.strays(tree, published.manifest)
    how = judge(tree.stats, published.ready.stats)
    reread = [] if problems else _to_read(published, tree.stats, how)
    problems += mismatches(published.files, reread, published.manifest.chunk_digest, stop)
    refuse(published, problems)
    return Look(tree.stats, reread, frozenset(tree.linked))


def _to_read(published: Published, now: Stats, how: Rehash) -> list[Entry]:
    before = published.ready.stats
    if how is Rehash.NOTHING:
        return []
    entries = published.manifest.files
    return [entry for entry in entries if how is Rehash.EVERYTHING or now[entry.path] != before.get(entry.path)]


def refuse(published: Published, problems: list[str]) -> None:
    """Fail if there are *problems*.

    :raises Failure: The snapshot is damaged.
    """
    if problems:
        name = f"{published.revision.short} copy {published.snapshot.copy}"
        advice = f" Sync again with --damaged {published.snapshot}, which stages a fresh copy."
        problems[-1] += advice
        raise Failure(ExitCode.MISMATCH, *(f"Snapshot {name} is damaged: {problem}" for problem in problems))
