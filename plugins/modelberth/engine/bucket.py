"""Reads what a bucket says of a revision: its manifest, and a location that answers."""

from __future__ import annotations

from posixpath import commonprefix
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Listed, Location, disagreements, lost
from modelberth.core.manifest import Manifest
from modelberth.core.refusing import LARGEST

if TYPE_CHECKING:
    from modelberth.core.revision import Revision
    from modelberth.engine.stores import Reader


def read_manifest(store: Reader, revision: Revision) -> Manifest:
    """Return the revision's manifest.

    :raises Failure: There is none, or another one lies in its place.
    """
    key = layout.manifest_key(store.url, revision.model, revision.digest)
    data = store.read(key, LARGEST)
    if data is None:
        raise Failure(
            ExitCode.NOT_FOUND,
            f"No revision {revision} in {str(store.url)!r}: upload the model, or correct the revision or the URL.",
        )
    if Digest.of(data) != revision.digest:
        raise Failure(
            ExitCode.MISMATCH,
            f"The manifest at {key!r} is not that of {revision}: expected {revision.digest}, got {Digest.of(data)}. "
            "Find out who wrote to the bucket, remove the object and upload again.",
        )
    return Manifest.parse(data)


def find_location(store: Reader, revision: Revision, manifest: Manifest, adopted: tuple[str, ...] = ()) -> Location:
    """Return a location all of whose objects are there as they were uploaded.

    :param adopted: Prefixes of keys that are allowed beside the model's data, when they are not owned.
    :raises Failure: There is none: what is missing or other than uploaded is named.
    """
    found: list[Failure] = []
    for key in _location_keys(store, revision):
        try:
            location = Location.parse(store.read(key, LARGEST) or b"")
            refuse_disagreement(store, location, revision, manifest, adopted)
            refuse_lost(store, location)
        except Failure as failure:
            found.append(failure)
        else:
            return location
    if not found:
        raise Failure(
            ExitCode.INCOMPLETE,
            f"Revision {revision} has no location in {str(store.url)!r} yet: wait for its upload, or upload it again.",
        )
    hopeful = [failure for failure in found if failure.code.worth_retrying]
    raise (hopeful or found)[0]


def _location_keys(store: Reader, revision: Revision) -> list[str]:
    """Return the keys of the revision's locations, the newest upload's first."""
    prefix = layout.locations_prefix(store.url, revision.model, revision.digest)
    return sorted((item.key for item in store.list(prefix)), reverse=True)


def refuse_disagreement(
    store: Reader, location: Location, revision: Revision, manifest: Manifest, adopted: tuple[str, ...] = ()
) -> None:
    """Refuse a location that does not fit its revision, or leads out of the model's data.

    :raises Failure: All that does not fit.
    """
    allowed = (layout.data_prefix(store.url, revision.model),)
    if problems := disagreements(location, revision, manifest, allowed, adopted):
        name = f"Location {location.upload!r} of {revision} was refused: "
        raise Failure(ExitCode.REFUSED, *(name + problem for problem in problems))


def refuse_lost(store: Reader, location: Location) -> None:
    """Refuse a location of which the bucket does not list every object as it was uploaded.

    :raises Failure: All that is missing, else all that is another object now.
    """
    missing, other = lost(location, listing(store, location))
    if missing:
        raise Failure(
            ExitCode.INCOMPLETE,
            *(
                f"Object {place.key!r} is missing from the bucket: run again later, or upload again."
                for place in missing
            ),
        )
    if other:
        raise Failure(
            ExitCode.MISMATCH,
            *(
                f"Object {place.key!r} is not the one that was uploaded: it was replaced or cut. "
                "Find out who wrote to the bucket, and upload again under another name."
                for place in other
            ),
        )


def listing(store: Reader, location: Location) -> dict[str, Listed]:
    """Return what the store lists of the location's objects, and of their neighbours."""
    above = commonprefix([place.key for place in location.files]).rpartition("/")[0]
    return {item.key: item.listed for item in store.list(f"{above}/" if above else "")}
