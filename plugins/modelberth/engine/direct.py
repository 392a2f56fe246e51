"""Writes verified chunks past this node's page cache, where the file system takes them so.

A model is larger than what a pod may keep in memory. Written through the cache, each byte is copied once more, and a
pod at its limit waits until the kernel has cleaned its pages (docs/benchmarks.md, P2). What is written so is no more
durable than before: that is fdatasync's to say. Nothing is lost for reading either: a verify drops the cache.

The kernel wants whole blocks, at addresses in memory that lie as the places in the file do (open(2), O_DIRECT). The
tensors of a safetensors file begin anywhere, so a chunk's first and last bytes go through the cache.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from modelberth.engine.filesystem import write_fully

if TYPE_CHECKING:
    from collections.abc import Callable

    Put = Callable[[int, memoryview, int], object]

BLOCK = 4096
"""Bytes: a multiple of every disk's block, and of the memory's pages."""

_KINDS = ("ext4", "xfs")
"""Where it was measured. Network file systems have caches of their own to be past."""


def put_on(kind: str) -> Put:
    """Return what brings data to its place in a file, on a file system of that kind."""
    return write if kind in _KINDS else write_fully


def write(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of *data* at *offset*, its whole blocks past the cache where the kernel takes them.

    :raises OSError: It could not be written.
    """
    first = min(-offset % BLOCK, len(data))
    last = len(data) - (len(data) - first) % BLOCK
    if first == last or not _past_the_cache(descriptor, data[first:last], offset + first):
        write_fully(descriptor, data, offset)
        return
    write_fully(descriptor, data[:first], offset)
    write_fully(descriptor, data[last:], offset + last)


def _past_the_cache(descriptor: int, blocks: memoryview, offset: int) -> bool:
    """Write whole blocks; say whether the kernel took them so.

    By a descriptor of its own: what it is opened for holds for all who write by it, and edges are none of its kind.
    """
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False  # no /proc, not here, or another writer was faster and has closed the file for writing
    try:
        write_fully(direct, blocks, offset)
    except OSError as error:
        if error.errno == errno.EINVAL:  # other blocks than ours
            return False
        raise
    finally:
        os.close(direct)
    return True
