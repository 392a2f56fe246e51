"""One function over many items on several threads; the first failure ends the others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from modelberth.engine.stopping import Stop

Item = TypeVar("Item")

GRACE = 4.0
"""Seconds that threads have to end after SIGTERM; the program has 10 in all, the rest is for the journal."""


def default_streams() -> int:
    """Return how many requests run at once: 8 on 2 cores, 16 from 4 on (each holds one chunk of 8 MiB)."""
    return max(8, min(16, 4 * len(os.sched_getaffinity(0))))


class _Shared(Iterator[Item]):
    """An iterator that several threads may draw from, until one of them fails."""

    def __init__(self, items: Iterable[Item], stop: Stop) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()
        self._stop = stop
        self.failures: list[BaseException] = []

    def __next__(self) -> Item:
        self._stop.check()
        with self._lock:
            if self.failures:
                raise StopIteration
            return next(self._items)


def for_each(work: Callable[[Item], None], items: Iterable[Item], stop: Stop, threads: int) -> None:
    """Do *work* for each item on up to *threads* threads.

    :raises Failure: The first that a thread met, or that the run was interrupted.
    """
    shared = _Shared(items, stop)

    def draw() -> None:
        try:
            for item in shared:
                work(item)
        except BaseException as error:
            shared.failures.append(error)

    crew = [threading.Thread(target=draw, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    _wait(crew, stop)
    if shared.failures:
        raise _worst(shared.failures)
    stop.check()


def _wait(crew: list[threading.Thread], stop: Stop) -> None:
    for thread in crew:
        while thread.is_alive() and not stop.asked:
            thread.join(0.2)
    if stop.asked:
        for thread in crew:
            thread.join(GRACE / len(crew))


def _worst(failures: list[BaseException]) -> BaseException:
    """Return what to report: something that no retry will heal before something that one may."""

    def rank(error: BaseException) -> int:
        if not isinstance(error, Failure):
            return 0
        return 2 if error.code is ExitCode.INTERRUPTED else int(error.code.worth_retrying)

    return min(failures, key=rank)
