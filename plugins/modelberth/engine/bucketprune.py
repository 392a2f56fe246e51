"""``modelberth prune`` of a bucket: the bytes of revisions that are named; their manifests stay, and say what was.

::

    condemn     revisions/<64 hex>/condemned.json, create-only
    lift        that is removed
    delete      each location is copied to doomed/<upload>.json, then removed, in a request of its own: from then on
                nobody finds the objects; then the objects that no other location names; then doomed and the mark

Objects of a location that does not own them were there before, and stay. A run that was killed is gone on with by the
next that names the revision: what is left to do is what is doomed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelberth.core import canonical, layout, paths
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import LONGEST_KEY, Location
from modelberth.core.prune import MOMENT
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision
from modelberth.core.units import human
from modelberth.engine.steps import Steps, refuse_repeats, since_of
from modelberth.engine.stores import open_store
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Store

log = logging.getLogger(__name__)

_LARGEST_MARK = 4096


@dataclass(frozen=True, order=True, slots=True)
class Named:
    """A revision, and (or empty) since when it has to be condemned for what is asked for to be done."""

    revision: Revision
    since: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> Named:
        """Return the revision that *text* names.

        :raises ValueError: *text* is not ``<model>@sha256:<64 hex>``, or that with ``=<time>``.
        """
        name, since = since_of(text)
        return cls(Revision.parse(name), since)

    def __str__(self) -> str:
        return str(self.revision)


@dataclass(frozen=True)
class Order:
    """What is asked for; one revision may be in one of the lists only."""

    url: BucketUrl
    condemn: tuple[Named, ...] = ()
    lift: tuple[Named, ...] = ()
    delete: tuple[Named, ...] = ()


def prune_bucket(order: Order, stop: Stop) -> Result:
    """Do what is asked for, in the order lift, condemn, delete.

    :raises Failure: All that could not be done; ``facts`` is what was.
    """
    refuse_repeats("Revision", [*order.condemn, *order.lift, *order.delete])
    run, steps = _Run(open_store(order.url, stop), stop), Steps(("condemn", "lift", "delete"), stop)
    steps.each("lift", order.lift, run.lift)
    steps.each("condemn", order.condemn, run.condemn)
    steps.each("delete", order.delete, run.delete)
    return steps.result(run.freed)


@dataclass
class _Run:
    """One run, and what it did."""

    store: Store
    stop: Stop
    freed: int = 0

    def condemn(self, one: Named) -> bool:
        """Mark a revision; say whether it has bytes. One that is marked already keeps its time."""
        if not self._locations(one.revision):
            return False
        if not condemned_since(self.store, one.revision):
            mark = self._mark(one.revision)
            at = datetime.now(UTC).strftime(MOMENT)
            self.store.delete(mark)  # one that tells no time
            self.store.create(mark, canonical.dump({"schema": 1, "revision": str(one.revision), "at": at}))
        return True

    def lift(self, one: Named) -> bool:
        """Take the mark off; say whether the revision has bytes."""
        self.store.delete(self._mark(one.revision))
        return bool(self._locations(one.revision))

    def delete(self, one: Named) -> bool:
        """Remove the revision's bytes; say whether there were any."""
        revision, since = one.revision, condemned_since(self.store, one.revision)
        locations, doomed = self._locations(revision), self._doomed(revision)
        if locations and (since is None or (one.since and since != one.since)):
            raise _not_condemned(one)
        for key in locations:
            self._doom(revision, key)
        for key in (*doomed, *(key for key in self._doomed(revision) if key not in doomed)):
            self._remove(revision, key)
        self.store.delete(self._mark(revision))
        return bool(locations or doomed)

    def _doom(self, revision: Revision, key: str) -> None:
        """Take a location away: nobody finds its objects from then on, but who looks for what is doomed."""
        data = self.store.read(key, LARGEST)
        if data is None:
            return
        location = Location.parse(data)
        name = layout.doomed_prefix(self.store.url, revision.model, revision.digest) + key.rpartition("/")[2]
        if location.revision != revision:
            raise Failure(ExitCode.REFUSED, f"Location {key!r} is of {location.revision}: nothing of it was deleted.")
        self.store.create(name, data)
        self.store.delete(key)

    def _remove(self, revision: Revision, key: str) -> None:
        """Remove the objects of what is doomed, if they are ours and nobody else's, and then the note of it."""
        data = self.store.read(key, LARGEST)
        if data is not None:
            places = self._ours(Location.parse(data), revision)
            for_each(lambda place: self.store.delete(place.key), places, self.stop, default_streams())
            freed = sum(place.size for place in places)
            self.freed += freed
            log.info("Revision %s: %d objects deleted, %s.", revision, len(places), human(freed))
        self.store.delete(key)

    def _ours(self, location: Location, revision: Revision) -> list[Place]:
        """Return the objects that the location's upload brought and no location of any revision names."""
        above = layout.data_prefix(self.store.url, revision.model, location.upload)
        if not location.owned:
            return []
        named = {place.key for other in self._all_locations(revision.model) for place in other.files}
        mine = [place for place in location.files if place.key.startswith(above) and place.key not in named]
        return [place for place in mine if not paths.refusal(place.key, LONGEST_KEY)]  # '..' leads out of a directory

    def _all_locations(self, model: str) -> list[Location]:
        prefix = layout.revisions_prefix(self.store.url, model)
        keys = [item.key for item in self.store.list(prefix) if "/locations/" in item.key]
        read = (self.store.read(key, LARGEST) for key in keys)
        return [Location.parse(data) for data in read if data is not None]

    def _locations(self, revision: Revision) -> list[str]:
        prefix = layout.locations_prefix(self.store.url, revision.model, revision.digest)
        return sorted(item.key for item in self.store.list(prefix))

    def _doomed(self, revision: Revision) -> list[str]:
        prefix = layout.doomed_prefix(self.store.url, revision.model, revision.digest)
        return sorted(item.key for item in self.store.list(prefix))

    def _mark(self, revision: Revision) -> str:
        return layout.condemned_key(self.store.url, revision.model, revision.digest)


