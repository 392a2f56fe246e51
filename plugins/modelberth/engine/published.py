"""What an upload leaves where a model has its publisher's own signature: what nobody can judge it without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.published import LARGEST_PUBLISHED, Published
from modelberth.engine.records import create_equal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.core.location import Location
    from modelberth.engine.stores import Store


def write_published(store: Store, location: Location, bundle: str, sha256: Mapping[str, str]) -> str | None:
    """Leave the bundle and the files' SHA-256 in the bucket, named by their digest; return that, None without a bundle.

    :param bundle: Where the bundle is among the files.
    :param sha256: Of every file, by its path; of none where there is no bundle.
    """
    place = next((place for place in location.files if place.path == bundle), None)
    if place is None:
        return None
    data = store.read(place.key, LARGEST_PUBLISHED) if place.size <= LARGEST_PUBLISHED else None
    document = Published(data, sha256).dump()
    digest = Digest.of(document)
    create_equal(store, store.url.key(layout.digests_key(location.revision.model, digest)), document)
    return str(digest)
