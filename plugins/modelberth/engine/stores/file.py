"""A directory as a bucket: for a laptop, a network file system, and tests that need no server."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.parts import equal_parts
from modelberth.engine.hashing import Checksum
from modelberth.engine.http import Get
from modelberth.engine.stores import CopiesNoParts, Stored, Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.core.parts import Part

_PARTIAL = ".modelberth-partial-"
_PIECE = 8 * 1024 * 1024


class FileStore:
    """Objects are files; they appear by a hard link, which fails when there is one already."""

    checksum = "crc64nvme"
    parallel_parts = True
    copies_ranges = False

    def __init__(self, url: BucketUrl) -> None:
        self.url = url
        self._root = Path(url.bucket)

    def ask(self) -> None:
        """Ask for the directory.

        :raises Failure: There is none.
        """
        if not self._root.is_dir():
            raise Failure(ExitCode.NOT_FOUND, f"No directory {self.url.bucket!r} to use as a bucket: create it first.")

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects whose keys begin with *prefix*, which ends with a slash."""
        for directory, _, names in os.walk(self._root / prefix):
            for name in names:
                if not name.startswith(_PARTIAL):
                    yield self.stored(Path(directory) / name)

    def head(self, key: str) -> Stored | None:
        """Return the object with a checksum made from what is there now."""
        path = self._root / key
        if not path.is_file():
            return None
        stored = self.stored(path)
        return Stored(stored.key, stored.size, stored.etag, checksum=_checksum(path))

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object's bytes, None when there is none."""
        path = self._root / key
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise Failure(ExitCode.REFUSED, f"Object {str(path)!r} has over {most} bytes: it was not read.")
        return data

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already."""
        writing = self.write(key, equal_parts(len(data)))
        with writing.abandoned_on_error():
            writing.write(0, memoryview(data))
            return writing.finish("") is not None

    def write(self, key: str, parts: Sequence[Part], unfinished: Unfinished | None = None) -> _FileWriting:  # noqa: ARG002 - what is on a disk is soon written again
        """Begin an object that must not exist yet."""
        return _FileWriting(self, self._root / key, parts)

    def copy(self, source: Place, key: str) -> Stored | None:
        """Copy an object to a key that must not exist yet; None when the source is gone."""
        path = self._root / source.key
        if not path.is_file() or self.stored(path).etag != source.etag:
            return None
        writing = self.write(key, ())
        with writing.abandoned_on_error(), path.open("rb") as stream:
            for start in range(0, source.size, _PIECE):
                writing.write(start, memoryview(stream.read(_PIECE)))
            return writing.finish("")

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        (self._root / key).unlink(missing_ok=True)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the partial files of interrupted writes; which files they would have been is not known."""
        for path in sorted((self._root / prefix).rglob(f"{_PARTIAL}*")):
            started = datetime.fromtimestamp(path.stat().st_ctime, UTC).isoformat(timespec="seconds")
            yield Unfinished(str(path.relative_to(self._root)), path.name, started)

    def sent(self, unfinished: Unfinished) -> dict[int, Stored]:
        """Return what a partial file has as one part."""
        path = self._root / unfinished.key
        return {0: self.stored(path)} if path.is_file() else {}

    def abandon(self, unfinished: Unfinished) -> None:
        """Remove a partial file."""
        (self._root / unfinished.key).unlink(missing_ok=True)

    def sign(self, place: Place) -> Get:
        """Return the file's URL."""
        path = self._root / place.key
        return Get(f"file://{quote(str(path))}", f"object {str(path)!r}")

    def stored(self, path: Path) -> Stored:
        """Return a file as an object."""
        status = path.stat()
        etag = f"{status.st_ino}-{status.st_mtime_ns}"
        return Stored(str(path.relative_to(self._root)), status.st_size, etag)


class _FileWriting(CopiesNoParts):
    """A partial file beside the final one's place."""

    def __init__(self, store: FileStore, path: Path, parts: Sequence[Part]) -> None:
        self._store = store
        self._path = path
        self._parts = parts
        self._partial = path.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def send(self, number: int, data: memoryview, checksum: int) -> bool:  # noqa: ARG002 - the file is summed as a whole
        """Write part *number*."""
        self.write(self._parts[number].span.start, data)
        return True

    def write(self, start: int, data: memoryview) -> None:
        """Write *data* from byte *start* on."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], start + written)

    def finish(self, checksum: str) -> Stored | None:
        """Let the file appear, if it has *checksum* (empty: not asked for)."""
        try:
            os.fsync(self._descriptor)
            if checksum and _checksum(self._partial) != checksum:
                raise Failure(
                    ExitCode.MISMATCH, f"File {str(self._path)!r} came out other than it was sent. Upload again."
                )
            os.link(self._partial, self._path)
        except FileExistsError:
            return None
        finally:
            self.abandon()
        stored = self._store.stored(self._path)
        return Stored(stored.key, stored.size, stored.etag, checksum=checksum or _checksum(self._path))

    def leave(self) -> None:
        """Remove the partial file: nothing goes on with it."""
        self.abandon()

    def abandon(self) -> None:
        """Remove the partial file; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        self._partial.unlink(missing_ok=True)
        if descriptor >= 0:
            os.close(descriptor)

    @contextmanager
    def abandoned_on_error(self) -> Iterator[None]:
        """Leave nothing behind when the block fails."""
        try:
            yield
        except BaseException:
            self.abandon()
            raise


def _checksum(path: Path) -> str:
    checksum = Checksum(FileStore.checksum)
    with path.open("rb") as stream:
        position = 0
        while data := stream.read(_PIECE):
            checksum.add(position, data)
            position += len(data)
    return checksum.text()