def _not_condemned(one: Named) -> Failure:
    since = f" since {one.since}" if one.since else ""
    return Failure(
        ExitCode.REFUSED,
        f"Revision {one} is not condemned{since}: nothing of it was deleted. Condemn it first, and delete it when it "
        f"was not used for a while: modelberth prune BUCKET_URL --condemn {one}",
    )


def condemned_since(store: Store, revision: Revision) -> str | None:
    """Return since when *revision* is condemned, empty if nobody knows; None if it is not."""
    data = store.read(layout.condemned_key(store.url, revision.model, revision.digest), _LARGEST_MARK)
    if data is None:
        return None
    try:
        document = canonical.load(data)
        at = str(document["at"])
        right = document == {"schema": 1, "revision": str(revision), "at": at} and datetime.strptime(at, MOMENT)  # noqa: DTZ007 - it ends in Z
    except (ValueError, TypeError, LookupError):
        return ""
    return at if right else ""


def lift_mark(store: Store, revision: Revision) -> None:
    """Take the mark off a revision that an upload has just found in the bucket, or brought: a release will use it."""
    if condemned_since(store, revision) is not None:
        store.delete(layout.condemned_key(store.url, revision.model, revision.digest))
        log.info("Revision %s: it was condemned, and is not any more.", revision)


def list_bucket(url: BucketUrl, model: str | None, stop: Stop) -> Result:
    """Return the revisions of a bucket that have bytes there, and what is condemned or half removed.

    :param model: Only of this one; None for all, which lists the models' data as well and takes longer.
    :raises Failure: The bucket does not answer.
    """
    store = open_store(url, stop)
    found: dict[Revision, dict[str, list[str]]] = {}
    start = url.key("")
    for item in store.list(layout.revisions_prefix(url, model) if model else start):
        revision, kind = _about(item.key.removeprefix(start))
        if revision:
            found.setdefault(revision, {}).setdefault(kind, []).append(item.key)
    return {"revisions": [_row(store, revision, keys) for revision, keys in sorted(found.items())]}


def _about(key: str) -> tuple[Revision | None, str]:
    """Return which revision an object is about, and as what: ``locations``, ``doomed``."""
    parts = key.split("/")
    if len(parts) == 5 and parts[1] == "revisions" and parts[3] in ("locations", "doomed"):
        try:
            return Revision(parts[0], Digest(parts[2])), parts[3]
        except ValueError:
            return None, ""
    return None, ""


def _row(store: Store, revision: Revision, keys: dict[str, list[str]]) -> dict[str, object]:
    row: dict[str, object] = {
        "model": revision.model,
        "revision": str(revision),
        "uploads": [key.rpartition("/")[2].removesuffix(".json") for key in sorted(keys.get("locations", ()))],
        "state": "ready" if "locations" in keys else "doomed",
    }
    since = condemned_since(store, revision)
    return row if since is None else row | {"condemned": since or None}
