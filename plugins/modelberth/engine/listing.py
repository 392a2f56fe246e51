"""``modelberth list``: what is on a claim."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import Failure
from modelberth.core.manifest import Manifest
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine import claim, condemned, damage, filesystem, leftovers
from modelberth.engine.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelberth.engine.report import Result

Row = dict[str, Any]


def list_claim(root: Path) -> Result:
    """Return the models of a claim, their snapshots, what is being staged, and the free space.

    What is on the claim beside that is left out, and what cannot be read is said to be so: neither hides the rest.
    """
    root = claim.existing_root(root)
    system = os.statvfs(root)
    return {
        "models": [_model(root, name) for name in claim.models(root)],
        "staging": list(_staging(root)),
        "trash": list(_trash(root)),
        "bytes_free": system.f_bavail * system.f_frsize,
    }


def _model(root: Path, name: str) -> Row:
    try:
        found = sorted(claim.snapshots(root / name))
    except (Failure, OSError) as error:
        return {"model": name, "snapshots": [], "problem": _said(error, f"read model {name!r}")}
    return {"model": name, "snapshots": [_snapshot(root, name, snapshot) for snapshot in found]}


def _snapshot(root: Path, model: str, snapshot: Snapshot) -> Row:
    """Return what a directory is that has a snapshot's name.

    | state | is |
    |---|---|
    | foreign | without a READY that names its own manifest, or not to be read: never served |
    | damaged | a verify found it so, and put that on record: never returned by a sync |
    | ready | any other |
    """
    revision = Revision(model, snapshot.digest)
    row: Row = {"snapshot": str(snapshot), "revision": str(revision)}
    try:
        found = claim.published(root, revision, snapshot)
        recorded = damage.on_record(root, revision, snapshot)
        since = condemned.since(root, model, snapshot)
    except (Failure, OSError) as error:
        return row | {"state": "foreign", "problem": _said(error, f"read snapshot {snapshot}")}
    row |= {"at": found.ready.at, "files": len(found.manifest.files), "bytes": found.manifest.size}
    row |= {} if since is None else {"condemned": since or None}
    return row | ({"state": "damaged", "problem": recorded} if recorded else {"state": "ready"})


def _said(error: Failure | OSError, what: str) -> str:
    failure = error if isinstance(error, Failure) else filesystem.failure_of(error, what)
    return failure.problems[0]


def _staging(root: Path) -> Iterator[Row]:
    """Yield what is being staged, whoever does it: all of it is partial until one rename publishes it."""
    for path in sorted((root / layout.HIDDEN / "staging").glob("*/*")):
        with suppress(ValueError, OSError):
            revision = Revision(path.parent.name, Digest(path.name))
            yield {
                "model": revision.model,
                "digest": str(revision.digest),
                "state": "partial",
                "idle_seconds": int(leftovers.idle(path, time.time())),
                **_partial(path, revision),
            }


def _trash(root: Path) -> Iterator[Row]:
    """Yield what is out of sight: a prune renamed it there, and it comes back if it is used after all."""
    for model in claim.models(root / layout.HIDDEN / "trash") if (root / layout.HIDDEN / "trash").is_dir() else ():
        for snapshot in condemned.trashed(root, model):
            revision = Revision(model, snapshot.digest)
            manifest = _manifest(root / layout.trash_path(model) / str(snapshot), revision)
            yield {
                "model": model,
                "snapshot": str(snapshot),
                "revision": str(revision),
                "state": "trash",
                "bytes": manifest.size if manifest else 0,
                "condemned": condemned.since(root, model, snapshot) or None,
            }


def _partial(path: Path, revision: Revision) -> Row:
    """Return how much is there of a revision, in bytes.

    ``bytes`` is what the files take up. What of it survives whatever ends the run (``bytes_durable``) and what all
    will be (``bytes_total``) only the manifest tells, which a sync leaves beside the files.
    """
    files = path / layout.SNAPSHOT / layout.FILES
    taken = sum(file.lstat().st_blocks * 512 for file in files.rglob("*") if file.is_file())
    manifest = _manifest(path, revision)
    if manifest is None:
        return {"bytes": taken, "bytes_durable": None, "bytes_total": None}
    return {"bytes": taken, "bytes_durable": _durable(path, revision, manifest), "bytes_total": manifest.size}


def _manifest(path: Path, revision: Revision) -> Manifest | None:
    with suppress(OSError, Failure), os.fdopen(filesystem.open_regular(path / layout.MANIFEST), "rb") as stream:
        data = stream.read(LARGEST + 1)
        return Manifest.parse(data) if Digest.of(data) == revision.digest else None
    return None


def _durable(path: Path, revision: Revision, manifest: Manifest) -> int:
    """Return the bytes of the chunks that the journals name."""
    chunks: set[tuple[int, int]] = set()
    with suppress(OSError, ValueError):
        for item in Journal(path / layout.JOURNAL, revision).read():
            if 0 <= item.number < len(manifest.files):
                there = range(len(manifest.files[item.number].chunks))
                chunks.update((item.number, index) for index in there[item.first : item.first + item.count])
    return sum(manifest.files[number].span(index).length for number, index in chunks)
