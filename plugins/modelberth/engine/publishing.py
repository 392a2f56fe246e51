"""Publishes what was staged: its own record, then one rename, judged by what is there afterwards."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.choices import next_copy
from modelberth.core.failure import Failure
from modelberth.core.ready import Ready
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Snapshot
from modelberth.engine import claim, filesystem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelberth.core.manifest import Manifest
    from modelberth.core.ready import Stats
    from modelberth.core.revision import Revision


@dataclass(frozen=True)
class Staged:
    """A staging directory whose files are complete and durable.

    :param stats: The table of its files.
    """

    path: Path
    revision: Revision
    manifest: Manifest
    stats: Stats


def publish(root: Path, staged: Staged, damaged: Sequence[int]) -> Snapshot:
    """Make a snapshot of what was staged.

    :param damaged: Numbers of copies that are on record as damaged.
    :raises Failure: It could not be done.
    :raises FileNotFoundError: Another writer published this very directory.
    """
    snapshot, nonce = staged.path / layout.SNAPSHOT, secrets.token_hex(16)
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    filesystem.write_durably(snapshot / layout.MANIFEST, staged.manifest.dump())
    filesystem.write_durably(snapshot / layout.READY, Ready(staged.revision, nonce, at, staged.stats).dump())
    filesystem.sync_directory(snapshot)
    published = _renamed(root, staged, nonce, damaged)
    filesystem.remove_tree(staged.path)
    return published


def _renamed(root: Path, staged: Staged, nonce: str, damaged: Sequence[int]) -> Snapshot:
    """Rename to the next free copy's name, and judge by what is there afterwards, not by the answer."""
    model = root / staged.revision.model
    claim.own_directory(model)
    while True:
        copies = claim.copies(root, staged.revision)
        snapshot = Snapshot(staged.revision.digest, next_copy((copy.copy for copy in copies), damaged))
        target = model / str(snapshot)
        try:
            (staged.path / layout.SNAPSHOT).rename(target)
        except OSError as error:
            if _is_ours(target, nonce):
                break
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            break
    with suppress(OSError):
        target.chmod(0o555)
    for directory in (model, staged.path, root):
        filesystem.sync_directory(directory)
    return snapshot


def _is_ours(target: Path, nonce: str) -> bool:
    with suppress(OSError, Failure), os.fdopen(filesystem.open_regular(target / layout.READY), "rb") as stream:
        return Ready.parse(stream.read(LARGEST + 1)).nonce == nonce
    return False
