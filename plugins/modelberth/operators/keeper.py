"""The process between a task and the upload that outlives it: it runs our program and notes how it ended.

    python -m modelberth.operators.keeper FOLDER WORD...

It leaves its parent's session at once, and is nobody's child. It ends the program when asked to (a file in the folder,
SIGTERM), and when no task followed for an hour: what was sent is kept, and the next try sends the rest. When it is
killed itself, the kernel kills the program. Its standard input is the folder's lock: the program inherits it, so that
the upload counts as running while either lives.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modelberth.operators.statefolder import Ended, StateFolder, last_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE = 10.0
"""Seconds between asking the program to end and ending it; it promises to end in as much."""

UNASKED = 3600.0
"""Seconds without a task that follows: a lost heartbeat (5 min), the longest wait before a retry (10 min) and a full
queue fit in; a person who comes later than that finds what was sent in the bucket."""

_LOOKS = 0.2
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become nobody's child and keep the upload."""
    if os.fork():
        os._exit(0)
    keep(StateFolder(Path(sys.argv[1])), sys.argv[2:])


def keep(folder: StateFolder, words: Sequence[str]) -> None:
    """Run the program with *words* until it ends, and note how."""
    signal.signal(signal.SIGTERM, lambda *_: folder.end.touch())
    with folder.out.open("wb") as out:
        program = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "modelberth.engine", *words],
            stdout=out,
            process_group=0,
            preexec_fn=_ends_with(os.getpid()),  # noqa: PLW1509 - there is one thread
        )
    why = _watched(program, folder)
    folder.credentials.unlink(missing_ok=True)
    folder.conclude(_ended(program, folder, why))


def _ends_with(keeper: int) -> Callable[[], None]:
    """Return what lets the kernel kill a process with its parent, the *keeper*."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ends_with_us() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)

    return ends_with_us


def _watched(program: subprocess.Popen[bytes], folder: StateFolder) -> str:
    """Wait for the program's end and return why it was asked for, if it was."""
    followed_at = time.monotonic()
    while program.poll() is None:
        now = time.monotonic()
        followed_at = now if folder.followed else followed_at
        if why := _reason(folder, now - followed_at):
            _end(program)
            return why
        time.sleep(_LOOKS)
    return ""


def _reason(folder: StateFolder, unasked: float) -> str:
    if folder.end.exists():
        return "its end was asked for"
    return f"no task followed it for {UNASKED:.0f} s" if unasked > UNASKED else ""


def _end(program: subprocess.Popen[bytes]) -> None:
    """Ask the program to end, which keeps what it has done; then end it and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        program.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def _ended(program: subprocess.Popen[bytes], folder: StateFolder, why: str) -> Ended:
    code = program.returncode
    killed = signal.Signals(-code).name if code < 0 else ""
    reason = ", ".join(filter(None, (killed, why)))
    return Ended(code if code >= 0 else 128 - code, last_result(folder.out), program.pid, reason)


if __name__ == "__main__":
    main()
