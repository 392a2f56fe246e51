"""What is in an archive, as files in a directory of our own: verified before it is opened, and bounded.

Of a tar or zip from outside nothing is believed: neither a path, nor a size, nor that a member is a file. All that is
wrong with an archive is said at once, and a single member that is refused refuses all of it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from typing import IO, TYPE_CHECKING

from modelberth.core import paths
from modelberth.core.chunks import CHUNK_SIZE, Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import MOST_FILES
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from modelberth.core.fetchlist import Archive
    from modelberth.engine.remote import RemoteFile
    from modelberth.engine.stopping import Stop
    from modelberth.engine.transport import Fill

_SHOWN = 20
_PIECE = 1024 * 1024
_LONGEST_HEADER = 1024 * 1024
"""Bytes of what tar puts before a member, a long name for example: tarfile reads it into memory, whatever it claims."""

_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, LZMAError),
    *(EOFError, ValueError, NotImplementedError),
)
"""What reading a damaged or hostile archive raises."""


def unpack(archive: Archive, file: RemoteFile, scratch: Path, into: Path, stop: Stop) -> None:
    """Fetch an archive and put what is in it below *into*.

    It is read twice: all of it is known to be fine before the first file is written.

    :param scratch: A directory for the archive itself, which is gone from there afterwards.
    :raises Failure: It is not what it should be, holds what is refused, or does not fit.
    """
    whole = scratch / "archive"
    _fetch(file, whole, stop)
    _refuse_other(archive, whole)
    with _reading(archive):
        size = _accepted(archive, _members(archive, whole), stop)
        _refuse_if_full(archive, size, scratch)
        for member in _members(archive, whole):
            stop.check()
            _write(member, into)
    whole.unlink()


def _fetch(file: RemoteFile, whole: Path, stop: Stop) -> None:
    with whole.open("wb") as stream:
        descriptor = stream.fileno()

        def write(span: Span, fill: Fill) -> None:
            view = memoryview(bytearray(span.length))
            fill(view, lambda _piece: None)
            done = 0
            while done < span.length:
                done += os.pwrite(descriptor, view[done:], span.start + done)

        starts = range(0, file.size, CHUNK_SIZE)
        spans = [Span(start, min(CHUNK_SIZE, file.size - start)) for start in starts]
        if file.in_order:
            file.bring(spans, lambda number, fill: write(spans[number], fill))
        else:
            for_each(lambda one: file.bring([one], lambda _, fill: write(one, fill)), spans, stop, default_streams())


def _refuse_other(archive: Archive, whole: Path) -> None:
    """Refuse an archive with another digest than was named, before anything looks into it."""
    if not archive.file.sha256:
        return
    with whole.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != archive.file.sha256:
        raise Failure(
            ExitCode.MISMATCH,
            f"Archive {archive.file.path!r} at {archive.file.shown} is not the one that was named: expected "
            f"sha256:{archive.file.sha256}, got sha256:{found}. Nothing was unpacked.",
        )


@contextmanager
def _reading(archive: Archive) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        text = f"Archive {archive.file.path!r} at {archive.file.shown} is no sound {archive.format}: {error}."
        raise Failure(ExitCode.REFUSED, text) from error


@dataclass(frozen=True, slots=True)
class _Member:
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


def _accepted(archive: Archive, members: Iterable[_Member], stop: Stop) -> int:
    """Return how many bytes the archive unpacks to.

    :raises Failure: Too many, or a member is refused; all that are, are named.
    """
    files: list[str] = []
    dirs: set[str] = set()
    left, problems = archive.most, []
    for member in members:
        stop.check()
        left -= member.size
        if left < 0 or len(files) + len(dirs) > MOST_FILES:
            raise _bomb(archive)
        if not member.path:
            continue
        if why := paths.refusal(member.path) or member.odd:
            problems.append(f"Member {member.name[:200]!r} {why}.")
        elif member.directory:
            dirs.add(member.path)
        else:
            files.append(member.path)
    full = {parent for path in (*files, *dirs) for parent in paths.parents(path)}
    if problems := problems or paths.clashes(files, sorted(dirs - full)):
        start = f"Archive {archive.file.path!r} at {archive.file.shown} was refused: "
        more = [f"{len(problems) - _SHOWN} more."] if len(problems) > _SHOWN else []
        raise Failure(ExitCode.REFUSED, *(start + text for text in [*problems[:_SHOWN], *more]))
    return archive.most - left


def _bomb(archive: Archive) -> Failure:
    return Failure(
        ExitCode.REFUSED,
        f"Archive {archive.file.path!r} at {archive.file.shown} has {archive.file.size} bytes and would unpack to more "
        f"than {archive.most} bytes, or {MOST_FILES} files: nothing was unpacked. If that is right, give the model a "
        "larger size_limit.",
    )


def _refuse_if_full(archive: Archive, size: int, scratch: Path) -> None:
    free = shutil.disk_usage(scratch).free
    if size > free:
        raise Failure(
            ExitCode.NO_SPACE,
            f"Archive {archive.file.path!r} unpacks to {size} bytes, but {str(scratch)!r} has only {free} free: give "
            "it more, or serve the files as they are.",
        )


def _write(member: _Member, into: Path) -> None:
    """Write one member, at most the bytes that it claims."""
    target = into / member.path
    if member.directory or not member.path:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with target.open("xb") as out, member.open() or io.BytesIO() as stream:
        while left >= 0 and (piece := stream.read(min(_PIECE, left + 1))):
            left -= len(piece)
            out.write(piece)
    if left:
        raise tarfile.ReadError(f"member {member.name!r} has other than the {member.size} bytes that it claims")
    target.chmod(0o755 if member.executable else 0o644)


def _members(archive: Archive, whole: Path) -> Iterator[_Member]:
    return _in_tar(whole) if archive.format == "tar" else _in_zip(whole)


class _Header(tarfile.TarInfo):
    """A member's header, which is read only if it has the size of one."""

    _BEFORE = (b"x", b"g", b"X", b"L", b"K")

    def _proc_member(self, found: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._BEFORE and self.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(found)  # type: ignore[misc,no-any-return]


def _in_tar(whole: Path) -> Iterator[_Member]:
    with tarfile.open(whole, "r:*", tarinfo=_Header) as tar:
        for one in tar:
            opened = partial(tar.extractfile, one)
            yield _Member(one.name, one.size, one.isdir(), bool(one.mode & stat.S_IXUSR), _odd_in_tar(one), opened)
            tar.members = []  # type: ignore[attr-defined]  # or it would keep all of them


def _odd_in_tar(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname[:200]!r}: links are not followed"
    return None if member.isreg() or member.isdir() else "is neither file nor directory"


def _in_zip(whole: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(whole) as packed:
        for one in packed.infolist():
            mode, opened = one.external_attr >> 16, partial(packed.open, one)
            yield _Member(
                one.orig_filename, one.file_size, one.is_dir(), bool(mode & stat.S_IXUSR), _odd_in_zip(one), opened
            )


def _odd_in_zip(member: zipfile.ZipInfo) -> str | None:
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "is a link: links are not followed"
    if member.flag_bits & 1:
        return "is encrypted"
    return None if stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR) else "is neither file nor directory"
