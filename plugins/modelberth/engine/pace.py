"""A limit on bytes a second, shared by all streams."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from modelberth.engine.stopping import Stop

_FORM = re.compile(r"([1-9][0-9]*)(|KiB|MiB|GiB)")
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Pace:
    """Lets bytes pass no faster than *rate*.

    :param rate: Bytes a second, None for as fast as possible.
    """

    def __init__(self, rate: int | None, stop: Stop) -> None:
        self._rate = rate
        self._stop = stop
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, count: int) -> None:
        """Wait until *count* more bytes may pass."""
        if not self._rate:
            return
        with self._lock:
            starts = max(self._free_at, time.monotonic())
            self._free_at = starts + count / self._rate
        self._stop.sleep(max(starts - time.monotonic(), 0))


def rate(text: str) -> int:
    """Return the bytes a second that *text* names: ``100MiB``.

    :raises Failure: It names none.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise Failure(ExitCode.REFUSED, f"Not a rate: {text!r}; expected bytes a second: 500000, 64KiB, 100MiB, 1GiB.")
    return int(found[1]) * _UNITS[found[2]]
