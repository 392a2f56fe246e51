"""How a run is asked to end: SIGTERM and SIGINT set a flag that every loop looks at.

The program has 10 seconds from then. Threads get 4 of them (``workers.GRACE``), what they wrote 3 to become durable;
after 9 the end is told without waiting any longer for a store or a disk that does not answer.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

Done = TypeVar("Done")

_AT_MOST = 9.0
_TO_FLUSH = 3.0
_ONE_REQUEST = 0.5
"""Seconds in which a second signal is the first one's echo: ``timeout`` signals the process and then its group."""


class Stop:
    """A flag that ends all work within seconds."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._why = ""
        self._asked_at = 0.0

    def on_signals(self) -> None:
        """Let SIGTERM and SIGINT ask for the end; a second one is the end, at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def _received(self, number: int, _frame: Any) -> None:
        if self.asked and time.monotonic() - self._asked_at > _ONE_REQUEST:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.ask(signal.Signals(number).name)

    def ask(self, why: str) -> None:
        """Ask all work to end."""
        if not self.asked:
            self._asked_at, self._why = time.monotonic(), why
            self._event.set()

    @property
    def asked(self) -> bool:
        """Whether work should end."""
        # Not the event's word: a second signal while that is being set would set it again, and wait for itself.
        return bool(self._why)

    def check(self) -> None:
        """Leave the loop that calls this, when asked to.

        :raises Failure: The run was interrupted.
        """
        if self.asked:
            raise self._interrupted()

    def _interrupted(self) -> Failure:
        return Failure(
            ExitCode.INTERRUPTED, f"Interrupted by {self._why}. What arrived is kept: run the same again to go on."
        )

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until the end is asked for.

        :raises Failure: The run was interrupted.
        """
        self._event.wait(seconds)
        self.check()

    def supervised(self, work: Callable[[], Done]) -> Done:
        """Do *work* on another thread, so that no call that never returns keeps this one from hearing signals.

        :raises Failure: The run was interrupted, and the work did not end in time.
        """
        return _apart(work, lambda: self._late(0.0, _AT_MOST), self._interrupted)

    def bounded(self, work: Callable[[], Done]) -> Done:
        """Do *work*, which keeps what a run has achieved; after the end was asked for, for 3 seconds at most.

        :raises Failure: The run was interrupted, and the work did not end in time.
        """
        began = time.monotonic()
        return _apart(work, lambda: self._late(began, _TO_FLUSH), self._interrupted)

    def _late(self, began: float, most: float) -> bool:
        return self.asked and time.monotonic() - max(began, self._asked_at) > most


def _apart(work: Callable[[], Done], is_late: Callable[[], bool], failure: Callable[[], Failure]) -> Done:
    """Do *work* on a thread of its own and return what it returns, unless it is late."""
    done: list[Done] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if thread.is_alive() and is_late():
            raise failure()
    if errors:
        raise errors[0]
    return done[0]
