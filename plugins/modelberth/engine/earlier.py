"""What earlier uploads of a model hold: bytes that need not be sent again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.failure import Failure
from modelberth.core.location import Location, Place
from modelberth.core.manifest import LARGEST, Entry
from modelberth.engine.bucket import read_manifest, refuse_disagreement

if TYPE_CHECKING:
    from modelberth.engine.stores import Reader

log = logging.getLogger(__name__)

_LOOKED_AT = 3
"""How many earlier uploads: a fourth would cost a manifest more for bytes that are seldom still the same."""


@dataclass(frozen=True)
class Earlier:
    """What earlier uploads of the model hold."""

    places: dict[tuple[bytes, ...], Place] = field(default_factory=dict)
    sizes: frozenset[int] = frozenset()


def location_keys(store: Reader, model: str) -> list[str]:
    """Return the keys of all locations of the model, the newest upload's first."""
    keys = [item.key for item in store.list(layout.revisions_prefix(store.url, model)) if "/locations/" in item.key]
    return sorted(keys, key=lambda key: key.rpartition("/")[2], reverse=True)


def earlier_places(store: Reader, model: str, keys: list[str]) -> Earlier:
    """Return what the newest revisions of the model hold, for the bytes that need not be sent again."""
    places: dict[tuple[bytes, ...], Place] = {}
    sizes: set[int] = set()
    for key in keys[:_LOOKED_AT]:
        try:
            location = Location.parse(store.read(key, LARGEST) or b"")
            sizes |= {place.size for place in location.files}  # files are digested for known_revision even if ...
            places |= _held(store, model, location)  # ... this is refused
        except Failure as failure:
            log.warning("Location %s: not used: %s", key, failure)
    return Earlier(places, frozenset(sizes))


def _held(store: Reader, model: str, location: Location) -> dict[tuple[bytes, ...], Place]:
    """Return a location's places by their chunks.

    :raises Failure: It cannot be used: its keys may lead anywhere in the bucket.
    """
    if location.revision.model != model:
        return {}
    manifest = read_manifest(store, location.revision)
    refuse_disagreement(store, location, location.revision, manifest)
    places = {place.path: place for place in location.files}
    return {entry.chunks: places[entry.path] for entry in manifest.files if _is_held(entry, places)}


def _is_held(entry: Entry, places: dict[str, Place]) -> bool:
    return bool(entry.size) and entry.path in places and places[entry.path].size == entry.size
