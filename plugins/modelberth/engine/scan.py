"""What lies in a model's directory: its files with their identity, its empty directories, and what is refused.

A link inside the directory is stored as what it points to. A link out of it is refused unless the caller names a
directory that links may lead to: Hugging Face's cache is made of such links.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelberth.core import paths
from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable


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
