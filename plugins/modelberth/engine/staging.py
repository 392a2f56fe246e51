"""Where a revision is put together: files that get only verified chunks, until one rename publishes them.

::

    .modelberth/staging/<model>/<64 hex>/manifest.json
    .modelberth/staging/<model>/<64 hex>/journal/<attempt>
    .modelberth/staging/<model>/<64 hex>/snapshot/files/...     manifest.json and READY.json come last

Files are opened without O_TRUNC, set only to their final size and never unlinked, so a late or second writer only
repeats bytes that are already right.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.paths import parents
from modelberth.engine import claim, direct, filesystem, space
from modelberth.engine.batch import Batch
from modelberth.engine.journal import Journal, Record, joined
from modelberth.engine.publishing import Staged, publish

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelberth.core.manifest import Entry, Manifest
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.direct import Put

_NO_LINK = (*filesystem.UNABLE, errno.EPERM, errno.EMLINK, errno.EXDEV)
"""What link(2) answers where it cannot: no hard links here, or too many of this file (EFS: about 175)."""


class Staging:
    """One revision's staging directory, and what of it is durable.

    :param damaged: Snapshots whose names are not used again.
    """

    def __init__(
        self, root: Path, revision: Revision, manifest: Manifest, damaged: frozenset[Snapshot] = frozenset()
    ) -> None:
        self._root = root
        self._revision = revision
        self._damaged = [snapshot.copy for snapshot in damaged if snapshot.digest == revision.digest]
        self.manifest = manifest
        self.path = root / layout.staging_path(revision.model, revision.digest)
        self.files = self.path / layout.SNAPSHOT / layout.FILES
        self.journal = Journal(self.path / layout.JOURNAL, revision)
        kind = filesystem.file_system_of(root)
        self._batch = Batch(self.journal, self._sync_all if filesystem.reached_by_syncfs(kind) else None)
        self._left: dict[int, int] = {}
        self._inodes: dict[int, int] = {}
        self._directory = -1
        # There pages are no place on a disk: reserved ones only cost the time of a second round over them.
        self._in_memory = kind in ("tmpfs", "ramfs")
        self.put: Put = direct.put_on(kind)
        self._open: dict[int, int] = {}
        self._opening = [threading.Lock() for _ in range(64)]
        self._shared: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the directories.

        :raises Failure: In the place of one is a link, or something else that somebody put there.
        """
        hidden = self._root / layout.HIDDEN
        above = [hidden / "staging", hidden / "staging" / self._revision.model, self.path]
        for directory in (hidden, *above, self.path / layout.JOURNAL, self.path / layout.SNAPSHOT):
            claim.own_directory(directory)
        self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not (manifest := self.path / layout.MANIFEST).exists():
            filesystem.write_durably(manifest, self.manifest.dump())  # tells `list` how much there will be
        needed = {self.files, *(self.files / path for path in self.manifest.empty_dirs)}
        for path in (*(entry.path for entry in self.manifest.files), *self.manifest.empty_dirs):
            needed.update(self.files / parent for parent in parents(path))
        for directory in sorted(needed):
            try:
                directory.mkdir()
            except FileExistsError:
                claim.refuse_other_than_directory(directory)
                directory.chmod(0o755)  # a run that was killed just before it published left it closed

    def missing(self) -> dict[int, list[int]]:
        """Return for each file that is not complete, by its number, the chunks that it lacks."""
        durable: dict[int, set[int]] = defaultdict(set)
        for record in self._valid():
            durable[record.number].update(range(record.first, record.first + record.count))
            self._inodes[record.number] = record.inode
        lacking = {
            number: [index for index in range(len(entry.chunks)) if index not in durable[number]]
            for number, entry in enumerate(self.manifest.files)
        }
        found = {number: chunks for number, chunks in lacking.items() if chunks or not self._identity(number)[0]}
        self._left = {number: len(chunks) for number, chunks in found.items()}
        return found

    def _valid(self) -> list[Record]:
        """Return the records that count, and remove the others before any file can get an inode that they name."""
        records = list(self.journal.read())
        valid = [record for record in records if self._counts(record)]
        if len(valid) < len(records):
            self.journal.replace(joined(valid))
        return valid

    def _counts(self, record: Record) -> bool:
        """Whether a record is of the file that is there now, and of chunks that this has."""
        if not 0 <= record.number < len(self.manifest.files):
            return False
        entry = self.manifest.files[record.number]
        within = 0 <= record.first < record.first + record.count <= len(entry.chunks)
        return within and self._identity(record.number) == (record.inode, entry.size)

    def _identity(self, number: int) -> tuple[int, int]:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = (self.files / self.manifest.files[number].path).lstat()
            if stat.S_ISREG(status.st_mode):
                return status.st_ino, status.st_size
        return 0, 0

    def refuse_too_little_space(self, shared: Mapping[int, int], linked: Mapping[int, int]) -> None:
        """Judge the free space before the first byte.

        :param shared: Bytes of files, by their numbers, that will use no space; these files get no blocks beforehand.
        :param linked: The same of files that will be other names of files that are there.
        :raises Failure: What is missing does not fit.
        """
        without = {**shared, **linked}
        self._shared = frozenset(without)
        space.refuse_too_little(self._root, self._revision, self.manifest, self.files, without, linked)

    def create_empty(self, number: int) -> None:
        """Make a file that has no chunk."""
        descriptor = self._opened(number)
        os.fchmod(descriptor, mode_of(self.manifest.files[number]))
        with self._batch.spoilt_by_errors():
            os.close(descriptor)

    def write(self, number: int, index: int, data: memoryview, put: Put | None = None) -> None:
        """Write a chunk that was verified.

        :param put: Brings the data to its place: called with the file, the data and the place.
        """
        entry = self.manifest.files[number]
        descriptor, small = self._descriptor(number), len(entry.chunks) == 1
        # The disk need not be waited for once a small file.
        put = put or (filesystem.write_fully if small else self.put)
        with self._batch.spoilt_by_errors():
            put(descriptor, data, entry.span(index).start)
            record = Record(number, os.fstat(descriptor).st_ino, index, 1)
            if not small:  # before it is counted: while a chunk of it is missing, nobody closes the file
                self._batch.add(record, descriptor, len(data))
            if self._completes(number):
                os.fchmod(descriptor, mode_of(entry))
                if small:
                    self._batch.close_small(record, descriptor, len(data))
                else:
                    self._batch.close(descriptor)
        self._batch.flush_when_due()

    def _completes(self, number: int) -> bool:
        """Count a chunk that was written; say whether it was the file's last, which is then the caller's to close."""
        with self._lock:
            self._left[number] -= 1
            if self._left[number]:
                return False
            del self._open[number]
            return True

    def _descriptor(self, number: int) -> int:
        # Not the lock of all: giving a file its blocks takes 0.1 s for 256 MiB, which the others need not wait for.
        with self._opening[number % len(self._opening)]:
            if number not in self._open:
                self._open[number] = self._opened(number)
            return self._open[number]

    def link(self, number: int, source: Path) -> bool:
        """Make a file another name of *source*, which was verified; say whether it is one."""
        target = self.files / self.manifest.files[number].path
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (*_NO_LINK, errno.EEXIST):
                raise
        with suppress(FileNotFoundError):
            status = target.lstat()
            if (status.st_ino, status.st_nlink > 1) == (source.lstat().st_ino, True):
                self._inodes[number] = status.st_ino
                return True
        return False

    def _opened(self, number: int) -> int:
        entry = self.manifest.files[number]
        path = self.files / entry.path
        try:
            _without_links(path)
            descriptor = _opened(path)
        except OSError as error:
            if error.errno in filesystem.NO_FILE:
                raise self._meddled(f"{entry.path!r} is no regular file.") from error
            raise
        status = os.fstat(descriptor)
        if status.st_nlink > 1 or self._inodes.setdefault(number, status.st_ino) != status.st_ino:
            os.close(descriptor)
            raise self._meddled(f"File {entry.path!r} was replaced while it was filled.")
        if status.st_size != entry.size:
            self._give_size(descriptor, number)
        return descriptor

    def _give_size(self, descriptor: int, number: int) -> None:
        """Give a file its final size, with blocks where a shortage should show before they are written."""
        entry = self.manifest.files[number]
        if self._in_memory or number in self._shared or len(entry.chunks) == 1:
            os.ftruncate(descriptor, entry.size)
        else:
            filesystem.allocate(descriptor, entry.size)

    def _meddled(self, *problems: object) -> Failure:
        advice = f"Remove {str(self.path)!r}, which somebody else wrote into."
        return Failure(ExitCode.FOREIGN, *(f"{problem} {advice}" for problem in problems))

    def flush(self) -> None:
        """Make durable what was written, and note it in the journal."""
        self._batch.flush()

    def _sync_all(self) -> None:
        filesystem.sync_all(self._directory)

    def close(self) -> None:
        """Close whatever the run left open."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
        self.journal.close()

    def publish(self) -> Snapshot:
        """Make everything durable and visible, by one rename.

        :raises Failure: It could not be done.
        """
        self._set_modes()
        self._sync_all()
        tree = claim.read_tree(self.files)
        if problems := claim.strays(tree, self.manifest) or self._replaced(tree):
            raise self._meddled(*problems)
        return publish(self._root, Staged(self.path, self._revision, self.manifest, tree.stats), self._damaged)

    def _replaced(self, tree: claim.Tree) -> list[str]:
        """Return one sentence for each file that is not the one that was filled or noted."""
        paths = {self.manifest.files[number].path: inode for number, inode in self._inodes.items()}
        other = sorted(path for path, inode in paths.items() if tree.stats[path][3] != inode)
        return [f"File {path!r} was replaced while others were fetched." for path in other]

    def _set_modes(self) -> None:
        """Close the directories, and the files of earlier attempts, whose modes a power loss may have undone."""
        for number, entry in enumerate(self.manifest.files):
            if number not in self._left:
                (self.files / entry.path).chmod(mode_of(entry))
        below = (path for path in self.files.rglob("*") if path.is_dir() and not path.is_symlink())
        for directory in (*sorted(below, reverse=True), self.files):
            directory.chmod(0o555)


def _without_links(path: Path) -> None:
    """Remove a name that an earlier run linked to another snapshot's file: such a file is never opened for writing."""
    with suppress(FileNotFoundError):
        if path.lstat().st_nlink > 1:
            path.unlink()


def _opened(path: Path) -> int:
    """Open a staged file, made when it is not there."""
    try:
        return filesystem.open_regular(path, os.O_RDWR | os.O_CREAT)
    except PermissionError:
        path.chmod(0o644)  # complete but for its record in the journal when an earlier run ended
        return filesystem.open_regular(path, os.O_RDWR | os.O_CREAT)


def mode_of(entry: Entry) -> int:
    """Return the permissions that a file has in a snapshot."""
    return 0o555 if entry.executable else 0o444
