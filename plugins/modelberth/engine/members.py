"""What a tar or a zip claims to hold, one member after another, and whether the archive is sound as a whole."""

from __future__ import annotations

import errno
import gzip
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from modelberth.core.fetchlist import Archive

_PIECE = 1024 * 1024
_LONGEST_HEADER = 1024 * 1024
"""Bytes of what tar puts before a member, a long name for example: tarfile reads it into memory, whatever it claims."""

_MOST_HEADERS = 16
"""How many of these come before one member: tarfile calls itself for each. Tools write four at most."""

_LONGEST_END = 64 * 1024 * 1024
"""Bytes after a tar's last member: its end marker, and what fills up a tape's block, 10 KiB as a rule."""

BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, LZMAError),
    *(EOFError, ValueError, IndexError, NotImplementedError),
)
"""What reading a damaged or hostile archive raises, beside an OSError that is no disk's."""

NO_DISK = (None, errno.EINVAL)
"""The numbers of such: bz2 gives none, and a zip may lead to before its start."""


@dataclass(frozen=True, slots=True)
class Member:
    """What an archive claims of one thing in it.

    :param odd: Why it is none that a model may have, None when it is one.
    :param open: Returns its bytes; only until the next member is asked for.
    """

    name: str
    size: int
    directory: bool
    executable: bool
    odd: str | None
    open: Callable[[], IO[bytes] | None]

    @property
    def path(self) -> str:
        """Its path in the model; empty for the archive's own directory."""
        path = self.name.removeprefix("./").removesuffix("/")
        return "" if path == "." else path


def members(archive: Archive, whole: Path) -> Iterator[Member]:
    """Yield what the archive in file *whole* claims to hold; a tar is read to its end for that.

    :raises BROKEN: It is not sound.
    """
    return _in_tar(whole) if archive.format == "tar" else _in_zip(whole)


class _Header(tarfile.TarInfo):
    """A member's header, which is read only if it has the size of one."""

    _BEFORE = (b"x", b"g", b"X", b"L", b"K")

    def _proc_member(self, found: tarfile.TarFile) -> tarfile.TarInfo:
        before = self.type in self._BEFORE
        if before and self.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        headers = getattr(found, "headers", 0) + 1 if before else 0
        if headers > _MOST_HEADERS:
            raise tarfile.ReadError(f"over {_MOST_HEADERS} headers before one member")
        found.headers = headers  # type: ignore[attr-defined]
        return super()._proc_member(found)  # type: ignore[misc,no-any-return]

    def _block(self, count: int) -> int:
        """Refuse to go backwards: tarfile of Python 3.11 would read one member for ever, or a name of all there is."""
        if count < 0:
            raise tarfile.ReadError(f"a member of {count} bytes")
        found: int = super()._block(count)  # type: ignore[misc]
        return found

    @classmethod
    def fromtarfile(cls, found: tarfile.TarFile) -> Self:
        """Return the next header; tarfile takes one that is damaged, and a file that ends, for the archive's end.

        :raises tarfile.EOFHeaderError: It is empty, as the two of the end are.
        """
        try:
            return super().fromtarfile(found)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed has it not
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it breaks off, or is damaged, at its byte {found.offset} ({error})") from error


def _refuse_cut(packed: Any) -> None:
    """Read on after the first empty header: to the second, and to the end, where compressions have their checksums."""
    if packed.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off before the two empty headers of its end")
    left = _LONGEST_END
    while piece := packed.read(_PIECE):
        left -= len(piece)
        if left < 0:
            raise tarfile.ReadError(f"it goes on for over {_LONGEST_END} bytes after its end")


def _in_tar(whole: Path) -> Iterator[Member]:
    with tarfile.open(whole, "r:*", tarinfo=_Header) as tar:
        for one in tar:
            if one.size < 0:  # of a directory or a sparse file, say
                raise tarfile.ReadError(f"a member of {one.size} bytes")
            opened = partial(tar.extractfile, one)
            yield Member(one.name, one.size, one.isdir(), bool(one.mode & stat.S_IXUSR), _odd_in_tar(one), opened)
            tar.members = []  # type: ignore[attr-defined]  # or it would keep all of them
        _refuse_cut(tar.fileobj)


def _odd_in_tar(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname[:200]!r}: links are not followed"
    return None if member.isreg() or member.isdir() else "is neither file nor directory"


def _in_zip(whole: Path) -> Iterator[Member]:
    with zipfile.ZipFile(whole) as packed:
        for one in packed.infolist():
            mode, opened = one.external_attr >> 16, partial(packed.open, one)
            yield Member(
                one.orig_filename, one.file_size, one.is_dir(), bool(mode & stat.S_IXUSR), _odd_in_zip(one), opened
            )


def _odd_in_zip(member: zipfile.ZipInfo) -> str | None:
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "is a link: links are not followed"
    if member.flag_bits & 1:
        return "is encrypted"
    return None if stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR) else "is neither file nor directory"
