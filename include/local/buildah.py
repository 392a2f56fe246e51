"""buildah, which makes images without Docker, and what else builds: alone, its output in a log.

::

    <cache>/images/    buildah's storage: layers, shared by all checkouts
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from problems import LocalError
from settings import cache
from supervise import tail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ALONE = ("unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc")
"""debootstrap and buildah mount and start things: in namespaces of their own these end with them, even by SIGKILL."""


def buildah(*arguments: str, log: Path) -> None:
    """Run buildah on the shared storage.

    :raises LocalError: It failed; with the last lines of its output.
    """
    with log.open("a") as out:
        command = [*ALONE, *storage(), *arguments]
        print("+", shlex.join(command), file=out, flush=True)
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LocalError(
            f"buildah {arguments[0]} failed (exit {done.returncode}). Last lines of {log}:\n{tail(log, 25)}"
        )


def storage() -> list[str]:
    """Return buildah with its storage."""
    return ["buildah", "--root", str(cache() / "images"), "--runroot", "/run/modelberth-images"]


def built(reference: str) -> bool:
    """Say whether buildah's storage has an image."""
    command = [*storage(), "inspect", "--type", "image", reference]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(command: Sequence[str], log: Path) -> None:
    """Run a command with its output in the log.

    :raises LocalError: It failed.
    """
    with log.open("a") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LocalError(f"{command[0]} failed (exit {done.returncode}). Last lines of {log}:\n{tail(log, 25)}")
