"""What this node's memory holds of a file: what is read from there proves nothing about the storage.

``mincore`` counts exactly, on every kernel, and sees through overlayfs, which ``cachestat`` (Linux 6.5) does not: an
overlay's file has an empty cache of its own above that of the file that is read. Where a caller may neither write the
file nor owns it, the kernel calls every page resident, which errs on the honest side.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

from modelberth.engine import filesystem

if TYPE_CHECKING:
    from pathlib import Path

_WINDOW = 2**30
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)


def is_all_of_memory(path: Path) -> bool:
    """Return whether this node keeps nothing of the files near *path* but what the kernel's cache holds.

    The process behind a FUSE file system keeps what it likes, which nobody else can count or drop.
    """
    return not filesystem.file_system_of(path).startswith("fuse")


def dropped(path: Path) -> int | None:
    """Let the kernel forget a file, and return how many bytes of it are in memory nevertheless; None if unknown.

    Pages that a process has mapped stay, and those not yet written; a tmpfs has no other place for its own.

    :raises OSError: It cannot be opened.
    """
    descriptor = filesystem.open_regular(path)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _resident(descriptor)
    finally:
        os.close(descriptor)


def resident(path: Path) -> int | None:
    """Return how many bytes of a file are in this node's memory, in whole pages; None if the kernel cannot tell.

    :raises OSError: It cannot be opened.
    """
    descriptor = filesystem.open_regular(path)
    try:
        return _resident(descriptor)
    finally:
        os.close(descriptor)


def _resident(descriptor: int) -> int | None:
    size, pages = os.fstat(descriptor).st_size, 0
    for start in range(0, size, _WINDOW):
        found = _pages(descriptor, start, min(_WINDOW, size - start))
        if found is None:
            return None
        pages += found
    return min(pages * mmap.PAGESIZE, size)


def _pages(descriptor: int, start: int, length: int) -> int | None:
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, start)
    if address == _FAILED:
        return None
    try:
        there = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        return None if _libc.mincore(address, length, there) else there.raw.count(b"\x01")
    finally:
        _libc.munmap(address, length)
