"""``modelberth adopt``: objects that are in a bucket already become a revision, by one reading and without a copy.

Each object is pinned by its version or generation where there is one, else by its ETag, before it is read; and the
prefix is listed again at the end, so that what came, went or changed meanwhile is found.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import layout, paths
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Location, Place, adopted_as
from modelberth.core.manifest import Manifest, refuse_excess
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision
from modelberth.engine.bucket import read_manifest
from modelberth.engine.bucketprune import lift_mark
from modelberth.engine.describe import Digested, digest_files
from modelberth.engine.earlier import location_keys
from modelberth.engine.pace import Pace
from modelberth.engine.records import write_down
from modelberth.engine.remote import RemoteFile
from modelberth.engine.stores import Store, Stored, open_store
from modelberth.engine.transport import Transport
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.core.layout import BucketUrl
    from modelberth.engine.http import Get
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What is to be adopted.

    :param prefix: Where the objects are, in the bucket of *url*.
    :param streams: How many requests at once, 0 for as many as suit this machine.
    :param rate: Bytes a second at most, None for no limit.
    """

    prefix: BucketUrl
    url: BucketUrl
    model: str
    name: str
    streams: int = 0
    rate: int | None = None


def adopt(order: Order, stop: Stop) -> Result:
    """Make a revision of what is under a prefix, and return it.

    :raises Failure: It could not be done; nothing was written.
    """
    above = layout.key_prefix(order.url, order.prefix)
    _refuse_own_place(order, above)
    store = open_store(order.url, stop)
    run = _Adoption(order, above, store, stop)
    location = run.known() or run.complete()
    lift_mark(store, location.revision)
    return {
        "revision": str(location.revision),
        "upload": location.upload,
        "files": len(location.files),
        "bytes": sum(place.size for place in location.files),
        "bytes_read": run.read,
        "location": layout.location_key(order.url, order.model, location.revision.digest, location.upload),
    }


def _refuse_own_place(order: Order, above: str) -> None:
    """Refuse a prefix under which the revision itself would be written: it would change with it."""
    if layout.revisions_prefix(order.url, order.model).startswith(above):
        raise Failure(
            ExitCode.REFUSED,
            f"Prefix {str(order.prefix)!r} holds the place where revisions of {order.model!r} are written: give the "
            "prefix of the model's files alone.",
        )


