"""How a run is asked to end: SIGTERM and SIGINT set a flag that every loop looks at."""

from __future__ import annotations

import signal
import threading
from typing import Any

from modelberth.core.failure import ExitCode, Failure


class Stop:
    """A flag that ends all work within seconds."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._why = ""

    def on_signals(self) -> None:
        """Let SIGTERM and SIGINT ask for the end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def _received(self, number: int, _frame: Any) -> None:
        self.ask(signal.Signals(number).name)

    def ask(self, why: str) -> None:
        """Ask all work to end."""
        self._why = why
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether work should end."""
        return self._event.is_set()

    def check(self) -> None:
        """Leave the loop that calls this, when asked to.

        :raises Failure: The run was interrupted.
        """
        if self._event.is_set():
            raise Failure(
                ExitCode.INTERRUPTED, f"Interrupted by {self._why}. What arrived is kept: run the same again to go on."
            )

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until the end is asked for.

        :raises Failure: The run was interrupted.
        """
        self._event.wait(seconds)
        self.check()
