"""What lies in a model's directory: its files with their identity, its empty directories, and what is refused.

A link inside the directory is stored as what it points to. A link out of it is refused unless the caller names a
directory that links may lead to: Hugging Face's cache is made of such links.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modelberth.core import paths
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.heads import head_of
from modelberth.engine.http import Answer
from modelberth.engine.transport import read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelberth.core.chunks import Span
    from modelberth.engine.transport import Sink


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when the directory was scanned.

    :param identity: Device, inode, size, mtime and ctime (nanoseconds): another value means that it changed.
    """

    path: str
    real: Path
    size: int
    executable: bool
    identity: tuple[int, int, int, int, int]

    @property
    def sha256(self) -> str:
        """Nobody said which it should have."""
        return ""

    @property
    def in_order(self) -> bool:
        """Any part can be read at any time."""
        return False

    @property
    def cheap(self) -> bool:
        """It is on a disk."""
        return True

    def head(self) -> int:
        """Return where tensor data starts, 0 when that is unknown or not inside it."""
        return head_of(self.real, PurePosixPath(self.path).suffix, self.size)

    def bring(self, spans: Sequence[Span], sink: Sink) -> None:
        """Let *sink* receive each of *spans*.

        :raises Failure: The file ends too early or is gone.
        """
        try:
            descriptor = os.open(self.real, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise self._changed() from error
        try:
            for number, span in enumerate(spans):
                sink(number, _filling(descriptor, span.start))
        except Answer as error:
            raise self._changed() from error
        finally:
            os.close(descriptor)

    def refuse_changed(self) -> None:
        """Refuse the file when it is not as it was when it was scanned.

        :raises Failure: It has another size, time or identity, or is gone.
        """
        try:
            same = identity(self.real.stat()) == self.identity
        except FileNotFoundError:
            same = False
        if not same:
            raise self._changed()

    def _changed(self) -> Failure:
        return Failure(
            ExitCode.CHANGED,
            f"File {str(self.real)!r} changed while it was read. Nothing was published: wait until the model is "
            "complete and run the same again.",
        )


def _filling(descriptor: int, start: int) -> Callable[[memoryview, Callable[[memoryview], object]], None]:
    def fill(view: memoryview, each: Callable[[memoryview], object]) -> None:
        read_exactly(descriptor, view, start, each)

    return fill


class Directory:
    """A model in a directory."""

    def __init__(self, path: Path, follow_links: Path | None) -> None:
        self.name = str(path)
        self._path = path
        self._follow_links = follow_links
        self._found = scan(path, follow_links)
        self.files: Sequence[SourceFile] = self._found.files
        self.empty_dirs: Sequence[str] = self._found.empty_dirs

    def refuse_changed(self) -> None:
        """Refuse a directory in which a file came, went or changed since it was scanned.

        :raises Failure: One did.
        """
        for file in self.files:
            file.refuse_changed()
        if scan(self._path, self._follow_links) != self._found:
            raise Failure(
                ExitCode.CHANGED,
                f"Directory {self.name!r} changed while it was uploaded. The revision was not published: wait until "
                "the model is complete and run the same again.",
            )


@dataclass(slots=True)
class Scan:
    """Everything that belongs to the model."""

    files: list[SourceFile] = field(default_factory=list)
    empty_dirs: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """Return what tells whether a file is the same and unchanged."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def scan(directory: Path, follow_links: Path | None = None) -> Scan:
    """Return what is in *directory*.

    :param follow_links: Where links out of it may lead.
    :raises Failure: There is no such directory, it holds no file, or something in it is refused; all of it is named.
    """
    if not directory.is_dir():
        raise Failure(
            ExitCode.NOT_FOUND, f"No directory {str(directory)!r} to read a model from: give one that exists."
        )
    allowed = [directory.resolve(), *([follow_links.resolve()] if follow_links else [])]
    found = Scan()
    left: list[_Directory] = [_Directory(directory, "", ())]
    while left:
        left += _read(left.pop(), allowed, found)
    names = [file.path for file in found.files]
    found.problems += filter(None, map(_refusal, names + found.empty_dirs))
    found.problems += paths.clashes(names, found.empty_dirs)
    if found.problems:
        raise Failure(ExitCode.REFUSED, *(f"In {str(directory)!r}: {problem}" for problem in found.problems))
    if not found.files:
        raise Failure(ExitCode.REFUSED, f"Directory {str(directory)!r} holds no file: there is no model to upload.")
    found.files.sort(key=lambda file: file.path)
    return found


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory that is still to be read.

    :param above: The real paths of those that lead to it.
    """

    directory: Path
    path: str
    above: tuple[Path, ...]


def _refusal(path: str) -> str | None:
    why = paths.refusal(path)
    return f"Path {path!r} {why}." if why else None


def _read(item: _Directory, allowed: list[Path], found: Scan) -> list[_Directory]:
    """Take what lies in one directory; return the directories in it."""
    real = item.directory.resolve()
    if real in item.above:
        found.problems.append(f"Link {item.path!r} leads to a directory above itself: remove it.")
        return []
    if item.path and (problem := _refusal(item.path)):
        found.problems.append(problem)  # before it is read: what is deep enough has no end
        return []
    with os.scandir(item.directory) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    if not entries and item.path:
        found.empty_dirs.append(item.path)
    deeper = []
    for entry in entries:
        path = f"{item.path}/{entry.name}" if item.path else entry.name
        if _take(entry, path, allowed, found):
            deeper.append(_Directory(Path(entry.path), path, (*item.above, real)))
    return deeper


def _take(entry: os.DirEntry[str], path: str, allowed: list[Path], found: Scan) -> bool:
    """Take a file; say whether it is a directory instead."""
    if entry.is_symlink() and (problem := _link_problem(Path(entry.path), path, allowed)):
        found.problems.append(problem)
    elif entry.is_dir():
        return True
    elif entry.is_file():
        status = entry.stat()
        executable = bool(status.st_mode & stat.S_IXUSR)
        real = Path(entry.path).resolve() if entry.is_symlink() else Path(entry.path)
        found.files.append(SourceFile(path, real, status.st_size, executable, identity(status)))
    else:
        found.problems.append(f"{path!r} is a device, pipe or socket: a model has only files and directories.")
    return False


def _link_problem(link: Path, path: str, allowed: Iterable[Path]) -> str | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return f"Link {path!r} leads nowhere: {str(link.readlink())!r}. Remove it or bring what it points to."
    if any(target.is_relative_to(root) for root in allowed):
        return None
    return (
        f"Link {path!r} leads out of the model to {str(target)!r}. "
        "If that is meant, name with --follow-links where links may lead."
    )
