"""``modelberth sync``: a revision from a bucket onto a claim, every chunk verified before it is written."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.choices import to_return
from modelberth.core.chunks import Run, runs
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.ready import Rehash, Stats, stats_digest
from modelberth.engine import claim, filesystem, proof
from modelberth.engine.bucket import find_location, read_manifest
from modelberth.engine.hashing import chunk_hasher
from modelberth.engine.lock import Lock
from modelberth.engine.pace import Pace
from modelberth.engine.report import Progress, Result
from modelberth.engine.staging import Staging
from modelberth.engine.stores import Store, open_store
from modelberth.engine.transport import Again, Fill, Transport, since
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Location, Place
    from modelberth.core.manifest import Entry
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.claim import Published
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)

CHUNKS_PER_GET = 4


@dataclass(frozen=True)
class Order:
    """What a sync is asked for.

    :param streams: How many requests at once, 0 for as many as suit this machine.
    :param rate: Bytes a second at most, None for no limit.
    """

    url: BucketUrl
    root: Path
    revision: Revision
    damaged: frozenset[Snapshot] = frozenset()
    streams: int = 0
    rate: int | None = None


@dataclass(frozen=True)
class Moved:
    """What a sync moved, bytes."""

    fetched: int = 0
    reused: int = 0


def sync(order: Order, stop: Stop) -> Result:
    """Bring a revision onto a claim, unless an undamaged snapshot of it is there.

    :raises Failure: It could not be done; nothing became visible.
    """
    began = time.monotonic()
    root = claim.existing_root(order.root)
    found, moved = _undamaged(root, order, stop), Moved()
    if not found:
        found, moved = _staged(root, order, stop)
    snapshot, stats = found
    return {
        "revision": str(order.revision),
        "snapshot": str(snapshot.snapshot),
        "path": str(snapshot.path),
        "files": len(snapshot.manifest.files),
        "bytes": snapshot.manifest.size,
        "bytes_fetched": moved.fetched,
        "bytes_reused": moved.reused,
        "stats": str(stats_digest(stats)),
        "seconds": since(began),
    }


def _undamaged(root: Path, order: Order, stop: Stop) -> tuple[Published, Stats] | None:
    """Return the newest snapshot that is still as it was published, with its files' table now."""
    ready: dict[Snapshot, Published] = {}
    for snapshot in claim.copies(root, order.revision):
        try:
            ready[snapshot] = claim.published(root, order.revision, snapshot)
        except Failure as failure:
            log.warning("Snapshot %s: passed over: %s", snapshot, failure)
    damaged = set(order.damaged)
    while newest := to_return(ready, damaged):
        try:
            return ready[newest], proof.look(ready[newest], lambda *_: Rehash.DIFFERING, stop).stats
        except Failure as failure:
            if failure.code is not ExitCode.MISMATCH:
                raise
            log.warning("Snapshot %s: passed over: %s", newest, failure)
            damaged.add(newest)
    return None


def _staged(root: Path, order: Order, stop: Stop) -> tuple[tuple[Published, Stats], Moved]:
    store = open_store(order.url)
    manifest = read_manifest(store, order.revision)
    location = find_location(store, order.revision, manifest)
    hidden = root / layout.HIDDEN
    with filesystem.told(f"stage {order.revision} in {str(root)!r}"):
        hidden.mkdir(exist_ok=True)
        filesystem.refuse_unsuitable(hidden)
        with Lock(root / layout.lock_path(order.revision.model), stop):
            if found := _undamaged(root, order, stop):
                return found, Moved()  # the writer that was waited for had the same to do
            staging = Staging(root, order.revision, manifest)
            moved = _filled(staging, _Fetch(store, location, staging, order, stop))
            published = _published(staging, root, order)
    return (published, published.ready.stats), moved


def _filled(staging: Staging, fetch: _Fetch) -> Moved:
    """Bring all that the staging directory lacks; whatever ends this, what arrived is in the journal."""
    try:
        staging.prepare()
        missing = staging.missing()
        staging.refuse_too_little_space()
        fetch.all(missing)
    except Failure as failure:
        if failure.code not in (ExitCode.NO_SPACE, ExitCode.UNREACHABLE):
            staging.flush()
        raise
    else:
        staging.flush()
    finally:
        staging.close()
    return Moved(fetched=fetch.progress.done, reused=staging.manifest.size - fetch.progress.done)


def _published(staging: Staging, root: Path, order: Order) -> Published:
    try:
        snapshot = staging.publish()
    except FileNotFoundError:
        # Another writer, which took our lock for a dead one's, published this very directory before us.
        return claim.newest(root, order.revision)
    log.info("Snapshot %s: published.", snapshot)
    return claim.published(root, order.revision, snapshot)


class _Fetch:
    """Fetches chunks into a staging directory."""

    def __init__(self, store: Store, location: Location, staging: Staging, order: Order, stop: Stop) -> None:
        self._store = store
        self._places = {place.path: place for place in location.files}
        self._manifest = staging.manifest
        self._staging = staging
        self._stop = stop
        self._transport = Transport(stop)
        self._hasher = chunk_hasher(staging.manifest.chunk_digest)
        self._streams = order.streams or default_streams()
        self._pace = Pace(order.rate, stop)
        self._buffers = proof.Buffers()
        self.progress = Progress("fetched", 0)

    def all(self, missing: dict[int, list[int]]) -> None:
        """Fetch the chunks *missing* of each file."""
        spans = (self._manifest.files[number].span(index) for number, chunks in missing.items() for index in chunks)
        self.progress = Progress("fetched", sum(span.length for span in spans))
        for number, chunks in missing.items():
            if not chunks:
                self._staging.create_empty(number)
        with self.progress.shown():
            for_each(self._run, _tasks(missing), self._stop, self._streams)

    def _run(self, task: tuple[int, Run]) -> None:
        number, run = task
        entry = self._manifest.files[number]
        place = self._places[entry.path]

        def sink(offset: int, fill: Fill) -> None:
            self._chunk(number, entry, run.first + offset, place, fill)

        spans = [entry.span(run.first + offset) for offset in range(run.count)]
        self._transport.bring(lambda: self._store.sign(place), spans, sink)

    def _chunk(self, number: int, entry: Entry, index: int, place: Place, fill: Fill) -> None:
        """Receive a chunk and compare its digest before any of it reaches a file."""
        span, hasher = entry.span(index), self._hasher()
        view = self._buffers.chunk[: span.length]
        self._pace.take(span.length)
        fill(view, hasher.update)
        if hasher.digest() != entry.chunks[index]:
            raise Again(_mismatch(entry, index, place, hasher.digest()))
        with filesystem.told(f"write {entry.path!r}"):
            self._staging.write(number, index, view)
        self.progress.add(span.length)


def _tasks(missing: dict[int, list[int]]) -> Iterator[tuple[int, Run]]:
    for number, chunks in missing.items():
        for run in runs(chunks, CHUNKS_PER_GET):
            yield number, run


def _mismatch(entry: Entry, index: int, place: Place, got: bytes) -> Failure:
    span = entry.span(index)
    return Failure(
        ExitCode.MISMATCH,
        f"Digest mismatch in {entry.path!r} chunk {index} ({span}) of object {place.key!r}: "
        f"expected {entry.chunks[index].hex()[:16]}..., got {got.hex()[:16]}.... The snapshot was not published. "
        "It came so three times: the object in the bucket is damaged, upload the model again.",
    )
