"""Where an upload's state is on the host that runs it, so that every try of its task finds it.

    <MODELBERTH_STATE>/modelberth-<uid>/<host>/<release_id>.<8 hex of its command line>/
        lock            flock: held by the keeper and the program, through a file that both inherit
        follower        flock, shared: held by each task that follows; its text names the last one that came
        log             what the program says, a line each
        out             what it prints: its result
        outcome.json    how it ended: written once, by rename, before ``lock`` is let go
        end             is there once its end was asked for
        google.json     credentials that are a file, while the program runs

Who is alive is told by locks: the kernel drops them with the last process that has them, and no process is ever taken
for another one that had its number. The folder must be on a local file system. Standard library only: the keeper must
start in no time.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORGOTTEN_AFTER = 24 * 3600.0
"""Seconds that the folder of an upload which ended stays for a task that did not come."""


class StateFolderError(Exception):
    """There is no folder for states on this worker."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended.

    :param exit_code: The program's, or 128 and the number of the signal that ended it.
    :param message: The last line of JSON that it printed.
    :param reason: Whose signal it was, or why the keeper ended it.
    """

    exit_code: int
    message: str
    pid: int
    reason: str = ""


@dataclass(frozen=True)
class StateFolder:
    """The state of one upload."""

    path: Path

    @classmethod
    def of(cls, upload: str, words: Sequence[str]) -> StateFolder:
        """Return the folder of *upload*, whose command line is *words*: another one is another process's.

        :raises StateFolderError: It cannot be made.
        """
        root = _root()
        named = hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]
        folder = cls(root / socket.gethostname() / f"{upload}.{named}")
        try:
            _private(root)
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateFolderError(
                f"The state of upload {upload} cannot be kept in {folder.path}: {error.strerror}. Let MODELBERTH_STATE "
                "name a directory on a disk of this worker's own, which Airflow's user may write to; a few MB are "
                "enough."
            ) from error
        return folder

    @property
    def log(self) -> Path:
        """What the program says."""
        return self.path / "log"

    @property
    def out(self) -> Path:
        """What the program prints."""
        return self.path / "out"

    @property
    def end(self) -> Path:
        """Is there once the end was asked for."""
        return self.path / "end"

    @property
    def credentials(self) -> Path:
        """Credentials that are a file."""
        return self.path / "google.json"

    # --- who is alive -------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self) -> Iterator[int | None]:
        """Yield the open lock, which whoever inherits it goes on to hold; None while somebody holds it."""
        with self._open("lock") as file:
            taken = _taken(file, fcntl.LOCK_EX)
            # It may have been opened right before its holder removed the folder: that one excludes nobody.
            yield file if taken and self._is("lock", file) else None

    @property
    def kept(self) -> bool:
        """Whether the keeper or the program lives."""
        with self._open("lock") as file:
            return not _taken(file, fcntl.LOCK_SH)

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """Let the keeper know that *name* follows."""
        with self._open("follower") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            (self.path / "follower").write_text(name)
            yield

    @property
    def followed(self) -> bool:
        """Whether anybody follows; asked by the keeper."""
        with self._open("follower") as file:
            return not _taken(file, fcntl.LOCK_EX)

    def ask_end(self, name: str) -> bool:
        """Ask for the end, unless another one than *name* came to follow."""
        if (self.path / "follower").read_text() != name:
            return False
        self.end.touch()
        return True

    # --- how it ended -------------------------------------------------------------------------------------------------

    def conclude(self, ended: Ended) -> None:
        """Note how the program ended."""
        new = self.path / "outcome.new"
        new.write_text(json.dumps(asdict(ended)))
        new.replace(self.path / "outcome.json")

    def concluded(self) -> Ended | None:
        """Return how the program ended, if it has."""
        try:
            return Ended(**json.loads((self.path / "outcome.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    # --- tidying ------------------------------------------------------------------------------------------------------

    def empty(self) -> None:
        """Remove what an earlier run left; the caller holds the lock."""
        for name in ("outcome.json", "end", "log", "out", "google.json"):
            (self.path / name).unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the folder, unless somebody keeps it."""
        with suppress(FileNotFoundError), self.lock() as lock:
            if lock is not None:
                shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the folders of this host that nobody came back to for a day."""
        before = time.time() - FORGOTTEN_AFTER
        for path in self.path.parent.iterdir():
            if path != self.path and _touched(path) < before:
                StateFolder(path).forget()

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        file = os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield file
        finally:
            os.close(file)

    def _is(self, name: str, file: int) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file), (self.path / name).stat())
        return False


def last_result(out: Path) -> str:
    """Return the last line of JSON in *out*, empty if there is none."""
    lines = out.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.startswith("{")), "")


def _root() -> Path:
    return Path(os.environ.get("MODELBERTH_STATE") or tempfile.gettempdir()) / f"modelberth-{os.getuid()}"


def _private(root: Path) -> None:
    """Make *root*; refuse one that somebody else made, who could read credentials and forge results.

    :raises OSError: It is not there, or not ours alone.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found: Any = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, f"{root} is no directory of ours that nobody else may write to")


def _taken(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _touched(path: Path) -> float:
    """Return when *path* was last used, in seconds of the epoch."""
    with suppress(OSError):
        return max(one.stat().st_mtime for one in (path, *path.iterdir()))
    return time.time()
