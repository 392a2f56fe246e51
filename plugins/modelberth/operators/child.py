"""Our program as a child process of a task: its lines in the task's log, its end with the task's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import modelberth
from modelberth.operators.outcome import Outcome

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

PATIENCE = 10.0
"""Seconds between asking the program to end and ending it; it promises to end in as much."""


class Child:
    """One run of ``modelberth`` on this worker.

    It leads a session of its own, so that a signal to the task's process group leaves it alone until ``end``.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "modelberth.engine", *arguments],
            env={**environment, "PYTHONPATH": python_path(environment)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def follow(self, log: logging.Logger) -> Outcome:
        """Log every line until the program ends; its result is the last line that is JSON."""
        result = ""
        for line in self._process.stdout or ():
            if line.startswith("{"):
                result = line
            else:
                log.info("%s", line.rstrip())
        code = self._process.wait()
        return Outcome(
            exit_code=code if code >= 0 else 128 - code,
            message=result,
            where=f"Process {self._process.pid} on {socket.gethostname()}",
            reason=signal.Signals(-code).name if code < 0 else "",
            node=socket.gethostname(),
        )

    def end(self) -> None:
        """Ask the program to end, which keeps what it has done; then end it."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


def python_path(environment: Mapping[str, str]) -> str:
    """Airflow finds us through its plugins folder, which a child does not know."""
    ours = str(Path(modelberth.__file__).parents[1])
    return os.pathsep.join(filter(None, (ours, environment.get("PYTHONPATH"))))
