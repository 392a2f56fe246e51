"""Reads a claim: which snapshots are there, and whether their files are still as they were published."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelberth.core import layout, paths
from modelberth.core.damage import Problem
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Manifest
from modelberth.core.ready import Ready, Stats
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import MODEL_NAME, Revision, Snapshot
from modelberth.engine import filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A snapshot whose READY names its own manifest."""

    revision: Revision
    snapshot: Snapshot
    path: Path
    ready: Ready
    manifest: Manifest

    @property
    def files(self) -> Path:
        """The directory that is served."""
        return self.path / layout.FILES


def existing_root(root: Path) -> Path:
    """Return *root* as an absolute path.

    :raises Failure: There is no such directory.
    """
    if not root.is_dir():
        raise Failure(ExitCode.NOT_FOUND, f"No directory {str(root)!r}: give the path where the claim is mounted.")
    return root.resolve()


def copies(root: Path, revision: Revision) -> list[Snapshot]:
    """Return all directories that are named as snapshots of *revision*, whatever they hold, the oldest first.

    :raises Failure: In the place of the model's directory is a link, or something else that somebody put there.
    """
    return sorted(snapshot for snapshot in snapshots(root / revision.model) if snapshot.digest == revision.digest)


def snapshots(directory: Path) -> Iterator[Snapshot]:
    """Yield what is named as a snapshot in a model's directory, nothing when it is not there.

    :raises Failure: It is no directory of its own.
    """
    try:
        directory.lstat()  # not os.path.lexists: to it, a file system that does not answer has nothing
    except FileNotFoundError:
        return
    refuse_other_than_directory(directory)
    for path in directory.iterdir():
        with suppress(ValueError):
            yield Snapshot.parse(path.name)


def models(root: Path) -> list[str]:
    """Return the names of the models that have a directory of their own."""
    with os.scandir(root) as entries:
        found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(name for name in found if MODEL_NAME.fullmatch(name))


def published(root: Path, revision: Revision, snapshot: Snapshot) -> Published:
    """Return a snapshot.

    :raises Failure: It is not there, or foreign: without a READY that names its own manifest, or made of links.
    :raises OSError: The file system does not answer.
    """
    path = root / layout.snapshot_path(revision.model, snapshot)
    if snapshot not in snapshots(path.parent):
        raise Failure(ExitCode.NOT_FOUND, f"No snapshot {str(path)!r}: sync {revision} first.")
    refuse_other_than_directory(path)
    refuse_other_than_directory(path / layout.FILES)
    ready, data = Ready.parse(_read(path, layout.READY)), _read(path, layout.MANIFEST)
    if ready.revision != revision or Digest.of(data) != revision.digest or snapshot.digest != revision.digest:
        raise Failure(
            ExitCode.FOREIGN,
            f"Directory {str(path)!r} is not a snapshot of {revision}: its READY says {ready.revision}, its manifest "
            f"is {Digest.of(data)}. It is never served; remove it by hand if it is yours.",
        )
    return Published(revision, snapshot, path, ready, Manifest.parse(data))


def _read(directory: Path, name: str) -> bytes:
    try:
        with os.fdopen(filesystem.open_regular(directory / name), "rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        if error.errno not in filesystem.NO_FILE:
            raise
        raise Failure(
            ExitCode.FOREIGN,
            f"Directory {str(directory)!r} has no {name}: it is not a snapshot, and is never served.",
        ) from error


def refuse_other_than_directory(path: Path) -> None:
    """Refuse a link, which may lead anywhere, or whatever else is no directory.

    :raises Failure: It is foreign.
    """
    try:
        found = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        found = False
    if not found:
        raise Failure(
            ExitCode.FOREIGN,
            f"{str(path)!r} is no directory of its own (a link is none): it is not ours, and is never served or "
            "written into. Remove it by hand.",
        )


def own_directory(path: Path) -> None:
    """Make a directory, unless it is there.

    :raises Failure: Something else is there.
    """
    with suppress(FileExistsError):
        path.mkdir()
    refuse_other_than_directory(path)


def newest(root: Path, revision: Revision) -> Published:
    """Return the newest ready snapshot of *revision*.

    :raises Failure: There is none.
    :raises OSError: The newest could not be looked at for a reason that may pass: no older one is taken for it.
    """
    foreign: Failure | OSError | None = None
    for snapshot in reversed(copies(root, revision)):
        try:
            return published(root, revision, snapshot)
        except (Failure, OSError) as failure:
            if isinstance(failure, OSError) and failure.errno not in filesystem.LOST:
                raise
            foreign = failure
    raise foreign or Failure(ExitCode.NOT_FOUND, f"No snapshot of {revision} in {str(root)!r}: sync it first.")


@dataclass
class Tree:
    """What lies below a directory.

    :param odd: Links, devices and the like, which no snapshot has.
    :param linked: The inodes of files that have several names.
    """

    stats: Stats = field(default_factory=dict)
    executables: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    linked: set[int] = field(default_factory=set)


def read_tree(directory: Path) -> Tree:
    """Return what lies below *directory*."""
    tree, left = Tree(), [""]
    while left:
        path = left.pop()
        # What no manifest may name is in the table already: below it nothing counts, however deep it is.
        if not (path and paths.refusal(path)):
            left += _read_directory(directory, path, tree)
    return tree


def _read_directory(directory: Path, above: str, tree: Tree) -> list[str]:
    """Add what lies in one directory to *tree*; return the directories in it."""
    found = []
    with os.scandir(directory / above) as entries:
        for entry in entries:
            path, status = f"{above}/{entry.name}" if above else entry.name, entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                found.append(path)
            elif stat.S_ISREG(status.st_mode):
                tree.stats[path] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                if status.st_mode & stat.S_IXUSR:
                    tree.executables.add(path)
                if status.st_nlink > 1:
                    tree.linked.add(status.st_ino)
            else:
                tree.odd.append(path)
    tree.directories.update(found)
    return found


def strays(tree: Tree, manifest: Manifest) -> list[Problem]:
    """Return each difference between a tree and its manifest that shows without reading bytes."""
    problems = [Problem(path, 0, 0, f"{path!r} is neither file nor directory.") for path in sorted(tree.odd)]
    entries = {entry.path: entry for entry in manifest.files}
    missing, more = sorted(entries.keys() - tree.stats.keys()), sorted(tree.stats.keys() - entries.keys())
    problems += [Problem(path, 0, entries[path].size, f"File {path!r} is missing.") for path in missing]
    problems += [Problem(path, 0, 0, f"File {path!r} is not in the manifest.") for path in more]
    for path in sorted(entries.keys() & tree.stats.keys()):
        entry, size = entries[path], tree.stats[path][0]
        if size != entry.size:
            problems.append(Problem(path, 0, 0, f"File {path!r} has {size} bytes; expected {entry.size}."))
        if (path in tree.executables) != entry.executable:
            what = f"File {path!r} is {'not ' if entry.executable else ''}executable; expected the opposite."
            problems.append(Problem(path, 0, 0, what))
    return problems + _directory_problems(tree, manifest)


def _directory_problems(tree: Tree, manifest: Manifest) -> list[Problem]:
    expected = set(manifest.empty_dirs)
    for path in (*(entry.path for entry in manifest.files), *manifest.empty_dirs):
        expected.update(paths.parents(path))
    problems = {path: f"Directory {path!r} is missing." for path in expected - tree.directories}
    problems |= {path: f"Directory {path!r} is not in the manifest." for path in tree.directories - expected}
    return [Problem(path, 0, 0, problems[path]) for path in sorted(problems)]
