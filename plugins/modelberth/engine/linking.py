"""Hard links: a file of an undamaged snapshot becomes a file of another one as well, on opt-in.

Only whole files, only after they were read again and verified, and only as the last step before publishing: a file with
more than one link is never opened for writing. Linking changes the ctime of the file, so the next quick check of the
other snapshot reads it again.
"""

from __future__ import annotations

import logging
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelberth.engine import proof
from modelberth.engine.reuse import others
from modelberth.engine.staging import mode_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modelberth.core.manifest import Entry, Manifest
    from modelberth.core.revision import Snapshot
    from modelberth.engine.claim import Published
    from modelberth.engine.reuse import Missing
    from modelberth.engine.staging import Staging
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Whole:
    """A file of a snapshot that is equal to one that is wanted."""

    published: Published
    entry: Entry

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.published.files / self.entry.path


def whole_files(there: Iterable[Published], manifest: Manifest, missing: Missing) -> dict[int, Whole]:
    """Return the files of the snapshots *there* that are equal to those missing as a whole, by the numbers of these."""
    wanted = {number: manifest.files[number] for number, chunks in missing.items() if chunks}
    wanted = {number: entry for number, entry in wanted.items() if len(missing[number]) == len(entry.chunks)}
    found: dict[Entry, Whole] = {}
    for published in there if wanted else ():
        for entry in published.manifest.files:
            found.setdefault(_content(entry), Whole(published, entry))
    return {number: found[_content(entry)] for number, entry in wanted.items() if _content(entry) in found}


def _content(entry: Entry) -> Entry:
    return replace(entry, path="")


def link(staging: Staging, whole: dict[int, Whole], stop: Stop) -> set[int]:
    """Verify files and link them to their places; return the numbers of those that are there.

    :raises OSError: The file system does not answer.
    """
    by_snapshot: dict[Path, list[int]] = {}
    for number, one in whole.items():
        by_snapshot.setdefault(one.published.path, []).append(number)
    return {number for numbers in by_snapshot.values() for number in _link(staging, whole, numbers, stop)}


def _link(staging: Staging, whole: dict[int, Whole], numbers: list[int], stop: Stop) -> list[int]:
    """Link files of one snapshot; none when it is damaged."""
    published = whole[numbers[0]].published
    before = {number: _state(whole[number]) for number in numbers}
    entries = {whole[number].entry for number in numbers}
    if problems := proof.mismatches(published, entries, stop):
        log.warning("Snapshot %s: not linked to: %s", published.snapshot, problems[0])
        return []
    unchanged = [number for number in numbers if before[number] and before[number] == _state(whole[number])]
    return [number for number in unchanged if staging.link(number, whole[number].path)]


def sharing(root: Path, published: Published, linked: frozenset[int]) -> frozenset[Snapshot]:
    """Return the other snapshots of the model that have files in common with *published*.

    :param linked: The inodes of its files that have several names.
    """
    if not linked:
        return frozenset()
    there = others(root, published.revision.model, published.manifest.chunk_digest)
    return frozenset(
        one.snapshot
        for one in there
        if one.snapshot != published.snapshot and any(row[3] in linked for row in one.ready.stats.values())
    )


def _state(whole: Whole) -> tuple[int, ...]:
    """Return what changes with the file; nothing when its mode is not the one that it must have in every snapshot."""
    with suppress(FileNotFoundError, NotADirectoryError):
        status = whole.path.lstat()
        if stat.S_IMODE(status.st_mode) == mode_of(whole.entry):
            return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return ()
