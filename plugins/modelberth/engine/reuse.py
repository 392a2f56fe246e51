"""Finds chunks of a revision that lie on the claim already, in other snapshots of its model, damaged ones included.

What is taken is verified as it is taken, like what is fetched: a chunk that is not as its snapshot's manifest says is
fetched after all.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.failure import Failure
from modelberth.core.revision import Revision
from modelberth.engine import claim, filesystem
from modelberth.engine.http import Answer
from modelberth.engine.transport import read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelberth.core.chunks import Span
    from modelberth.core.manifest import Manifest
    from modelberth.engine.claim import Published
    from modelberth.engine.hashing import Hasher

log = logging.getLogger(__name__)

Missing = dict[int, list[int]]
"""Chunks that are wanted, by the number of their file in the manifest."""


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk as another snapshot holds it."""

    file: Path
    span: Span

    def read(self, view: memoryview, hasher: Hasher) -> bytes:
        """Read it into *view* and return its digest; empty when it cannot be read."""
        with suppress(OSError, Answer):
            descriptor = filesystem.open_regular(self.file)
            try:
                read_exactly(descriptor, view, self.span.start, hasher.update)
                return hasher.digest()
            finally:
                os.close(descriptor)
        return b""


def held_chunks(root: Path, model: str, manifest: Manifest, missing: Missing) -> dict[bytes, Held]:
    """Return where the claim has the chunks *missing* of *manifest*, by their digest."""
    wanted = {manifest.files[number].chunks[index] for number, chunks in missing.items() for index in chunks}
    found: dict[bytes, Held] = {}
    for published in _others(root, model, manifest.chunk_digest) if wanted else ():
        for entry in published.manifest.files:
            for index, digest in enumerate(entry.chunks):
                if digest in wanted and digest not in found:
                    found[digest] = Held(published.files / entry.path, entry.span(index))
    return found


def _others(root: Path, model: str, chunk_digest: str) -> Iterator[Published]:
    """Yield the model's snapshots whose chunks have the same kind of digest, the newest name first."""
    for snapshot in sorted(claim.snapshots(root / model), key=lambda item: item.copy, reverse=True):
        try:
            published = claim.published(root, Revision(model, snapshot.digest), snapshot)
        except (Failure, OSError) as failure:
            log.warning("Snapshot %s: not reused: %s", snapshot, failure)
        else:
            if published.manifest.chunk_digest == chunk_digest:
                yield published
