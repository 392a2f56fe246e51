"""What is in an archive, as files in a directory of our own: verified before it is opened, and bounded.

Of a tar or zip from outside nothing is believed: neither a path, nor a size, nor that a member is a file. All that is
wrong with an archive is said at once, and a single member that is refused refuses all of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import paths
from modelberth.core.chunks import CHUNK_SIZE, Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import MOST_FILES
from modelberth.engine.members import BROKEN, NO_DISK, members
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from modelberth.core.fetchlist import Archive
    from modelberth.engine.members import Member
    from modelberth.engine.remote import RemoteFile
    from modelberth.engine.stopping import Stop
    from modelberth.engine.transport import Fill

_SHOWN = 20
_PIECE = 1024 * 1024


@dataclass(slots=True)
class Taken:
    """What of a list's files is accepted so far: they have one bound together, however many archives they are in."""

    bytes: int
    files: int


def unpack(archive: Archive, file: RemoteFile, taken: Taken, scratch: Path, into: Path, stop: Stop) -> None:
    """Fetch an archive and put what is in it below *into*.

    It is read twice: all of it is known to be fine before the first file is written.

    :param taken: What the list's other files have, to which those of this archive are added.
    :param scratch: A directory for the archive itself, which is gone from there afterwards.
    :raises Failure: It is not what it should be, holds what is refused, or does not fit.
    """
    whole = scratch / "archive"
    _fetch(file, whole, stop)
    _refuse_other(archive, whole)
    with _reading(archive):
        before = taken.bytes
        _accept(archive, members(archive, whole), taken, stop)
        _refuse_if_full(archive, taken.bytes - before, scratch)
        for member in members(archive, whole):
            stop.check()
            _put(archive, member, into)
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
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_DISK:
            raise
        start = f"Archive {archive.file.path!r} at {archive.file.shown} is no sound {archive.format}: {error}."
        raise Failure(ExitCode.REFUSED, f"{start} Pack the model again, or bring the archive there again.") from error


def _accept(archive: Archive, members: Iterable[Member], taken: Taken, stop: Stop) -> None:
    """Add what the archive unpacks to.

    :raises Failure: Too much, or a member is refused; all that are, are named.
    """
    files: list[str] = []
    dirs: set[str] = set()
    problems = []
    for member in members:
        stop.check()
        taken.bytes += member.size
        taken.files += 1
        if taken.bytes > archive.most or taken.files > MOST_FILES:
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


def _bomb(archive: Archive) -> Failure:
    return Failure(
        ExitCode.REFUSED,
        f"Archive {archive.file.path!r} at {archive.file.shown} has {archive.file.size} bytes and would unpack to more "
        f"than {archive.most} bytes, or {MOST_FILES} files, with the model's other files: nothing was published. If "
        "that is right, give the model a larger size_limit.",
    )


def _refuse_if_full(archive: Archive, size: int, scratch: Path) -> None:
    free = shutil.disk_usage(scratch).free
    if size > free:
        raise Failure(
            ExitCode.NO_SPACE,
            f"Archive {archive.file.path!r} unpacks to {size} bytes, but {str(scratch)!r} has only {free} free: give "
            "it more, or serve the files as they are.",
        )


def _put(archive: Archive, member: Member, into: Path) -> None:
    """Write one member where no earlier archive has put another.

    Layers are no overlay here: of two files of one name neither ModelPack nor ORAS says which counts.

    :raises Failure: One has.
    """
    try:
        _write(member, into)
    except (FileExistsError, NotADirectoryError) as error:
        raise Failure(
            ExitCode.REFUSED,
            f"Archive {archive.file.path!r} at {archive.file.shown} was refused: member {member.name[:200]!r} is in "
            "two archives of the model, or a directory in the one and a file in the other. Leave it out of one.",
        ) from error


def _write(member: Member, into: Path) -> None:
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
