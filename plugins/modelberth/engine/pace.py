"""A limit on bytes a second, shared by all streams."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelberth.engine.stopping import Stop
    from modelberth.engine.transport import Fill

_FORM = re.compile(r"([1-9][0-9]*)(|KiB|MiB|GiB)")
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_PIECES_A_SECOND = 16
_LARGEST_PIECE = 1024 * 1024
_SMALLEST_PIECE = 4096


class Pace:
    """Lets bytes pass no faster than *rate*, from the first on: they are paid for with time before they come.

    :param rate: Bytes a second, None for as fast as possible.
    """

    def __init__(self, rate: int | None, stop: Stop) -> None:
        self._rate = rate
        self._stop = stop
        self._lock = threading.Lock()
        self._paid_at = 0.0

    def take(self, count: int) -> None:
        """Wait until *count* more bytes may pass."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            # Time that nobody used before is lost, but for what these bytes cost: receiving the last ones took it.
            self._paid_at = max((self._paid_at or now) + count / self._rate, now)
            wait = self._paid_at - now
        self._stop.sleep(wait)

    def receive(self, fill: Fill, view: memoryview, each: Callable[[memoryview], object]) -> None:
        """Let *fill* receive *view*: without a limit in one go, else in pieces, each once it may pass.

        A store's answer is open meanwhile, and a wait for a whole chunk would outlast the store's patience.
        """
        step = min(max(self._rate // _PIECES_A_SECOND, _SMALLEST_PIECE), _LARGEST_PIECE) if self._rate else len(view)
        for start in range(0, len(view), max(step, 1)):
            piece = view[start : start + step]
            self.take(len(piece))
            fill(piece, each)


def rate(text: str) -> int:
    """Return the bytes a second that *text* names: ``100MiB``.

    :raises Failure: It names none.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise Failure(ExitCode.REFUSED, f"Not a rate: {text!r}; expected bytes a second: 500000, 64KiB, 100MiB, 1GiB.")
    return int(found[1]) * _UNITS[found[2]]
