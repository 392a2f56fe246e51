"""The lock of a model on a claim: mkdir, the one exclusion that held on every file system tried.

::

    .modelberth/lock/<model>/owner      who holds it, and a number that moves every few seconds

It saves work and nothing rests on it: two writers of one revision write the same verified bytes. A waiter never
compares clocks of two machines: it takes the lock when the owner's file has not moved for a while by its own clock,
or when the owner is a process of this machine that is gone.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.filesystem import open_regular, remove_tree

if TYPE_CHECKING:
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)

BEAT = 5.0
EXPIRY = 30.0
WAIT = 60.0
"""Seconds: how often the owner shows life, when it counts as dead, how long a waiter waits for a living one."""


class Lock:
    """The right to write a model's staging directory, while the block runs."""

    def __init__(self, directory: Path, stop: Stop) -> None:
        self._directory = directory
        self._stop = stop
        self._over = threading.Event()
        self._nonce = secrets.token_hex(8)
        self._beats = 0

    def __enter__(self) -> Lock:
        self._directory.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        waited_for = _Owner("", began)
        while not self._taken():
            was, waited_for = waited_for, self._look(waited_for)
            if waited_for.text and not was.text:
                log.info("Lock %s: held by %s; waiting up to %.0f s.", self._directory, waited_for.name(), WAIT)
            if time.monotonic() - began > WAIT:
                raise Failure(
                    ExitCode.BUSY,
                    f"Lock {str(self._directory)!r} is held by {waited_for.name()}, which is alive: run again later.",
                )
            self._stop.sleep(0.25)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if _nonce(self._read()) == self._nonce:
            remove_tree(self._directory)

    def _taken(self) -> bool:
        try:
            self._directory.mkdir()
        except FileExistsError:
            return False
        self._write()
        return True

    def _look(self, before: _Owner) -> _Owner:
        """Return who holds the lock; remove the lock when that one is dead."""
        text = self._read()
        # Empty is what a reader finds who comes between the two halves of a write.
        owner = before if text in ("", before.text) else _Owner(text, time.monotonic())
        if owner.is_gone() or time.monotonic() - owner.since > EXPIRY:
            log.info("Lock %s: taken over from %s, which is gone.", self._directory, owner.name())
            aside = self._directory.with_name(f".{self._directory.name}-{secrets.token_hex(8)}")
            with suppress(OSError):
                self._directory.rename(aside)
                remove_tree(aside)
        return owner

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):
                if _nonce(self._read()) != self._nonce:
                    return
                self._write()

    def _write(self) -> None:
        self._beats += 1
        owner = {"nonce": self._nonce, "beat": self._beats, "host": socket.gethostname(), "pid": os.getpid()}
        (self._directory / "owner").write_text(json.dumps(owner | {"place": _place()}))

    def _read(self) -> str:
        with suppress(OSError), os.fdopen(open_regular(self._directory / "owner"), "rb") as stream:
            return stream.read(4096).decode(errors="replace")
        return ""


class _Owner:
    """A lock's owner as a waiter saw it, since when."""

    def __init__(self, text: str, since: float) -> None:
        self.text = text
        self.since = since

    def is_gone(self) -> bool:
        """Whether it was a process of this machine and pid namespace that does not exist any more."""
        said = _parsed(self.text)
        here = said.get("place") == _place() != ""
        return here and isinstance(said.get("pid"), int) and not Path(f"/proc/{said['pid']}").exists()

    def name(self) -> str:
        """Return who it is, for messages."""
        said = _parsed(self.text)
        return f"process {said.get('pid', '?')} on {said.get('host', 'an unknown host')}"


def _parsed(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        said = json.loads(text)
        return said if isinstance(said, dict) else {}
    return {}


def _nonce(text: str) -> str:
    return str(_parsed(text).get("nonce", ""))


def _place() -> str:
    """Return what two processes have in common that can see each other: the boot and the pid namespace."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    return ""
