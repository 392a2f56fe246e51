"""``modelberth upload``: a directory into a bucket, digested in the pass that sends it.

Files whose size an earlier upload knows are digested first, so that what did not change is not sent. Nothing is ever
overwritten; the manifest names the bytes once all are there; the location, which makes the revision usable, is last.
"""

from __future__ import annotations

import logging
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.choices import Sending, sending
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Location, Place, lost
from modelberth.core.manifest import LARGEST, Manifest
from modelberth.core.revision import Revision
from modelberth.engine.bucket import find_location, listing, read_manifest
from modelberth.engine.describe import Digesting, digest_files, refuse_changed
from modelberth.engine.earlier import earlier_places, location_keys
from modelberth.engine.outgoing import Outgoing, tasks
from modelberth.engine.progress import Progress
from modelberth.engine.scan import Scan, SourceFile, scan
from modelberth.engine.stores import Store, Stored, open_store
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelberth.core.layout import BucketUrl
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What an upload is asked for."""

    directory: Path
    url: BucketUrl
    model: str
    name: str
    follow_links: Path | None = None


def new_name() -> str:
    """Return a name for an upload that was not given one."""
    return f"{datetime.now(UTC).strftime('%Y%m%dt%H%M%Sz')}-{secrets.token_hex(5)}"


def upload(order: Order, stop: Stop) -> Result:
    """Bring a directory into a bucket and return its revision.

    :raises Failure: It could not be done; the revision is then not usable from this upload.
    """
    found = scan(order.directory, order.follow_links)
    run = _Upload(order, open_store(order.url, stop), found, stop)
    location = run.known_revision() or run.complete()
    return {
        "revision": str(location.revision),
        "upload": location.upload,
        "files": len(found.files),
        "bytes": sum(file.size for file in found.files),
        "bytes_uploaded": run.sent,
        "bytes_copied": run.copied,
        "location": layout.location_key(order.url, order.model, location.revision.digest, location.upload),
    }


class _Upload:
    """One run of an upload."""

    def __init__(self, order: Order, store: Store, found: Scan, stop: Stop) -> None:
        self._order = order
        self._store = store
        self._found = found
        self._stop = stop
        self.sent = 0
        self.copied = 0
        self._places: dict[str, Place] = {}
        self._lock = threading.Lock()
        self._there = {item.key: item for item in store.list(layout.data_prefix(order.url, order.model, order.name))}
        self._refuse_strangers()
        self._locations = location_keys(store, order.model)
        self._earlier = earlier_places(store, order.model, self._locations)
        self._digested = self._digest_known_sizes()

    def _refuse_strangers(self) -> None:
        """Refuse an upload's name under which there are files that this directory has not."""
        ours = {self._key(file.path) for file in self._found.files}
        if strangers := sorted(self._there.keys() - ours):
            raise self._used(strangers[0])

    def _used(self, key: str) -> Failure:
        return Failure(
            ExitCode.REFUSED,
            f"Upload name {self._order.name!r} was used for other bytes: object {key!r} is not what "
            f"{str(self._order.directory)!r} holds. Objects are never overwritten: upload under another name.",
        )

    def _key(self, path: str) -> str:
        return layout.data_key(self._order.url, self._order.model, self._order.name, path)

    def _digest_known_sizes(self) -> dict[str, Digesting]:
        """Digest the files that may be in the bucket already."""
        files = [
            file
            for file in self._found.files
            if not file.size or file.size in self._earlier.sizes or self._key(file.path) in self._there
        ]
        return {item.file.path: item for item in digest_files(files, self._stop, self._store.checksum)}

    def known_revision(self) -> Location | None:
        """Return where the directory's revision is already, if the bucket has it and it answers."""
        if len(self._digested) < len(self._found.files):
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
            return None
        log.info("Revision %s: already uploaded as %s.", revision, location.upload)
        return location

    def complete(self) -> Location:
        """Bring every file into the bucket, then the manifest, then the location."""
        if used := [key for key in self._locations if key.endswith(f"/{self._order.name}.json")]:
            raise self._used(used[0])
        self._store.abandon_unfinished(layout.data_prefix(self._order.url, self._order.model, self._order.name))
        self._settle_digested()
        remaining = [file for file in self._found.files if file.path not in self._places]
        self._send(remaining)
        refuse_changed(self._found.files)
        self._refuse_new_files()
        manifest = self._manifest()
        location = self._location(manifest)
        self._refuse_loss(location)
        self._write_down(manifest, location)
        return location

    def _settle_digested(self) -> None:
        """Keep, copy or refuse what was digested; what is left is sent."""

        def settle(item: Digesting) -> None:
            place = self._earlier.places.get(item.entry().chunks)
            there = self._stored_now(item.file.path)
            ours = (item.file.size, item.total())
            action = sending(ours, (there.size, there.checksum) if there else None, known=place is not None)
            if action is Sending.REFUSE:
                raise self._used(self._key(item.file.path))
            if action is Sending.KEEP and there:
                self._done(item.file, there, item.total())
            if action is Sending.COPY and place:
                self._copy(item, place)

        for_each(settle, self._digested.values(), self._stop, default_streams())

    def _stored_now(self, path: str) -> Stored | None:
        key = self._key(path)
        return self._store.head(key) if key in self._there else None

    def _copy(self, item: Digesting, place: Place) -> None:
        """Copy inside the bucket, if the source still is what its location says; else it is sent after all.

        :raises Failure: Something else came out: it has the key now, and objects are never overwritten.
        """
        ours, key = (item.file.size, item.total()), self._key(item.file.path)
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
        self._done(item.file, stored, stored.checksum)
        with self._lock:
            self.copied += stored.size

    def _done(self, file: SourceFile, stored: Stored, checksum: str) -> None:
        if stored.checksum != checksum:
            raise Failure(
                ExitCode.UNSUPPORTED,
                f"The store keeps no {self._store.checksum} of {stored.key!r} that agrees with what was sent: "
                f"expected {checksum}, got {stored.checksum or 'none'}. Use a store that checks what it is sent.",
            )
        with self._lock:
            self._places[file.path] = Place(file.path, stored.key, stored.size, checksum, stored.etag, stored.version)

    def _send(self, files: list[SourceFile]) -> None:
        """Send *files*, digesting them in the same pass."""
        there = (sum(place.size for place in self._places.values()), len(self._places))
        progress = Progress(self._order.model, "sent", {file.path: file.size for file in files}, there)
        begun: set[Outgoing] = set()

        def sendings() -> Iterator[Outgoing]:
            for file in files:
                item = Outgoing(self._store, file, self._key(file.path))
                begun.add(item)
                self._digested[file.path] = item.digesting
                yield item

        def send(task: tuple[Outgoing, list[int]]) -> None:
            item, numbers = task
            for number in numbers:
                self._stop.check()
                progress.add(item.digesting.file.path, item.send_part(number))
            if item.is_complete(len(numbers)):
                self._finish(item)
                begun.remove(item)

        try:
            with progress.shown():
                for_each(send, tasks(sendings(), parallel=self._store.parallel_parts), self._stop, default_streams())
        except BaseException:
            for item in tuple(begun):
                item.abandon()
            raise
        finally:
            self.sent = progress.done

    def _finish(self, item: Outgoing) -> None:
        refuse_changed([item.digesting.file])
        ours = (item.digesting.file.size, item.digesting.total())
        # "Exists already" is also the answer to a repeated request whose first answer was lost: look at what is there.
        stored = item.finish() or self._store.head(item.key)
        if stored is None or (stored.checksum and (stored.size, stored.checksum) != ours):
            raise self._used(item.key)
        self._done(item.digesting.file, stored, item.digesting.total())

    def _refuse_new_files(self) -> None:
        """Refuse a directory that got or lost files meanwhile."""
        now = scan(self._order.directory, self._order.follow_links)
        if now != self._found:
            raise Failure(
                ExitCode.CHANGED,
                f"Directory {str(self._order.directory)!r} changed while it was uploaded. The revision was not "
                "published: wait until the model is complete and run the same again.",
            )

    def _manifest(self) -> Manifest:
        return Manifest.of([item.entry() for item in self._digested.values()], self._found.empty_dirs)

    def _location(self, manifest: Manifest) -> Location:
        revision = Revision(self._order.model, manifest.digest)
        places = tuple(self._places[entry.path] for entry in manifest.files)
        return Location(revision, self._order.name, places, self._store.checksum)

    def _refuse_loss(self, location: Location) -> None:
        """Look at the bucket once more before it is said that all is there."""
        missing, other = lost(location, listing(self._store, location))
        if missing or other:
            raise Failure(
                ExitCode.INCOMPLETE,
                f"Object {(missing + other)[0].key!r} was sent but is not listed as sent: run the same again.",
            )

    def _write_down(self, manifest: Manifest, location: Location) -> None:
        url, model = self._order.url, self._order.model
        _create_equal(self._store, layout.manifest_key(url, model, manifest.digest), manifest.dump())
        key = layout.location_key(url, model, manifest.digest, self._order.name)
        _create_equal(self._store, key, location.dump())


def _create_equal(store: Store, key: str, data: bytes) -> None:
    """Write *data* unless it is there already.

    :raises Failure: Something else is there.
    """
    if store.create(key, data):
        return
    there = store.read(key, LARGEST)
    if there != data:
        raise Failure(
            ExitCode.REFUSED,
            f"Object {key!r} exists already with other bytes (digest {Digest.of(there or b'')}; expected "
            f"{Digest.of(data)}) and is never overwritten: upload under another name.",
        )
