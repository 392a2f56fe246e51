"""``modelberth verify`` and ``modelberth check``: what is on a claim is still what its manifest names."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.damage import Problem
from modelberth.core.ready import Stats, stats_digest, to_rehash
from modelberth.engine import claim, condemned, damage, pagecache, proof
from modelberth.engine.transport import since

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modelberth.core.digest import Digest
    from modelberth.core.failure import Failure
    from modelberth.core.manifest import Entry
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.claim import Published
    from modelberth.engine.proof import Reading
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)

CACHED = "re-read from cache"
DROPPED = "re-read with this node's cache dropped"


@dataclass(frozen=True)
class Order:
    """Which snapshot is looked at.

    :param snapshot: Which copy; the newest ready one when None.
    :param content: What verify looks at beside the bytes: see :mod:`modelberth.engine.content`.
    """

    root: Path
    revision: Revision
    snapshot: Snapshot | None
    reading: Reading = proof.AT_FULL_SPEED
    content: tuple[str, ...] = ()

    def find(self) -> tuple[Path, Published]:
        """Return the claim's root and the snapshot.

        :raises Failure: It is not there, or foreign.
        """
        root = claim.existing_root(self.root)
        if self.snapshot:
            return root, claim.published(root, self.revision, self.snapshot)
        return root, claim.newest(root, self.revision)


def verify(order: Order, stop: Stop) -> Result:
    """Read every byte of a snapshot again.

    :raises Failure: It is not there, foreign or damaged; every damaged chunk is named.
    """
    began = time.monotonic()
    root, found = order.find()
    tree = claim.read_tree(found.files)
    problems = claim.strays(tree, found.manifest)
    there = [entry for entry in found.manifest.files if entry.path in tree.stats]
    cached = _dropped(found.files, there, stop)
    problems += proof.mismatches(found, there, stop, order.reading)
    if not _cache_shows(found.files, there):
        cached = None
    stats = claim.read_tree(found.files).stats
    problems += _moved(tree.stats, stats)
    told = {"how": DROPPED if cached == 0 else CACHED, "node": os.environ.get("NODE_NAME") or socket.gethostname()}
    if problems:
        raise _on_record(root, found, problems, told)
    return (
        _result(found)
        | told
        | _content(found, order.content, stop)
        | {
            "bytes": found.manifest.size,
            "bytes_from_cache": cached,
            "recorded": _stays_on_record(root, found),
            "seconds": since(began),
            "stats": str(stats_digest(stats)),
        }
    )


def check(order: Order, verified: Digest | None, stop: Stop) -> Result:
    """Look whether a snapshot is as the last verify left it; read again only what may not be.

    :param verified: The ``stats`` that verify reported; without it every file is read again.
    :raises Failure: It is not there, foreign, damaged, on record as damaged, or condemned on a claim that cannot be
        written.
    """
    root, found = order.find()
    if recorded := damage.on_record(root, found.revision, found.snapshot):
        raise proof.damaged(found, [recorded], recorded=True)
    condemned.refuse(root, found.revision.model, found.snapshot)
    look = proof.look(found, lambda now, before: to_rehash(now, before, verified), stop, order.reading)
    return _result(found) | {
        "rehashed_files": len(look.reread),
        "bytes_rehashed": sum(entry.size for entry in look.reread),
    }


def _content(found: Published, checks: tuple[str, ...], stop: Stop) -> Result:
    """Return what the content could do to who loads it; nothing when nobody asks."""
    if not checks:
        return {}
    from modelberth.engine.content import inspect

    return inspect(found.files, found.manifest, checks, stop)


def _result(found: Published) -> Result:
    return {
        "revision": str(found.revision),
        "snapshot": str(found.snapshot),
        "files": len(found.manifest.files),
    }


def _dropped(files: Path, entries: Iterable[Entry], stop: Stop) -> int | None:
    """Drop this node's cache of all files; return the bytes that stay in it, None when that cannot be known.

    All of them before the first is read: what our own reads ahead bring is then not taken for what was there before.
    What a server's reads bring back meanwhile came from the storage after the verify began, which is what is claimed.
    """
    left: int | None = 0 if pagecache.is_all_of_memory(files) else None
    for entry in entries:
        stop.check()
        try:
            stays = pagecache.dropped(files / entry.path)
        except OSError:
            stays = None  # reading it will say what is wrong
        left = None if left is None or stays is None else left + stays
    return left


def _cache_shows(files: Path, entries: list[Entry]) -> bool:
    """Whether what was just read is seen in the cache: if not, the file system keeps bytes where nobody can count."""
    for entry in reversed(entries):
        with suppress(OSError):
            if pagecache.resident(files / entry.path):
                return True
    return False


def _moved(before: Stats, after: Stats) -> list[Problem]:
    """Return what changed while it was read: what was read is then not what is there."""
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    sizes = {path: status[0] for path, status in (after | before).items()}
    return [Problem(path, 0, sizes[path], f"File {path!r} changed while it was read.") for path in changed]


def _on_record(root: Path, found: Published, problems: list[Problem], told: Result) -> Failure:
    """Put the damage on record, and return the failure that says where."""
    where = damage.put_on_record(root, found.revision, found.snapshot, told["node"], problems)
    failure = proof.damaged(found, problems, recorded=where is not None)
    failure.facts |= told | {"recorded": where is not None, "report": where or "the log"}
    return failure


def _stays_on_record(root: Path, found: Published) -> bool:
    """Whether the snapshot that was just found to be well is on record as damaged."""
    recorded = damage.on_record(root, found.revision, found.snapshot)
    if recorded:
        log.warning(
            "Snapshot %s: every byte is right now, but %s The record stays, so no sync returns this copy: what read it "
            "wrong once may do so again. Remove the record by hand if you know better.",
            found.snapshot, recorded[0].lower() + recorded[1:],
        )  # fmt: skip
    return recorded is not None
