"""What a second reading of a snapshot must not take for proven."""

import errno
import os

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


def failing(monkeypatch, owner, name, number, times):
    """Let all calls but the first one fail, so many times."""
    real, calls = getattr(owner, name), []

    def call(*arguments):
        calls.append(arguments)
        if 1 < len(calls) <= 1 + times:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    monkeypatch.setattr(owner, name, call)


OPENED = (filesystem, "open_regular")
READ = (os, "preadv")
either = pytest.mark.parametrize(("owner", "name"), [OPENED, READ], ids=["open", "read"])
lost = pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.EBADMSG], ids=errno.errorcode.get)
ALWAYS = 10**6


@either
@lost
def test_chunks_that_cannot_be_read_twice_are_damage(published, stop, monkeypatch, owner, name, number):
    failing(monkeypatch, owner, name, number, ALWAYS)
    problems = proof.mismatches(published, published.manifest.files, stop)
    assert {str(problem).rpartition(": ")[2] for problem in problems} == {f"{os.strerror(number)}."}
    assert sum(problem.length for problem in problems) >= CHUNK_SIZE


@either
@lost
def test_what_can_be_read_at_the_second_try_is_no_problem(published, stop, monkeypatch, owner, name, number):
    failing(monkeypatch, owner, name, number, 1)
    assert proof.mismatches(published, published.manifest.files, stop) == []


def test_a_wrong_chunk_that_is_read_at_the_second_try_is_found(published, stop, monkeypatch):
    with (published.files / "model.bin").open("r+b") as file:
        file.write(b"x")
    failing(monkeypatch, *OPENED, errno.EIO, 1)
    (problem,) = proof.mismatches(published, published.manifest.files, stop, proof.Reading(threads=1))
    assert (problem.start, problem.length) == (0, CHUNK_SIZE)


@either
@pytest.mark.parametrize(
    "number",
    [errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENOMEM],
    ids=errno.errorcode.get,
)
def test_what_may_pass_is_no_damage_and_no_proof(published, stop, monkeypatch, owner, name, number):
    failing(monkeypatch, owner, name, number, 1)
    with pytest.raises(OSError, match=os.strerror(number)):
        proof.mismatches(published, published.manifest.files, stop)


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
