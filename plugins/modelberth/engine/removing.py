"""Takes directories away: renames that are judged by what is there afterwards, and trees that are removed for good.

Nothing here follows a link: directories are opened by what they are, and names are removed in what was opened.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from modelberth.engine.condemned import is_there
from modelberth.engine.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.engine.stopping import Stop

_IN_USE = (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY)
"""What rmdir answers where NFS keeps a removed file, which somebody has open, under another name."""


def move(source: Path, target: Path) -> None:
    """Rename *source* to *target*, which must be free, and judge by what is there: NFS repeats requests.

    :raises OSError: It could not be done.
    """
    if is_there(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        source.rename(target)
    except OSError:
        if is_there(source) or not is_there(target):
            raise


def set_mode(directory: Path, mode: int) -> None:
    """Give a directory, and never what a link in its place leads to, other permissions."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def remove(directory: Path, subject: str, stop: Stop) -> int:
    """Remove *directory* and all below it; return the bytes that its files took up and nobody else has.

    What stays in use is left: NFS keeps a file that somebody has open. The next removal comes by again.

    :param subject: What it is, for the progress.
    :raises Failure: The run was interrupted; the rest is removed by the next.
    :raises OSError: Something else cannot be removed.
    """
    taken = _files(directory)
    progress = Progress(subject, "deleted", taken)
    with progress.shown():
        for place, _, files, descriptor in os.fwalk(directory, follow_symlinks=False):
            os.fchmod(descriptor, 0o755)
            for name in files:
                stop.check()
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)
                progress.add((place, name), taken.get((place, name), 0))
    for _, below, _, descriptor in os.fwalk(directory, topdown=False, follow_symlinks=False):
        for name in below:
            _remove_directory(name, descriptor)
    with suppress(FileNotFoundError):
        _tolerating(directory.rmdir)
    return progress.done


def _files(directory: Path) -> dict[tuple[str, str], int]:
    """Return the files below *directory*, with the bytes that their removal frees: none of one that has other names."""
    found = {}
    for place, _, files, descriptor in os.fwalk(directory, follow_symlinks=False):
        for name in files:
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                found[place, name] = status.st_blocks * 512 if status.st_nlink == 1 else 0
    return found


def _remove_directory(name: str, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=descriptor)  # fwalk takes a link to a directory for one, and does not go there
        else:
            _tolerating(lambda: os.rmdir(name, dir_fd=descriptor))


def _tolerating(remove_directory: object) -> None:
    try:
        remove_directory()  # type: ignore[operator]
    except OSError as error:
        if error.errno not in _IN_USE:
            raise
