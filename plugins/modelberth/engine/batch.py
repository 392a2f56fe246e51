"""What was written into a staging directory and is not durable yet: made so in batches, then noted in the journal."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from modelberth.engine.journal import Journal, Record, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

FLUSH_BYTES = 256 * 1024 * 1024
FLUSH_SECONDS = 2.0
_FEW = 32


class Batch:
    """The records of what is not durable yet, and the files that they are of.

    :param journal: What is durable is noted there.
    :param sync_all: Makes everything on the file system durable.
    """

    def __init__(self, journal: Journal, sync_all: Callable[[], None]) -> None:
        self._journal = journal
        self._sync_all = sync_all
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._files: dict[int, int] = {}
        self._bytes = 0
        self._flushed = time.monotonic()
        self._flushing = threading.Lock()
        self._broken = False

    def add(self, record: Record, descriptor: int, size: int, *, small: bool) -> None:
        """Take up what was written.

        :param descriptor: The file, open; the batch keeps one of its own.
        :param size: Bytes that were written.
        :param small: The file has one chunk.
        """
        with self._lock:
            self._records.append(record)
            self._bytes += size
            if record.number not in self._files:
                # A batch of many files, or of small ones, is made durable by one call for all, which needs no file.
                one_by_one = len(self._files) < _FEW and not small
                self._files[record.number] = os.dup(descriptor) if one_by_one else -1

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
        try:
            # After a failed flush the kernel may call the pages clean that it lost: nothing more is known of any.
            if records and not self._broken:
                self._make_durable(files.values())
                self._journal.append(joined(records))
        except BaseException:
            self._broken = True
            raise
        finally:
            for descriptor in files.values():
                if descriptor >= 0:
                    os.close(descriptor)

    def _make_durable(self, descriptors: Collection[int]) -> None:
        if -1 in descriptors:
            self._sync_all()
        else:
            for descriptor in descriptors:
                os.fdatasync(descriptor)
