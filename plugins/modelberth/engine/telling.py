"""How a run's words reach whoever listens: a person at a terminal, a pod's log, or a machine.

All that is said goes through ``logging``, progress too (a record with a :class:`Moment`); one handler decides what
becomes of it:

| listener | messages | progress |
|---|---|---|
| terminal | lines on stderr, above the bar | a bar, removed at the end, when the last state is a line |
| no terminal | lines on stderr | a line at most every 15 s |
| ``--json`` | lines of JSON on stdout | the same, at most one a second, and one at the end |
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from modelberth.engine.moment import Moment, bar, line

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRESS = "progress"
"""The attribute of a log record that holds a :class:`Moment`."""


def say(stream: TextIO, text: str) -> None:
    """Write *text*. When nobody reads the pipe any more, the work goes on and is told where it still can be."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Told(logging.Handler):
    """What a run says, as plain lines.

    :param stream: Where to.
    """

    every = 15.0
    """Seconds between two words about progress."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        self._said_at = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Say what *record* holds."""
        moment: Moment | None = getattr(record, PROGRESS, None)
        with suppress(OSError):  # a log's full disk is no trouble of the work; the result is not said here
            if moment is None:
                self.message(record)
            elif moment.final or time.monotonic() - self._said_at >= self.every:
                self._said_at = time.monotonic()
                self.progress(moment)

    def message(self, record: logging.LogRecord) -> None:
        """Say a message."""
        say(self.stream, self.format(record) + "\n")

    def progress(self, moment: Moment) -> None:
        """Say how far the work is; its end is in the result."""
        if not moment.final:
            say(self.stream, line(moment) + "\n")


class Bar(Told):
    """What a run says, at a terminal: a bar, with messages above it."""

    every = 0.0
    _shown: Moment | None = None

    def message(self, record: logging.LogRecord) -> None:
        """Say a message, and show the bar again below it."""
        say(self.stream, f"\r\x1b[K{self.format(record)}\n" if self._shown else f"{self.format(record)}\n")
        if self._shown:
            self.progress(self._shown)

    def progress(self, moment: Moment) -> None:
        """Show the bar; at the end leave the last state in its place."""
        if moment.final:
            say(self.stream, f"\r\x1b[K{line(moment)}\n")
        else:
            # The last column stays free: a cursor behind it begins a new line on some terminals.
            say(self.stream, f"\r\x1b[K{bar(moment, shutil.get_terminal_size().columns - 1)}")
        self._shown = None if moment.final else moment


class Events(Told):
    """What a run says, for machines: lines of JSON, each with the key ``event``."""

    every = 1.0

    def message(self, record: logging.LogRecord) -> None:
        """Say a message."""
        self.event("message", {"level": record.levelname.lower(), "text": self.format(record)})

    def progress(self, moment: Moment) -> None:
        """Say how far the work is."""
        self.event("progress", moment.document())

    def event(self, name: str, document: dict[str, Any]) -> None:
        """Say anything."""
        say(self.stream, json.dumps({"event": name} | document, ensure_ascii=False) + "\n")


@contextmanager
def listening(*, as_json: bool) -> Iterator[None]:
    """Say what the block logs to whoever listens."""
    root, handler = logging.getLogger(), _handler(as_json=as_json)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for noisy in ("boto3", "botocore", "google", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before)


def _handler(*, as_json: bool) -> Told:
    if as_json:
        return Events(sys.stdout)
    return Bar(sys.stderr) if sys.stderr.isatty() else Told(sys.stderr)


def utf8() -> None:
    """Let any name be said, whatever the locale: one that is no Unicode appears with escapes."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # somebody else's stream, which is theirs to set
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
