"""The journal: which chunks of a staging directory survive whatever ends the run.

One file an attempt, one line a record, written only after the bytes that it names were made durable::

    <16 hex> modelberth-journal 1 minilm@sha256:<64 hex>
    <16 hex> <file's number in the manifest> <its inode> <first chunk> <count>

The 16 digits begin the SHA-256 of what follows them and of the revision: a torn or damaged line ends the journal. A
record counts only while the file is still the one, by inode and size, that it was written for. An inode's number is
used again for other files, so a run removes the records that do not count before it creates any file.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.engine.filesystem import NO_FILE, open_regular, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from modelberth.core.revision import Revision


@dataclass(frozen=True, slots=True)
class Record:
    """Chunks *first* to *first + count* of file *number* are durable in the file with inode *inode*."""

    number: int
    inode: int
    first: int
    count: int


class Journal:
    """The journal of this attempt, beside those of the attempts before it.

    :param directory: Where the journals of one staging directory are.
    """

    def __init__(self, directory: Path, revision: Revision) -> None:
        self._directory = directory
        self._revision = str(revision)
        self._descriptor = -1

    def read(self) -> Iterator[Record]:
        """Yield the records of all attempts."""
        for path in sorted(self._directory.iterdir()):
            lines = _lines(path)
            if lines[0] == self._line(self._title()):
                yield from self._records(lines[1:])

    def _records(self, lines: Iterable[bytes]) -> Iterator[Record]:
        for line in lines:
            text = line[17:].decode("ascii", "replace")
            if line != self._line(text):
                return
            try:
                yield Record(*map(int, text.split(" ")))
            except (TypeError, ValueError):
                return

    def append(self, records: Iterable[Record]) -> None:
        """Write *records* and make them durable."""
        lines = [self._line(f"{item.number} {item.inode} {item.first} {item.count}") for item in records]
        if self._descriptor < 0:
            self._begin()
        os.write(self._descriptor, b"".join(line + b"\n" for line in lines))
        os.fdatasync(self._descriptor)

    def replace(self, records: Iterable[Record]) -> None:
        """Make *records* all that any attempt has noted."""
        before = list(self._directory.iterdir())
        self.append(records)
        for path in before:
            path.unlink(missing_ok=True)
        sync_directory(self._directory)

    def _begin(self) -> None:
        path = self._directory / secrets.token_hex(8)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.write(self._descriptor, self._line(self._title()) + b"\n")
        sync_directory(self._directory)

    def close(self) -> None:
        """Close the attempt's file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _title(self) -> str:
        return f"modelberth-journal 1 {self._revision}"

    def _line(self, text: str) -> bytes:
        digest = hashlib.sha256(f"{self._revision}\n{text}".encode()).hexdigest()
        return f"{digest[:16]} {text}".encode()


def _lines(path: Path) -> list[bytes]:
    """Return the lines of a file, none of what is no file."""
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            return stream.read().split(b"\n")
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return [b""]


def joined(records: list[Record]) -> list[Record]:
    """Return *records* with neighbours joined: a line for a run of chunks."""
    found: list[Record] = []
    for record in sorted(records, key=lambda record: (record.number, record.first)):
        last = found[-1] if found else None
        if last and (last.number, last.inode, last.first + last.count) == (record.number, record.inode, record.first):
            found[-1] = Record(last.number, last.inode, last.first, last.count + record.count)
        else:
            found.append(record)
    return found