class _Adoption:
    """One run of an adoption.

    :param read: How many bytes were read.
    """

    def __init__(self, order: Order, above: str, store: Store, stop: Stop) -> None:
        self._order = order
        self._above = above
        self._store = store
        self._stop = stop
        self._streams = order.streams or default_streams()
        self._listed = self._list()
        self._files, self._empty_dirs = self._sorted()
        self.read = 0

    def _list(self) -> dict[str, Stored]:
        found = {item.key.removeprefix(self._above): item for item in self._store.list(self._above)}
        found.pop("", None)  # the marker of the prefix itself
        return found

    def _sorted(self) -> tuple[dict[str, Stored], list[str]]:
        """Return files by path, and the directories that hold nothing.

        :raises Failure: There is none, or something is there that no claim could hold; all of it is named.
        """
        markers = {
            path.removesuffix("/") for path, item in self._listed.items() if path.endswith("/") and not item.size
        }
        files = {path: item for path, item in self._listed.items() if not path.endswith("/") or item.size}
        above = {parent for path in (*files, *markers) for parent in paths.parents(path)}
        empty = sorted(markers - above)
        problems = [f"Key {self._above + path!r} {why}." for path in (*files, *empty) if (why := paths.refusal(path))]
        problems += paths.clashes(files, empty) if not problems else []
        if problems:
            raise Failure(ExitCode.REFUSED, *(f"Under {str(self._order.prefix)!r}: {text}" for text in problems))
        if not files:
            raise Failure(
                ExitCode.NOT_FOUND, f"No object under {str(self._order.prefix)!r}: there is no model to adopt."
            )
        refuse_excess([item.size for item in files.values()])
        return files, empty

    def known(self) -> Location | None:
        """Return the location that an earlier run wrote of just these objects, as they are now.

        :raises Failure: The name was used for others.
        """
        for key in location_keys(self._store, self._order.model):
            try:
                location = Location.parse(self._store.read(key, LARGEST) or b"")
            except Failure as failure:
                log.warning("Location %s: not used: %s", key, failure)
                continue
            listed = {item.key: item.listed for item in self._files.values()}
            if adopted_as(location, listed) and self._has(location):
                log.info("Revision %s: already adopted as %s.", location.revision, location.upload)
                return location
            if location.upload == self._order.name:
                raise Failure(
                    ExitCode.REFUSED,
                    f"Upload name {self._order.name!r} was used for other objects (location {key!r}): adopt under "
                    "another name.",
                )
        return None

    def _has(self, location: Location) -> bool:
        """Whether a location's manifest is there, and names the directories that are here.

        :raises Failure: Another one lies in its place.
        """
        try:
            manifest = read_manifest(self._store, Revision(self._order.model, location.revision.digest))
        except Failure as failure:
            if failure.code is ExitCode.NOT_FOUND:
                return False
            raise
        return list(manifest.empty_dirs) == self._empty_dirs

    def complete(self) -> Location:
        """Pin, read and look again; then write manifest and location."""
        places = self._pinned()
        digested = self._digested(places)
        self._refuse_other_checksums(digested, places)
        self._refuse_changed()
        manifest = Manifest.of([item.entry for item in digested.values()], self._empty_dirs)
        revision = Revision(self._order.model, manifest.digest)
        settled = tuple(_settled(places[entry.path], digested[entry.path]) for entry in manifest.files)
        location = Location(revision, self._order.name, settled, self._store.checksum, owned=False)
        write_down(self._store, manifest, location)
        return location

    def _pinned(self) -> dict[str, Place]:
        """Return each object with what pins it, if it still is the one that was listed.

        :raises Failure: One is not.
        """
        places: dict[str, Place] = {}

        def pin(path: str) -> None:
            listed, now = self._files[path], self._store.head(self._files[path].key)
            if now is None or _differs(listed, now):
                raise _changed([listed.key])
            places[path] = Place(path, now.key, now.size, now.checksum, now.etag, now.version)

        for_each(pin, self._files, self._stop, self._streams)
        return places

    def _digested(self, places: Mapping[str, Place]) -> dict[str, Digested]:
        transport, pace = Transport(self._stop), Pace(self._order.rate, self._stop)
        files = [
            RemoteFile(path, place.size, _Pinned(self._store, place), transport)
            for path, place in sorted(places.items())
        ]
        subject = f"{self._order.model} adopt {self._order.name}"
        found = digest_files(subject, files, self._stop, self._store.checksum, self._streams, pace)
        self.read = sum(file.size for file in files)
        return {item.file.path: item for item in found}

    def _refuse_other_checksums(self, digested: Mapping[str, Digested], places: Mapping[str, Place]) -> None:
        """Refuse objects whose bytes are not those that the store took in.

        :raises Failure: All of them.
        """
        problems = [
            f"Object {places[path].key!r} is damaged in the bucket: its {self._store.checksum} is "
            f"{places[path].checksum}, that of the bytes read {item.checksum}. Bring it there again."
            for path, item in sorted(digested.items())
            if places[path].checksum not in ("", item.checksum)
        ]
        if problems:
            raise Failure(ExitCode.MISMATCH, *problems)

    def _refuse_changed(self) -> None:
        """List once more.

        :raises Failure: An object came, went or changed since the first listing.
        """
        now = self._list()
        if other := {path for path, _ in now.items() ^ self._listed.items()}:
            raise _changed([self._above + path for path in sorted(other)])


class _Pinned:
    """Where an object's bytes come from."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place

    def get(self, *, anew: bool) -> Get:  # noqa: ARG002 - each is signed anew
        """Return a request that fails when the object was replaced."""
        return self._store.sign(self._place)


def _differs(listed: Stored, now: Stored) -> bool:
    """Say whether an object is another one now; what a listing does not say cannot differ."""
    pairs = zip(listed.listed, now.listed, strict=True)
    return any(one != other for one, other in pairs if one != "" and other != "")


def _settled(place: Place, item: Digested) -> Place:
    return Place(place.path, place.key, place.size, item.checksum, place.etag, place.version)


def _changed(keys: list[str]) -> Failure:
    return Failure(
        ExitCode.CHANGED,
        *(
            f"Object {key!r} came, went or changed while it was adopted. Nothing was written: wait until the model is "
            "complete and run the same again."
            for key in keys
        ),
    )
