"""Digests files: what ``modelberth manifest`` prints, what an upload knows before it sends, and while it does."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from modelberth.core.chunks import Span, chunk_spans
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry, Manifest
from modelberth.engine.hashing import Checksum, chunk_hasher
from modelberth.engine.progress import Progress
from modelberth.engine.proof import Buffers
from modelberth.engine.scan import Directory
from modelberth.engine.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from modelberth.engine.pace import Pace
    from modelberth.engine.source import File
    from modelberth.engine.stopping import Stop
    from modelberth.engine.transport import Fill


@dataclass(frozen=True, slots=True)
class Digested:
    """A file that was read from its first byte to its last.

    :param checksum: Of the whole file as the store writes it, empty when none was asked for.
    :param sha256: Of the whole file, 64 hex digits; empty when nobody asked.
    """

    file: File
    entry: Entry
    checksum: str
    sha256: str = ""


class Digesting:
    """The digests of one file, taken in the order of its bytes.

    Several threads read and send parts of one file at once, and take turns here: a chunk may lie in two parts, and the
    SHA-256 of a whole file can be had in no other way. Reading and sending take far longer than a turn.

    :param checksum: Which checksum of the whole file to make as well; None for none.
    :param sha256: Whether to take the SHA-256 of the whole file as well; it is taken where one was named, too.
    """

    def __init__(self, file: File, chunk_digest: str, checksum: str | None, *, sha256: bool = False) -> None:
        self.file = file
        self.checksum = Checksum(checksum) if checksum else None
        self._new_hasher = chunk_hasher(chunk_digest)
        self._hasher = self._new_hasher()
        self._whole = hashlib.sha256() if sha256 or file.sha256 else None
        self._chunks: list[bytes] = []
        self._turn = threading.Condition()
        self._position = 0
        self._given_up = False

    @cached_property
    def _head(self) -> int:
        return self.file.head()

    @cached_property
    def _spans(self) -> list[Span]:
        return list(chunk_spans(self.file.size, self._head))

    def take(self, start: int, view: memoryview) -> int:
        """Take in the bytes from *start* on, once all before them were; return their checksum as a number.

        :raises Failure: Another thread gave up.
        """
        value = self.checksum.of(view) if self.checksum else 0
        with self._turn:
            self._turn.wait_for(lambda: self._position == start or self._given_up)
            if self._given_up:
                raise Failure(ExitCode.INTERRUPTED, f"Another part of {self.file.path!r} could not be read.")
        if self.checksum:
            self.checksum.add_sum(start, value, len(view))
        if self._whole:
            self._whole.update(view)
        self._digest(view)
        with self._turn:
            self._position = start + len(view)
            self._turn.notify_all()
        return value

    def _digest(self, view: memoryview) -> None:
        position = self._position
        while view:
            end = self._spans[len(self._chunks)].end
            piece, view = view[: end - position], view[end - position :]
            self._hasher.update(piece)
            position += len(piece)
            if position == end:
                self._chunks.append(self._hasher.digest())
                self._hasher = self._new_hasher()

    def give_up(self) -> None:
        """Let nobody wait for bytes that will not come."""
        with self._turn:
            self._given_up = True
            self._turn.notify_all()

    def finished(self) -> Digested:
        """Return the file's digests, once all of it was taken in.

        :raises Failure: It changed, or is not the one that was named.
        """
        self.file.refuse_changed()
        sha256 = self._whole.hexdigest() if self._whole else ""
        if self.file.sha256 and sha256 != self.file.sha256:
            raise Failure(
                ExitCode.MISMATCH,
                f"File {self.file.path!r} is not the one that was named: expected sha256:{self.file.sha256}, got "
                f"sha256:{sha256}. Nothing was published: find out what the source holds, or correct "
                "the fetch list.",
            )
        entry = Entry(self.file.path, self.file.size, tuple(self._chunks), self._head, self.file.executable)
        return Digested(self.file, entry, self.checksum.text() if self.checksum else "", sha256)


def digest_files(
    subject: str,
    files: Sequence[File],
    stop: Stop,
    checksum: str | None = None,
    threads: int | None = None,
    pace: Pace | None = None,
    *,
    sha256: bool = False,
) -> list[Digested]:
    """Read *files* and return their digests, in any order.

    :param subject: What progress is told of.
    :param threads: By default as many as there are cores.
    :param pace: A limit on reading those that are behind a network.
    :param sha256: Whether to take the SHA-256 of whole files as well.
    :raises Failure: One of them changed meanwhile.
    """
    found: list[Digested] = []
    progress, buffers = Progress(subject, "digested", {file.path: file.size for file in files}), Buffers()

    def read(task: tuple[Digesting, list[Span]]) -> None:
        item, spans = task

        def sink(number: int, fill: Fill) -> None:
            stop.check()
            view = buffers.chunk[: spans[number].length]
            if pace and not item.file.cheap:
                pace.receive(fill, view, nothing)
            else:
                fill(view, nothing)
            item.take(spans[number].start, view)
            progress.add(item.file.path, len(view))

        try:
            if spans:
                item.file.bring(spans, sink)
        except BaseException:
            item.give_up()
            raise
        if not spans or spans[-1].end == item.file.size:
            found.append(item.finished())

    with progress.shown():
        for_each(read, _tasks(files, checksum, sha256=sha256), stop, threads or len(os.sched_getaffinity(0)))
    return found


def _tasks(files: Iterable[File], checksum: str | None, *, sha256: bool) -> Iterator[tuple[Digesting, list[Span]]]:
    for file in files:
        item, spans = Digesting(file, "blake3", checksum, sha256=sha256), list(chunk_spans(file.size))
        if file.in_order or not spans:
            yield item, spans
        else:
            yield from ((item, [span]) for span in spans)


def nothing(_piece: memoryview) -> None:
    """Digest nothing while it comes: that is done in turn."""


def manifest_of(directory: Path, follow_links: Path | None, stop: Stop) -> Manifest:
    """Return the manifest of *directory*."""
    source = Directory(directory, follow_links)
    return Manifest.of([item.entry for item in digest_files(source.name, source.files, stop)], list(source.empty_dirs))
