"""An upload that outlives its task, as the task sees it: started or joined, followed, and told to end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import uuid
from enum import Enum
from typing import TYPE_CHECKING

from modelberth.operators.child import python_path
from modelberth.operators.outcome import Outcome
from modelberth.operators.statefolder import Ended, StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

_LOOKS = 0.5
"""Seconds; a task that is told to end has five before Airflow kills it."""


class Begun(Enum):
    """How a task came to the upload that it follows."""

    STARTED = "started as a process of its own"
    JOINED = "still runs, started by an earlier try: this one joins it"
    TAKEN = "ended meanwhile, started by an earlier try: its result is taken"


class Kept:
    """The upload *name* on this host, whichever try started it.

    :param words: The program's command line.
    :raises StateFolderError: There is no place for its state.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self._folder = StateFolder.of(name, words)
        self._words = words
        self._follower = uuid.uuid4().hex
        self.may_expire = True
        """Whether its credentials may have expired meanwhile: an earlier try's, or such as are lent for hours."""

    def begin(self, environment: Callable[[], AbstractContextManager[Mapping[str, str]]]) -> Begun:
        """Start the upload in *environment*, unless it runs or has ended well.

        One that failed while nobody followed is started anew: what it failed with may have passed.
        """
        ended = self._folder.concluded()
        if ended and ended.exit_code == 0:
            return Begun.TAKEN
        while not self._started(environment):
            if not self._folder.end.exists():
                return Begun.JOINED
            time.sleep(_LOOKS)  # the keeper ends it within 10 s
        return Begun.STARTED

    def _started(self, environment: Callable[[], AbstractContextManager[Mapping[str, str]]]) -> bool:
        with self._folder.lock() as lock:
            if lock is None:
                return False
            self._folder.sweep()
            self._folder.empty()
            with environment() as variables:
                self.may_expire = "AWS_SESSION_TOKEN" in variables
                self._start(lock, dict(variables))
        return True

    def _start(self, lock: int, variables: dict[str, str]) -> None:
        variables["PYTHONPATH"] = python_path(variables)
        if file := variables.get("GOOGLE_APPLICATION_CREDENTIALS"):
            # The connection's file goes with the task, perhaps before the program has read it.
            variables["GOOGLE_APPLICATION_CREDENTIALS"] = shutil.copyfile(file, self._folder.credentials).as_posix()
        with self._folder.log.open("ab") as log:
            subprocess.run(  # noqa: S603 - our own program
                [sys.executable, "-m", "modelberth.operators.keeper", str(self._folder.path), *self._words],
                env=variables,
                stdin=lock,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=True,
            )

    def follow(self, say: Callable[[str], None], look: Callable[[], None]) -> Outcome:
        """Say each line as it is written, until the upload has ended.

        :param look: Called several times a second; what it raises ends the following, not the upload.
        """
        with self._folder.following(self._follower):
            lines = _lines(self._folder.log)
            while True:
                kept = self._folder.kept
                for line in next(lines):
                    say(line)
                if not kept:
                    return _outcome(self._folder.concluded())
                look()
                time.sleep(_LOOKS)

    def end(self) -> bool:
        """Ask for the upload's end; say whether that was this task's to do, or a later try follows it."""
        return self._folder.ask_end(self._follower)

    def forget(self) -> None:
        """Remove what is on disk of it, so that another try starts anew."""
        self._folder.forget()


def _lines(log: Path) -> Iterator[list[str]]:
    """Yield, again and again, the whole lines that came to *log* since."""
    with log.open("rb") as file:
        begun = b""
        while True:
            *whole, begun = (begun + file.read()).split(b"\n")
            yield [line.decode(errors="replace") for line in whole]


def _outcome(ended: Ended | None) -> Outcome:
    host = socket.gethostname()
    if ended is None:
        where = f"The upload's process on {host}"
        return Outcome(137, "", where, "it is gone and its keeper with it: were they killed?", host)
    return Outcome(ended.exit_code, ended.message, f"Process {ended.pid} on {host}", ended.reason, host)
