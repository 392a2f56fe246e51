"""What earlier uploads of a model hold: bytes that need not be sent again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.failure import Failure
from modelberth.core.location import Location, Place
from modelberth.core.parts import Held, Spot
from modelberth.core.refusing import LARGEST
from modelberth.engine.bucket import read_manifest, refuse_disagreement

if TYPE_CHECKING:
    from modelberth.core.manifest import Entry
    from modelberth.engine.stores import Reader

log = logging.getLogger(__name__)

_BYTES_FROM = 3
"""How many earlier uploads bytes are taken from: a fourth costs a manifest more for bytes that are seldom the same."""

_SIZES_FROM = 50
_SIZES_READ = 32 * 1024 * 1024
"""How many earlier uploads, and bytes of their locations, are looked at for sizes: to find a revision again."""


@dataclass
class Earlier:
    """What earlier uploads of the model hold.

    :param places: Objects by all their chunks.
    :param objects: Objects by their keys.
    :param sizes: Of all files, those of locations that are not used and of many older ones as well.
    """

    places: dict[tuple[bytes, ...], Place] = field(default_factory=dict)
    objects: dict[str, Place] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    held: Held = field(default_factory=lambda: Held({}, {}))

    def add(self, entry: Entry, place: Place) -> None:
        """Take in one object."""
        self.places[entry.chunks] = self.objects[place.key] = place
        self.paths.add(entry.path)
        for number, digest in enumerate(entry.chunks):
            spot = Spot(place.key, entry.span(number).start)
            self.held.digests[spot] = digest
            self.held.spots.setdefault(digest, spot)


def location_keys(store: Reader, model: str) -> list[str]:
    """Return the keys of all locations of the model, the newest upload's first."""
    keys = [item.key for item in store.list(layout.revisions_prefix(store.url, model)) if "/locations/" in item.key]
    return sorted(keys, key=lambda key: key.rpartition("/")[2], reverse=True)


def earlier_places(store: Reader, model: str, keys: list[str]) -> Earlier:
    """Return what the newest uploads of the model hold, for the bytes that need not be sent again."""
    earlier, read = Earlier(), 0
    for number, key in enumerate(keys[:_SIZES_FROM]):
        if number >= _BYTES_FROM and read > _SIZES_READ:
            break
        try:
            data = store.read(key, LARGEST) or b""
            read += len(data)
            location = Location.parse(data)
            earlier.sizes |= {place.size for place in location.files}  # files are digested for known_revision even ...
            if number < _BYTES_FROM:
                _take(store, model, location, earlier)  # ... if this is refused
        except Failure as failure:
            log.warning("Location %s: not used: %s", key, failure)
    return earlier


def _take(store: Reader, model: str, location: Location, earlier: Earlier) -> None:
    """Take in what a location holds; adopted objects are not ours and may go at any time.

    :raises Failure: It cannot be used: its keys may lead anywhere in the bucket.
    """
    if location.revision.model != model or not location.owned:
        return
    manifest = read_manifest(store, location.revision)
    refuse_disagreement(store, location, location.revision, manifest)
    places = {place.path: place for place in location.files}
    for entry in manifest.files:
        if _is_held(entry, places):
            earlier.add(entry, places[entry.path])


def _is_held(entry: Entry, places: dict[str, Place]) -> bool:
    return bool(entry.size) and entry.path in places and places[entry.path].size == entry.size
