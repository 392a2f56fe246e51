"""Files that share blocks (reflink): FICLONERANGE, on file systems such as xfs and btrfs."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
from typing import TYPE_CHECKING

from modelberth.engine.filesystem import UNABLE, write_fully

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_FICLONERANGE = 0x4020940D
CANNOT = (*UNABLE, errno.EXDEV, errno.EPERM, errno.EISDIR, errno.ENOTTY, errno.ETXTBSY)
"""What :func:`clone` raises where blocks cannot be shared; anything else is the file system's trouble."""


def clone(source: int, start: int, length: int, destination: int, at: int) -> None:
    """Let *destination* have at *at* the blocks that *source* has at *start*; all three are whole blocks, in bytes.

    :raises OSError: It cannot be done.
    """
    fcntl.ioctl(destination, _FICLONERANGE, struct.pack("qQQQ", source, start, length, at))


def block_of(directory: Path) -> int:
    """Return the size of a block, bytes, where files in *directory* can share them; 0 where they cannot: by trial."""
    with scratch(directory) as one, scratch(directory) as other:
        block = os.fstatvfs(one.fileno()).f_bsize
        write_fully(one.fileno(), memoryview(bytes(block)), 0)
        try:
            clone(one.fileno(), 0, block, other.fileno(), 0)
        except OSError as error:
            if error.errno not in CANNOT:
                raise
            return 0
    return block


def scratch(directory: Path) -> IO[bytes]:
    """Return a file in *directory* that has no name and goes when it is closed."""
    return tempfile.TemporaryFile(dir=directory, buffering=0)
