"""One run of an upload: what of the source is there already, what is copied, what is sent, and what names it all."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.choices import Sending, may_be_there, sending
from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Location, Place
from modelberth.core.manifest import Manifest
from modelberth.core.revision import Revision
from modelberth.engine.bucket import find_location, read_manifest
from modelberth.engine.describe import Digested, digest_files
from modelberth.engine.earlier import earlier_places, location_keys
from modelberth.engine.outgoing import Delta, Outgoing, Whole
from modelberth.engine.pace import Pace
from modelberth.engine.records import refuse_loss, write_down
from modelberth.engine.sending import Sender
from modelberth.engine.workers import for_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.engine.source import File, Source
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Store, Stored
    from modelberth.engine.upload import Order

log = logging.getLogger(__name__)


class UploadRun:
    """One run of an upload.

    :param bytes: How many were ``sent`` and ``copied``.
    """

    def __init__(self, order: Order, store: Store, source: Source, stop: Stop) -> None:
        self._order = order
        self._store = store
        self._source = source
        self._stop = stop
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}
        self._digested: dict[str, Digested] = {}
        self._sha256 = order.publisher_signature in {file.path for file in source.files}
        self.bytes: Counter[str] = Counter()
        self._data = layout.data_prefix(order.url, order.model, order.name)
        self._there = {item.key: item for item in store.list(self._data)}
        self._refuse_strangers()
        self._locations = location_keys(store, order.model)
        self._earlier = earlier_places(store, order.model, self._locations)
        self._sender = self._new_sender()
        self._digest_what_may_be_there()

    def _new_sender(self) -> Sender:
        order, unfinished = self._order, {item.key: item for item in self._store.unfinished(self._data)}
        subject, pace = f"{order.model} upload {order.name}", Pace(order.rate, self._stop)
        return Sender(subject, self._store, self._stop, pace, unfinished, order.streams)

    def _refuse_strangers(self) -> None:
        """Refuse an upload's name under which there are files that the source has not."""
        ours = {self._key(file.path) for file in self._source.files}
        if strangers := sorted(self._there.keys() - ours):
            raise self._used(strangers[0])

    def _used(self, key: str) -> Failure:
        return Failure(
            ExitCode.REFUSED,
            f"Upload name {self._order.name!r} was used for other bytes: object {key!r} is not what "
            f"{self._source.name!r} holds. Objects are never overwritten: upload under another name.",
        )

    def _key(self, path: str) -> str:
        return layout.data_key(self._order.url, self._order.model, self._order.name, path)

    def _digest_what_may_be_there(self) -> None:
        files = [file for file in self._source.files if self._may_be_there(file)]
        cheap = all(file.cheap for file in files)
        threads = None if cheap else self._sender.threads(CHUNK_SIZE)
        sender, checksum = self._sender, self._store.checksum
        found = digest_files(sender.subject, files, self._stop, checksum, threads, sender.pace, sha256=self._sha256)
        self._digested = {item.file.path: item for item in found}

    def _may_be_there(self, file: File) -> bool:
        return may_be_there(
            file.size,
            ours=self._key(file.path) in self._there,
            same_size=file.size in self._earlier.sizes,
            same_path=file.path in self._earlier.paths,
            ranges=self._store.copies_ranges and bool(self._earlier.objects),
            cheap=file.cheap,
        )

    def known_revision(self) -> Location | None:
        """Return where the source's revision is already, if the bucket has it and it answers.

        :raises Failure: It cannot be told, or what this very upload brought there is not all there: under its name
            nothing else can be sent.
        """
        if len(self._digested) < len(self._source.files):
            return None
        manifest = self._manifest()
        revision = Revision(self._order.model, manifest.digest)
        try:
            read_manifest(self._store, revision)
        except Failure as failure:
            if failure.code is ExitCode.NOT_FOUND:
                return None
            raise  # another one in its place would refuse the revision at the end, after all bytes were sent
        try:
            location = find_location(self._store, revision, manifest)
        except Failure as failure:
            if failure.code in (ExitCode.DENIED, ExitCode.UNREACHABLE):
                raise
            if failure.code in (ExitCode.INCOMPLETE, ExitCode.STALLED) and self._own_location(revision):
                raise
            return None
        log.info("Revision %s: already uploaded as %s.", revision, location.upload)
        return location

    def _own_location(self, revision: Revision) -> bool:
        """Say whether an earlier run of this upload was complete."""
        order = self._order
        return layout.location_key(order.url, order.model, revision.digest, order.name) in self._locations

    @property
    def sha256(self) -> dict[str, str]:
        """The SHA-256 of every file by its path; empty where nobody asked for them."""
        return {path: item.sha256 for path, item in self._digested.items() if item.sha256}

    def complete(self) -> Location:
        """Bring every file into the bucket, then the manifest, then the location."""
        if used := [key for key in self._locations if key.endswith(f"/{self._order.name}.json")]:
            raise self._used(used[0])
        for_each(self._settle, self._digested.values(), self._stop, self._sender.threads(CHUNK_SIZE))
        self._send([file for file in self._source.files if file.path not in self._places])
        self._source.refuse_changed()
        manifest = self._manifest()
        location = self._location(manifest)
        refuse_loss(self._store, location)
        for unfinished in self._store.unfinished(self._data):
            self._store.abandon(unfinished)  # all objects are there: nobody goes on with these
        write_down(self._store, manifest, location)
        return location

    def _settle(self, item: Digested) -> None:
        """Keep, copy or refuse what was digested; what is left is sent."""
        place = self._earlier.places.get(item.entry.chunks)
        there = self._stored_now(item.file.path)
        ours = (item.file.size, item.checksum)
        action = sending(ours, (there.size, there.checksum) if there else None, known=place is not None)
        if action is Sending.REFUSE:
            raise self._used(self._key(item.file.path))
        if action is Sending.KEEP and there:
            self._done(item, there)
        if action is Sending.COPY and place:
            self._copy(item, place)

    def _stored_now(self, path: str) -> Stored | None:
        key = self._key(path)
        return self._store.head(key) if key in self._there else None

    def _copy(self, item: Digested, place: Place) -> None:
        """Copy inside the bucket, if the source still is what its location says; else it is sent after all.

        :raises Failure: Something else came out: it has the key now, and objects are never overwritten.
        """
        ours, key = (item.file.size, item.checksum), self._key(item.file.path)
        source = self._store.head(place.key)
        if source is None or (source.size, source.checksum) != ours:
            log.warning("Object %s: not copied: it is not what its location says.", place.key)
            return
        stored = self._store.copy(place, key) or self._store.head(key)
        if stored is None:
            return
        if (stored.size, stored.checksum) != ours:
            raise Failure(
                ExitCode.MISMATCH,
                f"Object {key!r} should be a copy of {place.key!r} but is other: expected {ours[0]} bytes with "
                f"checksum {ours[1]}, got {stored.size} with {stored.checksum or 'none'}. Objects are never "
                "overwritten: find out who else writes to the bucket, and upload under another name.",
            )
        self._done(item, stored)
        with self._lock:
            self.bytes["copied"] += stored.size

    def _done(self, item: Digested, stored: Stored) -> None:
        if stored.checksum != item.checksum:
            raise Failure(
                ExitCode.UNSUPPORTED,
                f"The store keeps no {self._store.checksum} of {stored.key!r} that agrees with what was sent: "
                f"expected {item.checksum}, got {stored.checksum or 'none'}. Use a store that checks what it is sent.",
            )
        path, checksum = item.file.path, item.checksum
        with self._lock:
            self._places[path] = Place(path, stored.key, stored.size, checksum, stored.etag, stored.version)
            self._digested[path] = item

    def _send(self, files: Sequence[File]) -> None:
        """Send *files*, of those that the bucket holds in part only what it lacks; if it does not join that, all."""
        run = self._sender.send(map(self._outgoing, files), _sizes(files), self._finished)
        self.bytes += run.bytes
        if run.unjoined:
            log.warning("The store does not make objects of parts that it has: %d are sent whole.", len(run.unjoined))
            again = [item.file for item in run.unjoined]
            sender = replace(self._sender, unfinished={})
            self.bytes += sender.send(map(self._whole, again), _sizes(again), self._finished).bytes

    def _outgoing(self, file: File) -> Outgoing:
        """Return a file on its way; one that can be read only as a whole is sent as a whole."""
        digested = self._digested.get(file.path)
        if digested and not file.in_order and self._store.copies_ranges:
            delta = Delta(digested, self._key(file.path), self._earlier, self._store.checksum)
            if delta.worthwhile:
                return delta
        return self._whole(file)

    def _whole(self, file: File) -> Outgoing:
        return Whole(file, self._key(file.path), self._store.checksum, sha256=self._sha256)

    def _finished(self, item: Outgoing, digested: Digested, stored: Stored | None) -> None:
        # "Exists already" is also the answer to a repeated request whose first answer was lost: look at what is there.
        stored = stored or self._store.head(item.key)
        if stored is None:
            raise Failure(ExitCode.UNREACHABLE, f"Object {item.key!r} was sent, but is not there: run the same again.")
        if stored.checksum and (stored.size, stored.checksum) != (item.file.size, digested.checksum):
            raise self._used(item.key)
        self._done(digested, stored)

    def _manifest(self) -> Manifest:
        return Manifest.of([item.entry for item in self._digested.values()], list(self._source.empty_dirs))

    def _location(self, manifest: Manifest) -> Location:
        revision = Revision(self._order.model, manifest.digest)
        places = tuple(self._places[entry.path] for entry in manifest.files)
        return Location(revision, self._order.name, places, self._store.checksum)


def _sizes(files: Sequence[File]) -> dict[str, int]:
    return {file.path: file.size for file in files}
