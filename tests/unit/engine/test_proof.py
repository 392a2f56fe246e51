"""What a second reading of a snapshot must not take for proven."""

import pytest
from blake3 import blake3

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.ready import Ready
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine import filesystem, proof
from modelberth.engine.claim import Published
from modelberth.engine.verify import _moved

CHUNKS = 9
"""One more than a thread reads of a file that it opened."""


@pytest.fixture
def published(tmp_path):
    (tmp_path / "files").mkdir()
    with (tmp_path / "files/model.bin").open("wb") as file:
        file.truncate(CHUNKS * CHUNK_SIZE)
    zeros = blake3(bytes(CHUNK_SIZE)).digest()
    manifest = Manifest.of([Entry("model.bin", CHUNKS * CHUNK_SIZE, (zeros,) * CHUNKS)], [])
    revision = Revision("minilm", manifest.digest)
    return Published(revision, Snapshot(manifest.digest, 1), tmp_path, Ready(revision, "0", "now", {}), manifest)


def test_a_file_that_is_as_its_manifest_says_has_no_problem(published, stop):
    assert proof.mismatches(published, published.manifest.files, stop) == []


def test_chunks_whose_file_cannot_be_opened_again_are_not_proven(published, stop, monkeypatch):
    real, opened = filesystem.open_regular, []

    def once(path):
        opened.append(path)
        if len(opened) > 1:
            raise OSError(116, "Stale file handle", str(path))
        return real(path)

    monkeypatch.setattr(filesystem, "open_regular", once)
    (problem,) = proof.mismatches(published, published.manifest.files, stop)
    assert "could not be opened: Stale file handle" in str(problem)
    assert problem.length in (CHUNK_SIZE, 8 * CHUNK_SIZE)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": (1, 1, 1, 1)}, {"a": (1, 1, 1, 1)}, []),
        ({"a": (1, 1, 1, 1)}, {"a": (1, 1, 2, 1)}, ["a"]),
        ({"a": (1, 1, 1, 1), "b": (2, 1, 1, 2)}, {"a": (1, 1, 1, 1)}, ["b"]),
        ({}, {"c": (3, 1, 1, 1)}, ["c"]),
    ],
)
def test_what_came_or_went_while_it_was_read_is_named(before, after, said):
    assert [problem.file for problem in _moved(before, after)] == said
