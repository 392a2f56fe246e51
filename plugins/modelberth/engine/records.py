"""What makes a revision usable: its manifest, which names the bytes, and a location, which says where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Location, lost
from modelberth.core.manifest import Manifest
from modelberth.core.refusing import LARGEST
from modelberth.engine.bucket import listing

if TYPE_CHECKING:
    from modelberth.engine.stores import Store


def write_down(store: Store, manifest: Manifest, location: Location) -> str:
    """Write the manifest, then the location; return the latter's key.

    :raises Failure: Something else is in their place, or no reader would accept them: nothing is written then.
    """
    model, digest = location.revision.model, manifest.digest
    named, placed = manifest.dump(), location.dump()
    Manifest.parse(named)
    Location.parse(placed)
    create_equal(store, layout.manifest_key(store.url, model, digest), named)
    key = layout.location_key(store.url, model, digest, location.upload)
    create_equal(store, key, placed)
    return key


def refuse_loss(store: Store, location: Location) -> None:
    """Look at the bucket once more before it is said that all is there.

    :raises Failure: It is not.
    """
    missing, other = lost(location, listing(store, location))
    if missing or other:
        raise Failure(
            ExitCode.INCOMPLETE,
            f"Object {(missing + other)[0].key!r} was sent but is not listed as sent: run the same again.",
        )


def create_equal(store: Store, key: str, data: bytes) -> None:
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
