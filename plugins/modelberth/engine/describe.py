"""Digests a model's directory: what ``modelberth manifest`` prints, and what an upload knows before it sends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from modelberth.core.chunks import chunk_spans, count_chunks
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry, Manifest
from modelberth.engine.hashing import Checksum, chunk_hasher
from modelberth.engine.heads import head_of
from modelberth.engine.http import Answer
from modelberth.engine.proof import Buffers
from modelberth.engine.progress import Progress
from modelberth.engine.scan import SourceFile, identity, scan
from modelberth.engine.transport import read_exactly
from modelberth.engine.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modelberth.engine.stopping import Stop

_PER_TASK = 8


class Digesting:
    """The digests of one file, chunk by chunk in any order.

    :param checksum: Which checksum of the whole file to make as well; None for none.
    """

    def __init__(self, file: SourceFile, chunk_digest: str, checksum: str | None) -> None:
        self.file = file
        self.head = head_of(file.real, PurePosixPath(file.path).suffix, file.size)
        self.chunks: list[bytes] = [b""] * count_chunks(file.size, self.head)
        self.spans = list(chunk_spans(file.size, self.head))
        self._hasher = chunk_hasher(chunk_digest)
        self.checksum = Checksum(checksum) if checksum else None

    def read(self, index: int, view: memoryview) -> None:
        """Read chunk *index* into *view* and digest it.

        :raises Failure: The file ends before it.
        """
        span, hasher = self.spans[index], self._hasher()
        try:
            descriptor = os.open(self.file.real, os.O_RDONLY | os.O_CLOEXEC)
            try:
                read_exactly(descriptor, view, span.start, hasher.update)
            finally:
                os.close(descriptor)
        except (Answer, FileNotFoundError) as error:
            raise changed(self.file) from error
        self.chunks[index] = hasher.digest()
        if self.checksum:
            self.checksum.add(span.start, view)

    def total(self) -> str:
        """Return the checksum of the whole file as the store writes it, empty when none was asked for."""
        return self.checksum.text() if self.checksum else ""

    def entry(self) -> Entry:
        """Return the file as it stands in a manifest, once all chunks were read."""
        return Entry(self.file.path, self.file.size, tuple(self.chunks), self.head, self.file.executable)


@dataclass(frozen=True, slots=True)
class _Task:
    digesting: Digesting
    first: int
    last: int


def digest_files(files: Iterable[SourceFile], stop: Stop, checksum: str | None = None) -> list[Digesting]:
    """Read *files* on all cores and return their digests.

    :raises Failure: One of them changed meanwhile.
    """
    found = [Digesting(file, "blake3", checksum) for file in files]
    progress = Progress("digests", "computed of", {item.file.path: item.file.size for item in found})
    buffers = Buffers()

    def read(task: _Task) -> None:
        for index in range(task.first, task.last):
            stop.check()
            view = buffers.chunk[: task.digesting.spans[index].length]
            task.digesting.read(index, view)
            progress.add(task.digesting.file.path, len(view))

    with progress.shown():
        for_each(read, _tasks(found), stop, threads=len(os.sched_getaffinity(0)))
    refuse_changed(item.file for item in found)
    return found


def _tasks(found: Iterable[Digesting]) -> Iterable[_Task]:
    for item in found:
        for first in range(0, len(item.chunks), _PER_TASK):
            yield _Task(item, first, min(first + _PER_TASK, len(item.chunks)))


def refuse_changed(files: Iterable[SourceFile]) -> None:
    """Refuse files that are not as they were when they were scanned.

    :raises Failure: A file has another size, time or identity, or is gone.
    """
    for file in files:
        try:
            same = identity(file.real.stat()) == file.identity
        except FileNotFoundError:
            same = False
        if not same:
            raise changed(file)


def changed(file: SourceFile) -> Failure:
    """Return the failure that says so."""
    return Failure(
        ExitCode.CHANGED,
        f"File {str(file.real)!r} changed while it was read. Nothing was published: wait until the model is complete "
        "and run the same again.",
    )


def manifest_of(directory: Path, follow_links: Path | None, stop: Stop) -> Manifest:
    """Return the manifest of *directory*."""
    found = scan(directory, follow_links)
    entries = [item.entry() for item in digest_files(found.files, stop)]
    return Manifest.of(entries, found.empty_dirs)
