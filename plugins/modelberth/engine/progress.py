"""Counts what a run does, and lets whoever listens know twice a second."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelberth.engine.moment import Moment, Rate, line
from modelberth.engine.telling import PROGRESS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

log = logging.getLogger(__name__)

_TICK = 0.5


class Progress:
    """How far the work on several files is.

    :param subject: What it is about, for people and machines: ``minilm@sha256:<64 hex>``.
    :param verb: What is done: ``fetched``.
    :param wanted: The bytes that each file still needs.
    :param there: Bytes that need nothing any more, and the number of files that are complete with them.
    """

    def __init__(self, subject: str, verb: str, wanted: Mapping[Any, int], there: tuple[int, int] = (0, 0)) -> None:
        self.done = 0
        self.reused, self._files_there = there
        self._subject, self._verb = subject, verb
        self._left: dict[Hashable, int] = {file: count for file, count in wanted.items() if count}
        self._files_total = self._files_there + len(wanted)
        self._wanted = sum(self._left.values())
        self._from_start = self.reused
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._rate = Rate()

    def add(self, file: Hashable, count: int) -> None:
        """Count *count* bytes of *file* as done."""
        with self._lock:
            self.done += count
            self._settle(file, count)

    def reuse(self, file: Hashable, count: int) -> None:
        """Count *count* bytes of *file* as taken from elsewhere: they need not be done any more."""
        with self._lock:
            self.reused += count
            self._settle(file, count)

    def _settle(self, file: Hashable, count: int) -> None:
        left = self._left.pop(file, 0) - count
        if left > 0:
            self._left[file] = left

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Tell of the progress while the block runs, and once at its end."""
        over = threading.Event()
        teller = threading.Thread(target=self._tell, args=(over,), daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()
            self._say(final=True)

    def _tell(self, over: threading.Event) -> None:
        self._say()
        while not over.wait(_TICK):
            self._say()

    def _say(self, *, final: bool = False) -> None:
        moment = self.moment(final=final)
        if moment.files_total:
            log.info(line(moment), extra={PROGRESS: moment})

    def moment(self, *, final: bool = False) -> Moment:
        """Return how far the work is now."""
        now = time.monotonic()
        with self._lock:
            fresh = self.reused - self._from_start
            rate = self._rate.of(now, self.done + fresh)
            total, files = self._wanted - fresh, self._files_total - len(self._left)
            return Moment(
                self._subject, self._verb, self.done, total, self.reused, files, self._files_total, rate,
                now - self._began, final,
            )  # fmt: skip
