"""A process tree that lives and dies as one.

A capsule is a supervisor that is process 1 of a pid namespace of its own. When it ends, however it ends, the kernel
kills every process in the namespace, wherever they were reparented to; with a mount and a network namespace of its own,
its mounts, bridges and links go the same way. So nothing a killed run started can stay behind::

    /run/modelberth/<id>/<name>.pid     the outermost process, written by itself before it becomes the supervisor
    /run/modelberth/<id>/<name>.sock    where the supervisor answers
    .local/<name>.conf                  what it supervises
    .local/log/<name>.log               what it says itself
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from problems import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Capsule:
    """One process tree.

    :param name: What it is called in file names.
    :param run: Folder of its pid file and its socket.
    :param config: The supervisor's configuration; its path is also how the process is recognised.
    :param log: What the supervisor says itself.
    """

    name: str
    run: Path
    config: Path
    log: Path

    @property
    def pid_file(self) -> Path:
        """Names the outermost process."""
        return self.run / f"{self.name}.pid"

    @property
    def socket(self) -> Path:
        """Where the supervisor answers."""
        return self.run / f"{self.name}.sock"

    @property
    def outer(self) -> int | None:
        """The process whose death ends the capsule, or None when none lives.

        A pid file may have outlived its process and name someone else's: the command line must name our configuration.
        """
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int(self.pid_file.read_text())
            if str(self.config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    @property
    def inner(self) -> int | None:
        """Process 1 of the capsule, by its number outside: whose namespaces others may enter."""
        if self.outer is None:
            return None
        with suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{self.outer}/task/{self.outer}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    def start(self, command: Sequence[str], *, unshare: Sequence[str] = (), environment: Mapping[str, str]) -> None:
        """
        Start the capsule and leave it running.

        :param command: Ends as the supervisor in the foreground; has the configuration's path among its arguments.
        :param unshare: Further namespaces, as options of unshare(1).
            File descriptor 9 of the command is the network namespace outside, for one that connects itself with it.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        options = ["--fork", "--pid", "--kill-child", "--mount", "--mount-proc", *unshare]
        # The shell writes its own number and becomes unshare: there is no moment at which the process lives unrecorded.
        script = [
            "sh",
            "-c",
            'echo $$ > "$0" && exec "$@" 9</proc/self/ns/net',
            str(self.pid_file),
            "unshare",
            *options,
            *command,
        ]
        with self.log.open("a") as log:
            process = subprocess.Popen(
                script,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd="/",
            )
        while self.outer is None and process.poll() is None:
            time.sleep(0.01)

    def enter(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs ``command`` inside.

        :raises LocalError: It does not run.
        """
        if self.inner is None:
            raise LocalError(
                f"Cannot run {command[0]!r} in the {self.name}: the {self.name} is not running. Start it with: make up"
            )
        return ["nsenter", "--target", str(self.inner), "--mount", "--net", "--pid", *command]

    def stop(self, gently_within: float = 20) -> bool:
        """
        End every process of the capsule.

        :param gently_within: Seconds the supervisor has to end its programs one by one, before the kernel ends them.
        :returns: Whether there was anything to end.
        """
        outer, inner = self.outer, self.inner
        if outer is None:
            return False
        if inner is not None:
            with suppress(ProcessLookupError):
                os.kill(inner, signal.SIGTERM)
        if not self.gone(gently_within, inner):
            with suppress(ProcessLookupError):
                os.kill(outer, signal.SIGKILL)
            if not self.gone(10, inner):
                raise LocalError(
                    f"The {self.name} (process {outer}) did not end, 10 s after SIGKILL. Look at /proc/{outer}/stack."
                )
        return True

    def gone(self, within: float, inner: int | None = None) -> bool:
        """Wait until no process of the capsule is left; say whether that is so.

        :param inner: Process 1, by its number before the end began: it goes last, after all others.
        """
        deadline = time.monotonic() + within
        while self.outer is not None or (inner is not None and Path(f"/proc/{inner}").exists()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True
