"""``modelberth sync``: a revision from a bucket onto a claim, every chunk verified before it is written."""

from __future__ import annotations

import logging
import time
from contextlib import closing, suppress
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
from modelberth.engine.reuse import Missing, held_chunks
from modelberth.engine.staging import Staging
from modelberth.engine.stores import Reader, open_reader
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
        except (Failure, OSError) as failure:
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
        except OSError as error:
            log.warning("Snapshot %s: passed over: %s", newest, error)
            damaged.add(newest)
    return None


def _staged(root: Path, order: Order, stop: Stop) -> tuple[tuple[Published, Stats], Moved]:
    store = open_reader(order.url, stop)
    manifest = read_manifest(store, order.revision)
    location = find_location(store, order.revision, manifest)
    hidden = root / layout.HIDDEN
    with filesystem.told(f"stage {order.revision} in {str(root)!r}"):
        for directory in (hidden, hidden / "lock"):
            claim.own_directory(directory)
        filesystem.refuse_unsuitable(hidden)
        with Lock(root / layout.lock_path(order.revision.model), stop):
            if found := _undamaged(root, order, stop):
                return found, Moved()  # the writer that was waited for had the same to do
            staging = Staging(root, order.revision, manifest)
            with closing(staging):
                moved = _filled(staging, _Fill(store, location, staging, order, stop))
                published = _published(staging, root, order)
    return (published, published.ready.stats), moved


def _filled(staging: Staging, fill: _Fill) -> Moved:
    """Bring all that the staging directory lacks; whatever ends this, what arrived is in the journal."""
    try:
        staging.prepare()
        missing = staging.missing()
        staging.refuse_too_little_space()
        fill.all(missing)
        staging.flush()
    except (Failure, OSError):
        with suppress(OSError):  # the failure itself says more than that its last seconds were lost
            staging.flush()
        raise
    return Moved(fetched=fill.fetched.done, reused=staging.manifest.size - fill.fetched.done)


def _published(staging: Staging, root: Path, order: Order) -> Published:
    try:
        snapshot = staging.publish()
    except FileNotFoundError:
        # Another writer, which took our lock for a dead one's, published this very directory before us.
        return claim.newest(root, order.revision)
    log.info("Snapshot %s: published.", snapshot)
    return claim.published(root, order.revision, snapshot)


class _Fill:
    """Fills a staging directory with chunks: from other snapshots where they have them, else from the bucket."""

    def __init__(self, store: Reader, location: Location, staging: Staging, order: Order, stop: Stop) -> None:
        self._store = store
        self._places = {place.path: place for place in location.files}
        self._manifest = staging.manifest
        self._model = order.revision.model
        self._staging = staging
        self._stop = stop
        self._transport = Transport(stop)
        self._hasher = chunk_hasher(staging.manifest.chunk_digest)
        self._streams = order.streams or default_streams()
        self._pace = Pace(order.rate, stop)
        self._buffers = proof.Buffers()
        self._root = order.root
        self.fetched = Progress("fetched", 0)

    def all(self, missing: Missing) -> None:
        """Bring the chunks *missing* of each file."""
        for number, chunks in missing.items():
            if not chunks:
                self._staging.create_empty(number)
        missing = self._without_held(missing)
        self.fetched = Progress("fetched", self._bytes(missing))
        with self.fetched.shown():
            for_each(self._run, _tasks(missing), self._stop, self._streams)

    def _bytes(self, missing: Missing) -> int:
        return sum(self._manifest.files[number].span(index).length for number in missing for index in missing[number])

    def _without_held(self, missing: Missing) -> Missing:
        """Take what other snapshots hold; return what they do not."""
        held = held_chunks(self._root, self._model, self._manifest, missing)
        chunks = [(number, index) for number in missing for index in missing[number]]
        candidates = [pair for pair in chunks if self._digest(*pair) in held]
        taken: set[tuple[int, int]] = set()

        def take(pair: tuple[int, int]) -> None:
            digest, hasher = self._digest(*pair), self._hasher()
            view = self._buffers.chunk[: held[digest].span.length]
            if held[digest].read(view, hasher) == digest:
                self._write(*pair, view)
                taken.add(pair)

        for_each(take, candidates, self._stop, self._streams)
        return {number: [i for i in indexes if (number, i) not in taken] for number, indexes in missing.items()}

    def _digest(self, number: int, index: int) -> bytes:
        return self._manifest.files[number].chunks[index]

    def _write(self, number: int, index: int, view: memoryview) -> None:
        with filesystem.told(f"write {self._manifest.files[number].path!r}"):
            self._staging.write(number, index, view)

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
        self._write(number, index, view)
        self.fetched.add(span.length)


def _tasks(missing: Missing) -> Iterator[tuple[int, Run]]:
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
