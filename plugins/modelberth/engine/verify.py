"""``modelberth verify`` and ``modelberth check``: what is on a claim is still what its manifest names."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from modelberth.core.ready import Stats, stats_digest, to_rehash
from modelberth.engine import claim, filesystem, proof
from modelberth.engine.transport import since

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.core.digest import Digest
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.claim import Published
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

CACHED = "re-read from cache"
DROPPED = "re-read with this node's cache dropped"


def verify(root: Path, revision: Revision, snapshot: Snapshot | None, stop: Stop) -> Result:
    """Read every byte of a snapshot again.

    :param snapshot: Which copy; the newest ready one when None.
    :raises Failure: It is not there, foreign or damaged; every damaged chunk is named.
    """
    began = time.monotonic()
    found = _find(root, revision, snapshot)
    tree = claim.read_tree(found.files)
    problems = claim.strays(tree, found.manifest)
    there = [entry for entry in found.manifest.files if entry.path in tree.stats]
    dropped = [_dropped(found.files / entry.path) for entry in there]  # all of them before the first is read
    problems += proof.mismatches(found.files, there, found.manifest.chunk_digest, stop)
    stats = claim.read_tree(found.files).stats
    problems += _moved(tree.stats, stats)
    proof.refuse(found, problems)
    return _result(found) | {
        "bytes": found.manifest.size,
        "how": DROPPED if all(dropped) else CACHED,
        "node": os.environ.get("NODE_NAME") or socket.gethostname(),
        "seconds": since(began),
        "stats": str(stats_digest(stats)),
    }


def check(root: Path, revision: Revision, snapshot: Snapshot | None, verified: Digest | None, stop: Stop) -> Result:
    """Look whether a snapshot is as the last verify left it; read again only what may not be.

    :param verified: The ``stats`` that verify reported; without it every file is read again.
    :raises Failure: It is not there, foreign or damaged.
    """
    found = _find(root, revision, snapshot)
    look = proof.look(found, lambda now, before: to_rehash(now, before, verified), stop)
    return _result(found) | {
        "rehashed_files": len(look.reread),
        "bytes_rehashed": sum(entry.size for entry in look.reread),
    }


def _find(root: Path, revision: Revision, snapshot: Snapshot | None) -> Published:
    root = claim.existing_root(root)
    return claim.published(root, revision, snapshot) if snapshot else claim.newest(root, revision)


def _result(found: Published) -> Result:
    return {
        "revision": str(found.revision),
        "snapshot": str(found.snapshot),
        "files": len(found.manifest.files),
    }


def _moved(before: Stats, after: Stats) -> list[str]:
    """Return what changed while it was read: what was read is then not what is there."""
    changed = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
    return [f"File {path!r} changed while it was read." for path in changed]


def _dropped(path: Path) -> bool:
    """Drop this node's cache of a file; say whether the file system let go of it."""
    try:
        descriptor = filesystem.open_regular(path)
    except OSError:
        return True  # reading it will say what is wrong
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return not os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True  # its first byte is not in memory
    except OSError:
        return False  # the file system cannot tell, so nothing better is claimed
    finally:
        os.close(descriptor)
