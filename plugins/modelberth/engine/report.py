"""What a run tells: progress while it works, one line of JSON when it ends."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("modelberth")

Result = dict[str, Any]

LONGEST_MESSAGE = 3500
"""Bytes; kubelet keeps the last 4,096 of a termination message, which would cut the JSON's beginning off."""

_EVERY = 15.0
_EVERY_ON_TERMINAL = 0.5


class Progress:
    """Counts what is done; a line at most every 15 s, a bar on a terminal.

    :param verb: What is being done, for the line: ``fetched``.
    :param total: Bytes in all.
    """

    def __init__(self, verb: str, total: int) -> None:
        self.done = 0
        self._verb = verb
        self._total = total
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def add(self, count: int) -> None:
        """Count more bytes."""
        with self._lock:
            self.done += count

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show progress while the block runs."""
        over = threading.Event()
        shower = threading.Thread(target=self._show, args=(over,), daemon=True)
        shower.start()
        try:
            yield self
        finally:
            over.set()
            if self._terminal:
                sys.stderr.write("\r\x1b[K")

    def _show(self, over: threading.Event) -> None:
        while not over.wait(_EVERY_ON_TERMINAL if self._terminal else _EVERY):
            if self._terminal:
                sys.stderr.write(f"\r\x1b[K{self._bar()} {self.line()}")
                sys.stderr.flush()
            else:
                log.info(self.line())

    def line(self) -> str:
        """Return where things stand, in one line."""
        rate = self.done / max(time.monotonic() - self._began, 0.001)
        left = f", {(self._total - self.done) / rate:.0f} s left" if rate else ""
        return f"{self._verb} {human(self.done)} of {human(self._total)}, {human(round(rate))}/s{left}"

    def _bar(self) -> str:
        filled = round(20 * self.done / max(self._total, 1))
        return "[" + "#" * filled + "." * (20 - filled) + "]"


def human(count: float) -> str:
    """Return *count* bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def ended(command: str, work: Callable[[], Result]) -> int:
    """Do *work* and print its result, or what it failed with, as the last line of stdout."""
    code: int
    try:
        result, code, outcome = work(), ExitCode.OK, ExitCode.OK.outcome
    except Failure as failure:
        result, code, outcome = _failed(*failure.problems), failure.code, failure.code.outcome
        for problem in failure.problems:
            log.error(problem)
    except Exception as error:
        # A fault of this program: whoever reads results must be told too, not only whoever reads logs.
        log.exception("The command %s met a fault of this program:", command)
        result, code, outcome = _failed(f"A fault of this program: {type(error).__name__}: {error}"), 1, "fault"
    result = {"command": command, "outcome": outcome, "exit_code": int(code)} | result
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    _leave_message(result)
    return code


def _failed(*problems: str) -> Result:
    return {"problems": list(problems[:5]), "problem_count": len(problems)}


def _leave_message(result: Result) -> None:
    """Write *result* where kubelet looks for a container's termination message, when there is such a place."""
    path = Path(os.environ.get("MODELBERTH_TERMINATION_LOG", "/dev/termination-log"))
    if path.exists() and os.access(path, os.W_OK):
        path.write_bytes(shortened(result))


def shortened(result: Result) -> bytes:
    """Return *result* as JSON of at most 3,500 bytes.

    What is too long is cut: texts get shorter, and of lists only texts are kept; ``truncated`` says so.
    """
    data = json.dumps(result, ensure_ascii=False).encode(errors="replace")
    longest = 800
    while len(data) > LONGEST_MESSAGE:
        longest //= 2
        cut = {name: _cut(value, longest) for name, value in result.items()} | {"truncated": True}
        data = json.dumps(cut, ensure_ascii=False).encode(errors="replace")
    return data


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, list):
        return [text[:longest] for text in value if isinstance(text, str)][:5]
    return value[:longest] if isinstance(value, str) else value
