"""How far a run is at one moment, and how people and machines are told: pure functions."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from modelberth.core.units import human, span

_WINDOW = 5.0
_BAR = 20
_HEX = re.compile(r"(sha256:[0-9a-f]{8})[0-9a-f]{56}\b")


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is.

    :param subject: What it is about: ``minilm@sha256:<64 hex>``.
    :param verb: What is done to it: ``fetched``.
    :param bytes_total: Of what is done, without what is reused.
    :param rate: Bytes a second of the last few seconds, reused ones included.
    :param seconds: Since the beginning.
    """

    subject: str
    verb: str
    bytes: int
    bytes_total: int
    bytes_reused: int = 0
    files: int = 0
    files_total: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    final: bool = False

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this rate; None when nothing moves."""
        return (self.bytes_total - self.bytes) / self.rate if self.rate else None

    def document(self) -> dict[str, Any]:
        """Return it for machines."""
        left = self.seconds_left
        told = asdict(self)
        del told["rate"]
        return told | {
            "bytes_per_second": round(self.rate),
            "seconds": round(self.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
        }


class Rate:
    """Bytes a second of the last few seconds: what was once is no news."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def of(self, now: float, count: int) -> float:
        """Return the rate, given that *count* bytes were moved until *now* (seconds)."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        return (count - before) / (now - since) if now > since else 0.0


def line(moment: Moment) -> str:
    """Return *moment* as a line of a log, the object first."""
    if moment.final:
        return f"{shortened(moment.subject)}: {_state(moment)} in {span(moment.seconds)}"
    return f"{shortened(moment.subject)}: {_state(moment)}, {_speed(moment)}"


def bar(moment: Moment, columns: int) -> str:
    """Return *moment* as a progress bar that fits in *columns*: what does not fit goes, the least needed first."""
    filled = _BAR * moment.bytes // moment.bytes_total if moment.bytes_total else _BAR
    drawn, name = "[" + "#" * filled + "." * (_BAR - filled) + "]", f"{shortened(moment.subject)}: "
    told = f"{_state(moment)}, {_speed(moment)}"
    share = f"{100 * moment.bytes // moment.bytes_total if moment.bytes_total else 100} %, {_speed(moment)}"
    forms = (f"{name}{drawn} {told}", f"{drawn} {told}", told, f"{drawn} {share}", share)
    return next((form for form in forms if _cells(form) <= columns), share[: max(columns, 0)])


def _state(moment: Moment) -> str:
    reused = f" (and {human(moment.bytes_reused)} reused)" if moment.bytes_reused else ""
    files = f"{moment.files} of {moment.files_total} files"
    return f"{moment.verb} {human(moment.bytes)} of {human(moment.bytes_total)}{reused}, {files}"


def _speed(moment: Moment) -> str:
    left = moment.seconds_left
    return f"{human(moment.rate)}/s" + ("" if left is None else f", {span(left)} left")


def _cells(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(text: str) -> str:
    """Return *text* with the digests in it cut to what people compare."""
    return _HEX.sub(r"\1…", text)
