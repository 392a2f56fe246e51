"""``modelberth list``: what is on a claim."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelberth.core import layout
from modelberth.core.failure import Failure
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine import claim, filesystem

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.engine.report import Result


def list_claim(root: Path) -> Result:
    """Return the models of a claim, their snapshots, what is being staged, and the free space."""
    root = claim.existing_root(root)
    system = os.statvfs(root)
    return {
        "models": [_model(root, name) for name in claim.models(root)],
        "staging": _staging(root),
        "bytes_free": system.f_bavail * system.f_frsize,
    }


def _model(root: Path, name: str) -> dict[str, Any]:
    found = sorted(claim.snapshots(root / name))
    return {"model": name, "snapshots": [_snapshot(root, name, snapshot) for snapshot in found]}


def _snapshot(root: Path, model: str, snapshot: Snapshot) -> dict[str, Any]:
    revision = Revision(model, snapshot.digest)
    row = {"snapshot": str(snapshot), "revision": str(revision)}
    try:
        found = claim.published(root, revision, snapshot)
    except Failure as failure:
        return row | {"state": "foreign", "problem": failure.problems[0]}
    except OSError as error:
        problem = filesystem.failure_of(error, f"read snapshot {snapshot}").problems[0]
        return row | {"state": "foreign", "problem": problem}
    manifest = found.manifest
    return row | {"state": "ready", "at": found.ready.at, "files": len(manifest.files), "bytes": manifest.size}


def _staging(root: Path) -> list[dict[str, Any]]:
    """Return what is being staged, with the bytes that its files take up."""
    rows = []
    for path in sorted((root / layout.HIDDEN / "staging").glob("*/*")):
        files = [file for file in (path / layout.SNAPSHOT / layout.FILES).rglob("*") if file.is_file()]
        taken = sum(file.lstat().st_blocks * 512 for file in files)
        rows.append({"model": path.parent.name, "digest": f"sha256:{path.name}", "bytes": taken})
    return rows
