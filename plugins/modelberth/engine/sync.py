"""``modelberth sync``: a revision from a bucket onto a claim, every chunk verified before it is written."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.choices import to_return
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.ready import Rehash, Stats, stats_digest
from modelberth.engine import claim, condemned, damage, filesystem, linking, proof
from modelberth.engine.bucket import find_location, read_manifest
from modelberth.engine.fill import Filling
from modelberth.engine.lock import Lock
from modelberth.engine.staging import Staging
from modelberth.engine.stores import open_reader
from modelberth.engine.traits import Traits, traits_of
from modelberth.engine.transport import since

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.core.layout import BucketUrl
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.claim import Published
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What a sync is asked for.

    :param damaged: Snapshots that are never returned, besides those on the claim's own record.
    :param streams: How many requests at once, 0 for as many as suit this machine.
    :param rate: Bytes a second at most, None for no limit.
    :param hard_links: Whether whole files may become hard links to those of other snapshots.
    :param adopted: Prefixes of keys where adopted objects may be.
    """

    url: BucketUrl
    root: Path
    revision: Revision
    damaged: frozenset[Snapshot] = frozenset()
    streams: int = 0
    rate: int | None = None
    hard_links: bool = False
    adopted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moved:
    """What a sync moved, bytes.

    :param reused: All that was not fetched; *reflinked* and *linked* are parts of it.
    :param shares_with: Snapshots of which files are hard links to the same bytes.
    """

    fetched: int = 0
    reused: int = 0
    reflinked: int = 0
    linked: int = 0
    shares_with: frozenset[Snapshot] = frozenset()
    traits: Traits | None = None

    @property
    def result(self) -> Result:
        """What the result says of it; of the file system only when something was staged there."""
        said: Result = {
            "bytes_fetched": self.fetched,
            "bytes_reused": self.reused,
            "bytes_reflinked": self.reflinked,
            "bytes_linked": self.linked,
            "shares_bytes_with": [str(snapshot) for snapshot in sorted(self.shares_with)],
        }
        if self.traits:
            said |= {"file_system": self.traits.kind, "lacks": self.traits.lacks}
        return said


def sync(order: Order, stop: Stop) -> Result:
    """Bring a revision onto a claim, unless an undamaged snapshot of it is there.

    :raises Failure: It could not be done; nothing became visible.
    """
    began = time.monotonic()
    root = claim.existing_root(order.root)
    order = _with_recorded(root, order)
    snapshot, stats, moved = _undamaged(root, order, stop) or _staged(root, order, stop)
    return {
        "revision": str(order.revision),
        "snapshot": str(snapshot.snapshot),
        "path": str(snapshot.path),
        "files": len(snapshot.manifest.files),
        "bytes": snapshot.manifest.size,
        **moved.result,
        "stats": str(stats_digest(stats)),
        "seconds": since(began),
    }


def _with_recorded(root: Path, order: Order) -> Order:
    """Return *order* with all snapshots that are on the claim's record as damaged."""
    return replace(order, damaged=order.damaged | damage.recorded(root, order.revision.model))


def _undamaged(root: Path, order: Order, stop: Stop) -> tuple[Published, Stats, Moved] | None:
    """Return the newest snapshot that is still as it was published, with its files' table now.

    :raises OSError: The newest one could not be looked at for a reason that may pass: it is not staged again for that.
    """
    there = claim.copies(root, order.revision)
    passed_over: set[Snapshot] = set()
    while newest := to_return(there, passed_over):
        try:
            return _as_published(root, order, newest, stop)
        except (Failure, OSError) as failure:
            if not _is_of_this_one(failure):
                raise
            log.warning("Snapshot %s: passed over: %s", newest, failure)
            passed_over.add(newest)
    return None


def _as_published(root: Path, order: Order, snapshot: Snapshot, stop: Stop) -> tuple[Published, Stats, Moved]:
    if said := damage.on_record(root, order.revision, snapshot):
        raise Failure(ExitCode.MISMATCH, said)
    if snapshot in order.damaged:
        raise Failure(ExitCode.MISMATCH, "It is said to be damaged.")
    published = claim.published(root, order.revision, snapshot)
    look = proof.look(published, lambda *_: Rehash.DIFFERING, stop)
    condemned.refuse(root, order.revision.model, snapshot)
    return published, look.stats, Moved(shares_with=linking.sharing(root, published, look.linked))


def _is_of_this_one(trouble: Failure | OSError) -> bool:
    """Whether another snapshot, or a fresh one, can do without what made the trouble."""
    if isinstance(trouble, OSError):
        return trouble.errno in filesystem.LOST
    return trouble.code in (ExitCode.MISMATCH, ExitCode.BUSY, ExitCode.FOREIGN, ExitCode.REFUSED, ExitCode.NOT_FOUND)


def _staged(root: Path, order: Order, stop: Stop) -> tuple[Published, Stats, Moved]:
    store = open_reader(order.url, stop)
    manifest = read_manifest(store, order.revision)
    location = find_location(store, order.revision, manifest, order.adopted)
    hidden = root / layout.HIDDEN
    with filesystem.told(f"stage {order.revision} in {str(root)!r}"):
        for directory in (hidden, hidden / "lock"):
            claim.own_directory(directory)
        filesystem.refuse_unsuitable(hidden)
        traits = traits_of(hidden)
        log.info("File system of %s: %s.", root, traits)
        with Lock(root / layout.lock_path(order.revision.model), stop):
            if found := _undamaged(root, order, stop):
                return found  # the writer that was waited for had the same to do
            order = _with_recorded(root, order)  # a verify may have found damage while the lock was waited for
            not_again = order.damaged | condemned.names(root, order.revision.model)
            staging = Staging(root, order.revision, manifest, not_again)
            try:
                moved = _filled(staging, Filling(store, location, staging, order, traits, stop), stop)
                published = stop.bounded(lambda: _published(staging, root, order))
            finally:
                if not stop.asked:  # else a thread may still write: no other file shall get a number that it uses
                    staging.close()
    return published, published.ready.stats, replace(moved, traits=traits)


def _filled(staging: Staging, filling: Filling, stop: Stop) -> Moved:
    """Bring all that the staging directory lacks; whatever ends this, what arrived is in the journal."""
    try:
        staging.prepare()
        filling.all(staging.missing())
        stop.bounded(staging.flush)
    except (Failure, OSError):
        with suppress(Failure, OSError):  # the failure itself says more than that its last seconds were lost
            stop.bounded(staging.flush)
        raise
    return Moved(
        fetched=filling.fetched,
        reused=staging.manifest.size - filling.fetched,
        reflinked=filling.reflinked,
        linked=filling.linked,
        shares_with=frozenset(filling.shares_with),
    )


def _published(staging: Staging, root: Path, order: Order) -> Published:
    try:
        snapshot = staging.publish()
    except FileNotFoundError as error:
        # Another writer, which took our lock for a dead one's, published this very directory before us.
        try:
            return claim.newest(root, order.revision)
        except Failure as failure:
            raise (error if failure.code is ExitCode.NOT_FOUND else failure) from None  # it was something else
    log.info("Snapshot %s: published.", snapshot)
    return claim.published(root, order.revision, snapshot)
