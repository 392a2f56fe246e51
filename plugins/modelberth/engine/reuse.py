"""Takes chunks of a revision that lie on the claim already, in other snapshots of its model, damaged ones included.

What is taken is verified as it is taken, like what is fetched: a chunk that is not as its snapshot's manifest says is
fetched after all. Where files can share blocks, whole blocks are cloned and no space is used. They are cloned into a
file without a name first, and verified there: nobody else can change what is then cloned to its place.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.chunks import Span
from modelberth.core.failure import Failure
from modelberth.core.revision import Revision
from modelberth.engine import claim, filesystem, reflink
from modelberth.engine.hashing import chunk_hasher
from modelberth.engine.http import Answer
from modelberth.engine.transport import read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from modelberth.core.manifest import Manifest
    from modelberth.engine.claim import Published
    from modelberth.engine.staging import Staging

log = logging.getLogger(__name__)

Missing = dict[int, list[int]]
"""Chunks that are wanted, by the number of their file in the manifest."""

_LEAST = 64 * 1024
"""Bytes that are worth being shared; less is copied as quickly, and leaves the file in fewer pieces."""


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk as another snapshot holds it."""

    file: Path
    span: Span


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a chunk, and the open file that it is read from; *cloned* when that file only has shared blocks."""

    file: int
    span: Span
    cloned: bool = False


class Reuse:
    """What a claim holds of the chunks *missing* in *staging*.

    :param others: Snapshots of the same model, the first is asked first.
    :param block: Bytes of a block where files can share them, else 0.
    """

    def __init__(self, others: Iterable[Published], staging: Staging, missing: Missing, block: int) -> None:
        self._staging = staging
        self._files = staging.manifest.files
        self._hasher = chunk_hasher(staging.manifest.chunk_digest)
        self._block = block
        self._missing = missing
        self._held = held_chunks(others, staging.manifest, missing)
        self._lock = threading.Lock()
        self.reflinked = 0

    def holds(self, number: int, index: int) -> bool:
        """Whether a snapshot has this chunk."""
        return self._files[number].chunks[index] in self._held

    def shareable(self) -> dict[int, int]:
        """Return how many bytes of files, by their numbers, will use no space."""
        found: dict[int, int] = {}
        for number, indexes in self._missing.items() if self._block else ():
            spans = [self._shared(number, index) for index in indexes if self.holds(number, index)]
            if count := sum(span.length for span in spans):
                found[number] = count
        return found

    def _shared(self, number: int, index: int) -> Span:
        entry = self._files[number]
        return self._blocks(self._held[entry.chunks[index]].span, entry.span(index))

    def _blocks(self, source: Span, target: Span) -> Span:
        """Return the blocks of *source* that can be shared, which takes the same place in a block at either end."""
        if self._block and source.start % self._block == target.start % self._block:
            blocks = source.whole_blocks(self._block)
            if blocks.length >= _LEAST:
                return blocks
        return Span(source.start, 0)

    def take(self, number: int, index: int, buffer: memoryview) -> bool:
        """Take a chunk that a snapshot has; say whether it is there and right.

        :raises OSError: It could not be written.
        """
        entry = self._files[number]
        view = buffer[: entry.span(index).length]
        with ExitStack() as opened:
            try:
                pieces = self._pieces(self._held[entry.chunks[index]], entry.span(index), opened)
                if self._read(pieces, view) != entry.chunks[index]:
                    return False
            except (OSError, Answer):
                return False
            self._staging.write(number, index, view, lambda *where: self._put(pieces, *where))
        return True

    def _pieces(self, held: Held, target: Span, opened: ExitStack) -> list[_Piece]:
        """Open a chunk: its blocks cloned where they can be, and the rest as it is."""
        file = filesystem.open_regular(held.file)
        opened.callback(os.close, file)
        span, blocks = held.span, self._blocks(held.span, target)
        if not blocks.length:
            return [_Piece(file, span)]
        scratch = opened.enter_context(reflink.scratch(self._staging.path)).fileno()
        try:
            reflink.clone(file, blocks.start, blocks.length, scratch, 0)
        except OSError as error:
            if error.errno not in reflink.CANNOT:
                raise
            return [_Piece(file, span)]
        before = _Piece(file, Span(span.start, blocks.start - span.start))
        return [before, _Piece(scratch, Span(0, blocks.length), cloned=True), _Piece(file, blocks.until(span.end))]

    def _read(self, pieces: list[_Piece], view: memoryview) -> bytes:
        """Read all pieces into *view*; return their digest."""
        hasher, filled = self._hasher(), 0
        for piece in pieces:
            part = view[filled : filled + piece.span.length]
            read_exactly(piece.file, part, piece.span.start, hasher.update)
            filled += len(part)
        return hasher.digest()

    def _put(self, pieces: list[_Piece], descriptor: int, data: memoryview, start: int) -> None:
        """Write what was verified: clone what is cloned, write the rest."""
        for piece in pieces:
            part, data = data[: piece.span.length], data[piece.span.length :]
            if piece.cloned:
                reflink.clone(piece.file, 0, piece.span.length, descriptor, start)
                with self._lock:
                    self.reflinked += piece.span.length
            else:
                self._staging.put(descriptor, part, start)
            start += len(part)


def held_chunks(others: Iterable[Published], manifest: Manifest, missing: Missing) -> dict[bytes, Held]:
    """Return where *others* have the chunks *missing* of *manifest*, by their digest."""
    wanted = {manifest.files[number].chunks[index] for number, chunks in missing.items() for index in chunks}
    found: dict[bytes, Held] = {}
    for published in others:
        for entry in published.manifest.files:
            for index, digest in enumerate(entry.chunks):
                if digest in wanted and digest not in found:
                    found[digest] = Held(published.files / entry.path, entry.span(index))
    return found


def others(root: Path, model: str, chunk_digest: str) -> Iterator[Published]:
    """Yield the model's snapshots whose chunks have the same kind of digest, the newest name first."""
    for snapshot in sorted(claim.snapshots(root / model), key=lambda item: item.copy, reverse=True):
        try:
            published = claim.published(root, Revision(model, snapshot.digest), snapshot)
        except (Failure, OSError) as failure:
            log.warning("Snapshot %s: not reused: %s", snapshot, failure)
        else:
            if published.manifest.chunk_digest == chunk_digest:
                yield published
