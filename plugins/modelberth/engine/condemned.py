"""The marks of snapshots that are to go; ``core.layout`` draws where they are.

::

    {"schema": 1, "revision": "minilm@sha256:<64 hex>", "snapshot": "<64 hex>.<n>", "at": "2026-11-22T17:06:26Z"}

A mark moves no byte: the snapshot serves on, and a sync or check that returns it lifts the mark. A prune that begins to
take the snapshot away first renames the mark. Of that rename and the unlink that lifts it only one can succeed, so a
snapshot is never both returned and taken away, whoever is quicker.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelberth.core import canonical, layout
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.prune import MOMENT
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine import claim, filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

_LARGEST = 4096
_MARK, _TAKEN = ".json", ".taken"


def is_there(path: Path) -> bool:
    """Return whether anything has the name *path*, be it a link to nowhere.

    :raises OSError: The file system does not answer; to os.path.lexists, such a one has nothing.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def since(root: Path, model: str, snapshot: Snapshot) -> str | None:
    """Return since when *snapshot* is condemned (ISO 8601), empty if nobody knows; None if it is not condemned."""
    for path in (root / layout.mark_path(model, snapshot), root / layout.taken_path(model, snapshot)):
        if is_there(path):
            return _time(path, Revision(model, snapshot.digest), snapshot)
    return None


def _time(path: Path, revision: Revision, snapshot: Snapshot) -> str:
    with (
        suppress(OSError, ValueError, TypeError, LookupError),
        os.fdopen(filesystem.open_regular(path), "rb") as stream,
    ):
        document = canonical.load(stream.read(_LARGEST))
        at = str(document["at"])
        if document == _document(revision, snapshot, at) and datetime.strptime(at, MOMENT):  # noqa: DTZ007 - it ends in Z
            return at
    return ""


def _document(revision: Revision, snapshot: Snapshot, at: str) -> dict[str, object]:
    return {"schema": 1, "revision": str(revision), "snapshot": str(snapshot), "at": at}


def condemn(root: Path, model: str, snapshot: Snapshot) -> None:
    """Mark *snapshot*; one that is marked already keeps its time.

    :raises Failure: Something that is not ours is where the mark belongs.
    """
    if since(root, model, snapshot):
        return
    mark = root / layout.mark_path(model, snapshot)
    at = datetime.now(UTC).strftime(MOMENT)
    make_directories(root, layout.condemned_path(model))
    filesystem.write_durably(mark, canonical.dump(_document(Revision(model, snapshot.digest), snapshot, at)))
    filesystem.sync_directory(mark.parent)
    (root / layout.taken_path(model, snapshot)).unlink(missing_ok=True)  # it told no time


def lift(root: Path, model: str, snapshot: Snapshot) -> bool:
    """Take the mark off; say whether *snapshot* is there to stay.

    | its mark | answer |
    |---|---|
    | is none | yes, if the snapshot is in its place |
    | is removed here | yes |
    | was removed by somebody else meanwhile | no: it may have been a prune, and another copy costs little |
    | says that a prune takes it away | no |

    :raises OSError: The claim cannot be written.
    """
    mark = root / layout.mark_path(model, snapshot)
    if is_there(mark):
        try:
            mark.unlink()
        except FileNotFoundError:
            return False
        filesystem.sync_directory(mark.parent)
        log.info("Snapshot %s: it was condemned, and is not any more.", snapshot)
        return True
    return not is_there(root / layout.taken_path(model, snapshot)) and is_there(
        root / layout.snapshot_path(model, snapshot)
    )


def refuse(root: Path, model: str, snapshot: Snapshot) -> None:
    """Lift the mark of a snapshot that is about to be served, and refuse one for which that cannot be done.

    :raises Failure: It is on its way out.
    """
    try:
        stays = lift(root, model, snapshot)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        stays = False
    if not stays:
        raise Failure(
            ExitCode.BUSY,
            f"Snapshot {snapshot} of {model} is condemned, and this run could not lift that: a prune will take it away "
            "unless it sees that it is used. A sync keeps it, so does "
            f"'modelberth prune ROOT --lift {model}@{snapshot.digest}.{snapshot.copy}': then run the same again.",
        )


def names(root: Path, model: str) -> frozenset[Snapshot]:
    """Return the snapshots of *model* that are condemned or in the trash: no other one may get their names."""
    marked = (name.removesuffix(_MARK).removesuffix(_TAKEN) for name in entries(root / layout.condemned_path(model)))
    return frozenset(_snapshots((*marked, *entries(root / layout.trash_path(model)))))


def trashed(root: Path, model: str) -> list[Snapshot]:
    """Return the snapshots of *model* that are out of sight, and can be brought back."""
    return sorted(_snapshots(entries(root / layout.trash_path(model))))


def entries(directory: Path) -> list[str]:
    """Return the names in one of our hidden directories; nothing where it is none, or is a link."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if not directory.is_symlink():
            return sorted(os.listdir(directory))  # noqa: PTH208 - names are wanted, not paths
    return []


def _snapshots(texts: tuple[str, ...] | list[str]) -> Iterator[Snapshot]:
    for text in texts:
        with suppress(ValueError):
            yield Snapshot.parse(text)


def make_directories(root: Path, path: str) -> None:
    """Make the directories of *path* below the claim's root.

    :raises Failure: A link, or something else, is in the place of one.
    """
    directory = root
    for part in path.split("/"):
        directory /= part
        claim.own_directory(directory)
