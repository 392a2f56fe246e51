"""How far back an upload looks for what need not be sent again."""

import pytest

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.location import Location, Place
from modelberth.core.revision import Revision
from modelberth.engine import earlier
from modelberth.engine.earlier import earlier_places, location_keys
from modelberth.engine.stores.file import FileStore


@pytest.fixture
def store(tmp_path):
    """A bucket with the locations of six uploads, u1 with a file of one byte to u6 with one of six."""
    store = FileStore(BucketUrl.parse(f"file://{tmp_path}"))
    for size in range(1, 7):
        revision = Revision("minilm", Digest(f"{size:064}"))
        key = layout.data_key(store.url, "minilm", f"u{size}", "w.bin")
        location = Location(revision, f"u{size}", (Place("w.bin", key, size, "AAAA"),), "crc64nvme")
        store.create(layout.location_key(store.url, "minilm", revision.digest, f"u{size}"), location.dump())
    return store


BOUNDS = {
    "all": (50, 10**6, {1, 2, 3, 4, 5, 6}),
    "the newest": (5, 10**6, {2, 3, 4, 5, 6}),
    "so many bytes of locations, but never fewer than bytes are taken from": (50, 0, {4, 5, 6}),
}


@pytest.mark.parametrize(("uploads", "read", "sizes"), BOUNDS.values(), ids=BOUNDS)
def test_the_sizes_of_many_uploads_are_known_whether_their_bytes_can_be_used_or_not(
    store, monkeypatch, uploads, read, sizes
):
    monkeypatch.setattr(earlier, "_SIZES_FROM", uploads)
    monkeypatch.setattr(earlier, "_SIZES_READ", read)
    found = earlier_places(store, "minilm", location_keys(store, "minilm"))
    assert (found.sizes, found.places) == (sizes, {})


def test_a_manifest_is_read_only_where_bytes_are_taken_from(store, monkeypatch):
    asked = []

    def none(_store, revision):
        asked.append(int(revision.digest.hex))
        raise Failure(ExitCode.NOT_FOUND, "none")

    monkeypatch.setattr(earlier, "read_manifest", none)
    earlier_places(store, "minilm", location_keys(store, "minilm"))
    assert asked == [6, 5, 4]
