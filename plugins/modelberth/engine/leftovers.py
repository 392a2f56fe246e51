"""What runs that were killed left in ``.modelberth``: nothing of it is served, and all of it only takes room.

::

    .modelberth/staging/<model>/<64 hex>/       when no journal there has moved for a day
    .modelberth/trash/<model>/.<name>-<nonce>/  doomed: nothing comes back from there
    .modelberth/trial-<nonce>/                  of the trial whether the file system is fit, after a day
    .modelberth/lock/.<model>-<nonce>/          a lock that was taken over, after a day
    .modelberth/condemned/<model>/              marks of what is gone
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.prune import STAGING_IDLE
from modelberth.core.revision import MODEL_NAME, Snapshot
from modelberth.core.units import span
from modelberth.engine import claim, condemned, removing
from modelberth.engine.condemned import entries, is_there
from modelberth.engine.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelberth.core.revision import Revision
    from modelberth.engine.stopping import Stop

DOOMED = "."


def idle(staging: Path, now: float) -> float:
    """Return for how many seconds nobody has written in a staging directory.

    The newest of its journals counts, else the directory: a sync writes a record at least every few seconds in which
    something arrives.
    """
    moved = [staging.lstat().st_mtime]
    for path in (staging / layout.JOURNAL, staging / layout.SNAPSHOT):
        with suppress(FileNotFoundError, NotADirectoryError):
            moved.append(path.lstat().st_mtime)
    for name in entries(staging / layout.JOURNAL):
        with suppress(FileNotFoundError):
            moved.append((staging / layout.JOURNAL / name).lstat().st_mtime)
    return now - max(moved)


def _now(root: Path) -> float:
    """Return the file system's time: this machine's clock may differ from that of a server of files."""
    probe = root / layout.HIDDEN / f".now-{secrets.token_hex(8)}"
    try:
        probe.mkdir()
        return probe.lstat().st_mtime
    finally:
        with suppress(OSError):
            probe.rmdir()


def remove_staging(root: Path, revision: Revision, stop: Stop) -> int:
    """Remove what was staged of *revision*; return the bytes that are free then.

    :raises Failure: Somebody wrote there within a day, or holds the model's lock.
    """
    staging = root / layout.staging_path(revision.model, revision.digest)
    if not is_there(staging):
        return 0
    claim.own_directory(root / layout.HIDDEN / "lock")
    for directory in (staging.parent, staging):
        claim.refuse_other_than_directory(directory)
    with Lock(root / layout.lock_path(revision.model), stop):
        if (quiet := idle(staging, _now(root))) < STAGING_IDLE:
            raise Failure(
                ExitCode.BUSY,
                f"What is staged of {revision} was written to {span(quiet)} ago: a sync may go on with it. It goes "
                f"when nobody has written there for {span(STAGING_IDLE)}.",
            )
        doomed = root / layout.trash_path(revision.model) / f"{DOOMED}{staging.name}-{secrets.token_hex(8)}"
        condemned.make_directories(root, layout.trash_path(revision.model))
        removing.move(staging, doomed)
    return removing.remove(doomed, str(revision), stop)


def clear(root: Path, stop: Stop) -> int:
    """Remove what killed runs left and nobody can need; return the bytes that are free then.

    :raises OSError: Something cannot be removed.
    """
    hidden = root / layout.HIDDEN
    freed = sum(removing.remove(path, path.name, stop) for path in (*_doomed(hidden), *_stale(root, hidden)))
    for mark in _orphans(root, hidden):
        mark.unlink(missing_ok=True)
    return freed


def _doomed(hidden: Path) -> Iterator[Path]:
    for model in entries(hidden / "trash"):
        for name in entries(hidden / "trash" / model):
            path = hidden / "trash" / model / name
            if name.startswith(DOOMED) and _is_directory(path):
                yield path


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _stale(root: Path, hidden: Path) -> Iterator[Path]:
    """Yield directories of ours that were made for a moment, a day ago or longer."""
    moments = [hidden / name for name in entries(hidden) if name.startswith(("trial-", ".now-"))]
    moments += [hidden / "lock" / name for name in entries(hidden / "lock") if name.startswith(".")]
    found = [path for path in moments if _is_directory(path)]
    now = _now(root) if found else 0.0
    for path in found:
        with suppress(FileNotFoundError):
            if now - path.lstat().st_mtime > STAGING_IDLE:
                yield path


def _orphans(root: Path, hidden: Path) -> Iterator[Path]:
    """Yield the marks of snapshots that are neither in their place nor in the trash."""
    for model in entries(hidden / "condemned"):
        for name in entries(hidden / "condemned" / model) if MODEL_NAME.fullmatch(model) else ():
            with suppress(ValueError):
                snapshot = Snapshot.parse(name.rpartition(".")[0])
                there = (root / layout.snapshot_path(model, snapshot), root / layout.trash_path(model) / str(snapshot))
                if not any(map(is_there, there)):
                    yield hidden / "condemned" / model / name
