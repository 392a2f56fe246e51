"""Who uses the environment, so that the last one out stops it, and no two start or stop it at once.

/run/modelberth/<id>.lock    held while the environment is started or stopped
.local/use.lock              shared by every command that runs in it
.local/keep                  somebody wants it left running: `up`, or the demo
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from settings import Settings


@contextmanager
def exclusive(settings: Settings, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the right to start and stop this checkout's environment."""
    settings.run.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(settings).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting: another process starts or stops this environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_file(settings: Settings) -> Path:
    """Return the file whose lock is the right to start and stop.

    It is never removed: two processes could then hold locks on two files of one name.
    """
    return settings.run.with_suffix(".lock")


def keep(settings: Settings) -> None:
    """Leave the environment running when its last user has gone."""
    keep_file(settings).touch()


def keep_file(settings: Settings) -> Path:
    """Return the file whose presence leaves the environment running."""
    return settings.state / "keep"


@contextmanager
def used(settings: Settings) -> Iterator[bool]:
    """Count as a user of the environment; the value says whether there was no other at the beginning."""
    settings.state.mkdir(exist_ok=True)
    with (settings.state / "use.lock").open("a") as file:
        alone = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        fcntl.flock(file, fcntl.LOCK_SH)
        yield alone


def wanted(settings: Settings) -> bool:
    """Say whether anybody uses the environment or wants it kept."""
    return keep_file(settings).exists() or in_use(settings)


def in_use(settings: Settings) -> bool:
    """Say whether a command runs in the environment; nobody uses that of a checkout that is gone."""
    try:
        file = (settings.state / "use.lock").open("a")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command to its end, however this process is asked to end, and return its exit code as a shell would."""
    process = subprocess.Popen(command, env={**os.environ, **environment})
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = wait(process)
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process's own end: what the terminal sends to this process on Ctrl-C, it sends to that one, too."""
    while True:
        with suppress(KeyboardInterrupt):
            return process.wait()
