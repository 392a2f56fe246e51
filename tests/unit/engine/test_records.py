"""What is written of a revision is what its readers accept."""

import pytest

from modelberth.core import manifest as manifests
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.location import Location, Place
from modelberth.core.manifest import Entry, Manifest, refuse_excess
from modelberth.core.revision import Revision
from modelberth.engine.records import write_down
from modelberth.engine.stores.file import FileStore


@pytest.fixture
def store(tmp_path):
    (tmp_path / "bucket").mkdir()
    return FileStore(BucketUrl.parse(f"file://{tmp_path}/bucket"))


def described(paths, checksum="crc64nvme"):
    manifest = Manifest.of([Entry(path, 1, (bytes(32),)) for path in paths], [])
    places = tuple(Place(path, f"models/m/data/u1/{path}", 1, "c") for path in sorted(paths))
    return manifest, Location(Revision("m", manifest.digest), "u1", places, checksum)


def test_what_a_reader_accepts_is_written(store):
    write_down(store, *described(["a", "b"]))
    assert len(list(store.list(""))) == 2


@pytest.mark.parametrize(
    ("paths", "checksum", "problem"),
    [
        (["{" * 200, "}" * 200], "crc64nvme", "The manifest was refused: It has over"),
        (["a"], "md5", "The location was refused: Its checksum"),
    ],
    ids=["manifest", "location"],
)
def test_what_no_reader_accepts_is_refused_before_anything_is_written(store, monkeypatch, paths, checksum, problem):
    monkeypatch.setattr(manifests, "MOST_FILES", 100)
    with pytest.raises(Failure, match=problem) as raised:
        write_down(store, *described(paths, checksum))
    assert raised.value.code is ExitCode.REFUSED
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ([0] * 200_001, "It has 200001 files; at most 200000"),
        ([], "It has no file"),
        ([500_000 * 8 * 2**20, 1], "It has 500001 chunks; at most 500000"),
    ],
    ids=["files", "none", "chunks"],
)
def test_files_that_no_manifest_may_name_are_refused_by_their_sizes(sizes, problem):
    with pytest.raises(Failure, match=problem):
        refuse_excess(sizes)


def test_as_many_files_and_chunks_as_a_manifest_may_name_are_not_refused():
    refuse_excess([1] * 199_999 + [300_001 * 8 * 2**20])
