"""Fills a staging directory with the chunks that it lacks: from other snapshots of the claim, else from the bucket."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from modelberth.core.choices import From
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import filesystem, linking, proof
from modelberth.engine.bucket import refuse_lost
from modelberth.engine.dealing import Dealing, Task
from modelberth.engine.hashing import chunk_hasher
from modelberth.engine.http import Answer
from modelberth.engine.pace import Pace
from modelberth.engine.progress import Progress
from modelberth.engine.reuse import Missing, Reuse, others
from modelberth.engine.transport import Again, Fill, Transport
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from modelberth.core.chunks import Run
    from modelberth.core.location import Location, Place
    from modelberth.core.manifest import Entry
    from modelberth.core.revision import Snapshot
    from modelberth.engine.linking import Whole
    from modelberth.engine.staging import Staging
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Reader
    from modelberth.engine.sync import Order
    from modelberth.engine.traits import Traits

log = logging.getLogger(__name__)


class Filling:
    """Brings what a staging directory lacks, and counts how it came.

    :param traits: What the claim's file system can do.
    """

    def __init__(
        self, store: Reader, location: Location, staging: Staging, order: Order, traits: Traits, stop: Stop
    ) -> None:
        self._store = store
        self._location = location
        self._places = {place.path: place for place in location.files}
        self._manifest = staging.manifest
        self._order = order
        self._staging = staging
        self._stop = stop
        self._transport = Transport(stop)
        self._hasher = chunk_hasher(staging.manifest.chunk_digest)
        self._streams = order.streams or default_streams()
        self._pace = Pace(order.rate, stop)
        self._buffers = proof.Buffers()
        self._block = traits.block
        self._progress = self._counted({})
        self.fetched = 0
        self.reflinked = 0
        self.linked = 0
        self.shares_with: set[Snapshot] = set()

    def all(self, missing: Missing) -> None:
        """Bring the chunks *missing* of each file.

        :raises Failure: It could not be done, or does not fit.
        """
        there = list(others(self._order.root, self._order.revision.model, self._manifest.chunk_digest))
        undamaged = [one for one in there if one.snapshot not in self._order.damaged] if self._order.hard_links else []
        whole = linking.whole_files(undamaged, self._manifest, missing)
        rest = {number: chunks for number, chunks in missing.items() if number not in whole}
        reuse = Reuse(there, self._staging, rest, self._block)
        linked = {number: one.entry.size for number, one in whole.items()}
        self._staging.refuse_too_little_space(reuse.shareable(), linked)
        self._fill(rest, reuse)
        self._link(whole, missing)

    def _fill(self, missing: Missing, reuse: Reuse) -> None:
        for number, chunks in missing.items():
            if not chunks:
                self._staging.create_empty(number)
        dealing = Dealing(missing, reuse.holds, self._streams)

        def bring(task: Task) -> None:
            began, side = time.monotonic(), self._brought(task, reuse)
            dealing.came(side, self._bytes(task), time.monotonic() - began)

        self._progress = self._counted(missing)
        with self._progress.shown():
            for_each(bring, dealing, self._stop, self._streams)
        self.fetched += self._progress.done
        self.reflinked += reuse.reflinked

    def _link(self, whole: dict[int, Whole], missing: Missing) -> None:
        """Link *whole* files, as the last step before publishing; bring those that cannot be linked as all others."""
        linked = linking.link(self._staging, whole, self._stop)
        self.linked = sum(whole[number].entry.size for number in linked)
        self.shares_with = {whole[number].published.snapshot for number in linked}
        if rest := {number: missing[number] for number in whole if number not in linked}:
            there = others(self._order.root, self._order.revision.model, self._manifest.chunk_digest)
            reuse = Reuse(there, self._staging, rest, self._block)
            self._staging.refuse_too_little_space(reuse.shareable(), {})
            self._fill(rest, reuse)

    def _counted(self, missing: Missing) -> Progress:
        entries = self._manifest.files
        wanted = {number: sum(entries[number].span(i).length for i in missing[number]) for number in missing}
        there = (self._manifest.size - sum(wanted.values()), len(entries) - len(missing))
        return Progress(str(self._order.revision), "fetched", wanted, there)

    def _bytes(self, task: Task) -> int:
        spans = (self._manifest.files[task.number].span(task.run.first + offset) for offset in range(task.run.count))
        return sum(span.length for span in spans)

    def _brought(self, task: Task, reuse: Reuse) -> From:
        """Bring chunks, and say where from in the end."""
        entry = self._manifest.files[task.number]
        with filesystem.told(f"write {entry.path!r}"):
            memory = self._buffers.at(entry.span(task.run.first).start)
            if task.side is From.CLAIM and reuse.take(task.number, task.run.first, memory):
                self._progress.reuse(task.number, self._bytes(task))
                return From.CLAIM
        self._run(task.number, task.run)
        return From.BUCKET

    def _write(self, number: int, index: int, view: memoryview) -> None:
        with filesystem.told(f"write {self._manifest.files[number].path!r}"):
            self._staging.write(number, index, view)

    def _run(self, number: int, run: Run) -> None:
        entry = self._manifest.files[number]
        place = self._places[entry.path]

        def sink(offset: int, fill: Fill) -> None:
            self._chunk(number, entry, run.first + offset, place, fill)

        spans = [entry.span(run.first + offset) for offset in range(run.count)]
        try:
            self._transport.bring(lambda: self._store.sign(place), spans, sink)
        except Failure as failure:
            if _may_mean_more(failure):
                refuse_lost(self._store, replace(self._location, files=(place,)))
            raise

    def _chunk(self, number: int, entry: Entry, index: int, place: Place, fill: Fill) -> None:
        """Receive a chunk and compare its digest before any of it reaches a file."""
        span, hasher = entry.span(index), self._hasher()
        view = self._buffers.at(span.start)[: span.length]
        self._pace.receive(fill, view, hasher.update)
        if hasher.digest() != entry.chunks[index]:
            raise Again(_mismatch(entry, index, place, hasher.digest()))
        self._write(number, index, view)
        self._progress.add(number, span.length)


def _may_mean_more(failure: Failure) -> bool:
    """Say whether only the bucket's list tells what the answer to a request for bytes means.

    | answer | may mean |
    |---|---|
    | 400 | on AWS an expired token; an answer to who lists names it |
    | 404, 410 | on GCS that the object was replaced: its earlier generation is gone |
    | any other, or none | what it says |
    """
    return isinstance(failure.__cause__, Answer) and failure.__cause__.status in (400, 404, 410)


def _mismatch(entry: Entry, index: int, place: Place, got: bytes) -> Failure:
    span = entry.span(index)
    return Failure(
        ExitCode.MISMATCH,
        f"Digest mismatch in {entry.path!r} chunk {index} ({span}) of object {place.key!r}: "
        f"expected {entry.chunks[index].hex()[:16]}..., got {got.hex()[:16]}.... The snapshot was not published. "
        "It came so three times: the object in the bucket is damaged, upload the model again.",
    )
