"""What was written into a staging directory and is not durable yet: made so in batches, then noted in the journal."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelberth.engine.journal import Journal, Record, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

FLUSH_BYTES = 256 * 1024 * 1024
FLUSH_SECONDS = 2.0
_FEW = 32
_BY_ONE_CALL = -1
"""In the place of a descriptor, of files that need none."""


class Batch:
    """The records of what is not durable yet, and the files that they are of.

    :param journal: What is durable is noted there.
    :param sync_all: Makes everything on the file system durable; None where no call does that, as on FUSE: there the
        kernel answers syncfs alone, and the process keeps in its memory what it was given.
    """

    def __init__(self, journal: Journal, sync_all: Callable[[], None] | None) -> None:
        self._journal = journal
        self._sync_all = sync_all
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._files: dict[int, int] = {}
        self._bytes = 0
        self._flushed = time.monotonic()
        self._flushing = threading.Lock()
        self._broken = False

    @contextmanager
    def spoilt_by_errors(self) -> Iterator[None]:
        """After an error in here nothing is noted any more.

        The kernel may call the pages clean that it lost, and tells each loss once: if a write or a close was told of
        it, no flush will be.
        """
        try:
            yield
        except BaseException:
            self._broken = True
            raise

    def add(self, record: Record, descriptor: int, size: int) -> None:
        """Take up what was written to a file of several chunks.

        :param descriptor: The file, open; the batch keeps one of its own.
        :param size: Bytes that were written.
        """
        with self._lock:
            known, few = record.number in self._files, len(self._files) < _FEW
            if known or few or self._sync_all:
                self._note(record, size)
                if not known:
                    # A batch of many files is made durable by one call for all, which needs no file.
                    self._files[record.number] = os.dup(descriptor) if few else _BY_ONE_CALL
                return
        os.fdatasync(descriptor)
        with self._lock:
            self._note(record, size)

    def close(self, descriptor: int) -> None:
        """Close a file of several chunks.

        Not during a flush: to the kernel it is the same open file as the batch's own, and only one of the two calls
        is told what was lost.
        """
        with self._flushing:
            os.close(descriptor)

    def close_small(self, record: Record, descriptor: int, size: int) -> None:
        """Close a file of one chunk, and take it up when that went well."""
        if not self._sync_all:
            os.fdatasync(descriptor)
        os.close(descriptor)
        with self._lock:
            self._note(record, size)
            if self._sync_all:
                self._files[record.number] = _BY_ONE_CALL

    def _note(self, record: Record, size: int) -> None:
        self._records.append(record)
        self._bytes += size

    def flush_when_due(self) -> None:
        """Make durable what was written, if that is much or long ago and nobody else is at it."""
        due = self._bytes >= FLUSH_BYTES or time.monotonic() - self._flushed > FLUSH_SECONDS
        if due and self._flushing.acquire(blocking=False):
            try:
                self._flush()
            finally:
                self._flushing.release()

    def flush(self) -> None:
        """Make durable what was written, and note it in the journal."""
        with self._flushing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            records, self._records, self._bytes = self._records, [], 0
            files, self._files = self._files, {}
            self._flushed = time.monotonic()
        with self.spoilt_by_errors():
            try:
                if records and not self._broken:
                    self._make_durable(files.values())
                if records and not self._broken:  # looked at again: a flush takes seconds
                    self._journal.append(joined(records))
            finally:
                for descriptor in files.values():
                    if descriptor != _BY_ONE_CALL:
                        os.close(descriptor)

    def _make_durable(self, descriptors: Collection[int]) -> None:
        if self._sync_all and _BY_ONE_CALL in descriptors:
            self._sync_all()
        else:
            for descriptor in descriptors:
                os.fdatasync(descriptor)
