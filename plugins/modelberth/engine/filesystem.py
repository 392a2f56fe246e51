"""What durability needs of the kernel and Python does not offer, and what a file system must be able to do."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

_libc = ctypes.CDLL(None, use_errno=True)
_WITHOUT_RENAME = ("fuse.s3fs", "fuse.rclone", "fuse.mountpoint-s3", "fuse.mount-s3", "fuse.gcsfuse", "fuse.goofys")
UNABLE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a call answers that a file system does not know."""
_NO_RENAME = (*UNABLE, errno.EPERM, errno.EXDEV)


def allocate(descriptor: int, size: int) -> bool:
    """Give a file its final size, with blocks where the file system can; say whether it could.

    Not os.posix_fallocate: without support for it, libc writes a byte in each block, over what others write there.
    """
    if not size:
        return True
    if _libc.fallocate(descriptor, 0, ctypes.c_long(0), ctypes.c_long(size)) == 0:
        return True
    if (number := ctypes.get_errno()) not in UNABLE:
        raise OSError(number, os.strerror(number))
    os.ftruncate(descriptor, size)
    return False


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """Open a regular file, and nothing else: a link leads elsewhere, a pipe would wait for ever for its other end.

    :raises OSError: It cannot be opened (ELOOP for a link), or is no regular file (EINVAL).
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EINVAL, errno.EISDIR)
"""What :func:`open_regular` raises where no regular file is; anything else is the file system's trouble."""

LOST = (*NO_FILE, errno.EIO, errno.EUCLEAN, errno.EBADMSG)
"""What reading answers where a file, or some of its bytes, are not there any more. All else (ESTALE, ETIMEDOUT,
ENOTCONN, EACCES, EMFILE, ...) speaks of the way there, and may pass."""


def sync_all(descriptor: int) -> None:
    """Make everything on the descriptor's file system durable: one call instead of one a file.

    The kernel reports an earlier failure to write only to descriptors that were open then: keep one.
    """
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def reached_by_syncfs(kind: str) -> bool:
    """Whether :func:`sync_all` makes everything durable on a file system of that kind.

    To a FUSE process the kernel hands its own dirty pages and says no more: the call is told to virtiofs alone (and,
    lately, fuseblk), since a process could hold it up for ever. What the process has in its memory stays there.
    """
    return not kind.startswith("fuse")


def sync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Write a small file and make its bytes durable; an older one of that name is replaced."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_fully(descriptor, memoryview(data), 0)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def write_fully(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of *data* at *offset*."""
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)


def refuse_unsuitable(hidden: Path) -> None:
    """Refuse a file system on which publishing by one rename would not be one step.

    :param hidden: Our own directory on it, for the trial.
    :raises Failure: It cannot rename a directory, or does so onto one that holds something.
    :raises OSError: The trial could not be made for another reason: no space, no right, no answer.
    """
    kind = file_system_of(hidden)
    if kind in _WITHOUT_RENAME:
        raise _unsupported(hidden, f"{kind} moves directories file by file")
    trial = hidden / f"trial-{secrets.token_hex(8)}"
    try:
        (trial / "full" / "x").mkdir(parents=True)
        (trial / "other" / "y").mkdir(parents=True)
        _refuse_rename(trial / "other", trial / "full", hidden)
    finally:
        remove_tree(trial)


def _refuse_rename(source: Path, full: Path, hidden: Path) -> None:
    try:
        source.rename(full)
    except OSError as error:
        if error.errno in _NO_RENAME:
            raise _unsupported(hidden, f"renaming a directory failed: {error.strerror}") from error
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        raise _unsupported(hidden, "it renames a directory onto one that is not empty")


def _unsupported(path: Path, why: str) -> Failure:
    return Failure(
        ExitCode.UNSUPPORTED,
        f"The file system of {str(path.parent)!r} cannot publish a snapshot in one step: {why}. "
        "Use a volume with atomic directory renames: a local disk, NFS, EFS, CephFS, Longhorn.",
    )


def file_system_of(path: Path) -> str:
    """Return the type of the file system that *path* lies on, as the kernel names it; empty when unknown."""
    with suppress(OSError):
        mount = _mount_of(path)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            if before.split()[0] == mount:
                return after.split()[0]
    return ""


def _mount_of(path: Path) -> str:
    """Return the mount's number; not the device's, by which no mount of btrfs is found."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    finally:
        os.close(descriptor)
    return next((line.split()[1] for line in lines if line.startswith("mnt_id:")), "")


def remove_tree(path: Path) -> None:
    """Remove *path* and all below it that is ours; what cannot be removed stays without an error."""
    for directory, subdirectories, names in os.walk(path, topdown=False):
        here = Path(directory)
        with suppress(OSError):
            here.chmod(0o755)
        for name in names:
            with suppress(OSError):
                (here / name).unlink()
        for name in subdirectories:
            with suppress(OSError):
                (here / name).rmdir()
    with suppress(OSError):
        path.rmdir()


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn the kernel's errors into failures that say what they mean for a claim.

    | errno | code |
    |---|---|
    | ENOSPC, EDQUOT | no space |
    | EACCES, EPERM, EROFS | denied |
    | anything else (EIO, ESTALE, ENOTCONN, ...) | unreachable: the same may work on another mount |

    :param what: What could not be done, for the message: ``write snapshot ...``.
    :raises Failure: Instead of OSError.
    """
    try:
        yield
    except OSError as error:
        raise failure_of(error, what) from error


def failure_of(error: OSError, what: str) -> Failure:
    """Return the failure that stands for *error*, by the table of :func:`told`."""
    where = f" ({str(error.filename)!r})" if error.filename else ""
    begin = f"Could not {what}{where}: {error.strerror}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(ExitCode.NO_SPACE, f"{begin} Prune snapshots or enlarge the volume; what arrived is kept.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Failure(ExitCode.DENIED, f"{begin} It must be mounted for writing and belong to this user.")
    return Failure(ExitCode.UNREACHABLE, f"{begin} The file system does not answer as it should: run the same again.")
