"""A file that is linked to another snapshot's is never opened for writing, whoever comes next."""

import errno
import os
from contextlib import closing

import pytest

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision
from modelberth.engine import staging
from modelberth.engine.staging import Staging

MANIFEST = Manifest.of([Entry("sub/model.bin", CHUNK_SIZE, (b"d" * 32,))], [])
REVISION = Revision("minilm", MANIFEST.digest)
THEIRS, OURS = b"t" * CHUNK_SIZE, memoryview(b"o" * CHUNK_SIZE)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "another snapshot's"
    path.write_bytes(THEIRS)
    path.chmod(0o444)
    return path


@pytest.fixture
def run(tmp_path):
    (tmp_path / ".modelberth").mkdir()
    run = Staging(tmp_path, REVISION, MANIFEST)
    with closing(run):
        run.prepare()
        assert run.missing() == {0: [0]}
        yield run


@pytest.fixture
def target(run):
    return run.files / "sub/model.bin"


def test_a_linked_file_is_the_same_file_and_as_it_was(run, source, target):
    assert run.link(0, source)
    assert target.samefile(source)
    assert source.read_bytes() == THEIRS
    assert source.stat().st_mode & 0o777 == 0o444


def test_a_link_of_an_earlier_run_is_one_still(run, source):
    assert run.link(0, source)
    assert run.link(0, source)


def test_a_link_of_an_earlier_run_to_another_file_is_none(run, source, target, tmp_path):
    (tmp_path / "older").write_bytes(THEIRS)
    assert run.link(0, tmp_path / "older")
    assert not run.link(0, source)


def test_a_file_that_somebody_else_began_is_not_taken_for_a_link(run, source, target):
    target.write_bytes(b"")
    assert not run.link(0, source)
    assert target.read_bytes() == b""


def test_who_writes_a_linked_file_gets_one_of_its_own(run, source, target):
    run.link(0, source)
    again = Staging(source.parent, REVISION, MANIFEST)
    with closing(again):
        again.prepare()
        assert again.missing() == {0: [0]}
        again.write(0, 0, OURS)
    assert (target.read_bytes(), source.read_bytes()) == (bytes(OURS), THEIRS)
    assert source.stat().st_mode & 0o777 == 0o444


def test_a_file_that_is_linked_while_it_is_opened_is_not_written(run, source, target, monkeypatch):
    monkeypatch.setattr(staging, "_without_links", lambda path: os.link(source, path))
    with pytest.raises(Failure, match="was replaced") as raised:
        run.write(0, 0, OURS)
    assert raised.value.code is ExitCode.FOREIGN
    assert source.read_bytes() == THEIRS


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_nothing_can_be_linked_it_is_no_failure(run, source, target, monkeypatch, number):
    monkeypatch.setattr(staging.os, "link", failing(number))
    assert not run.link(0, source)
    assert not target.exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_trouble_with_the_file_system_is_not_taken_for_that(run, source, monkeypatch, number):
    monkeypatch.setattr(staging.os, "link", failing(number))
    with pytest.raises(OSError, match="trouble"):
        run.link(0, source)


def failing(number):
    def link(*_, **__):
        raise OSError(number, "trouble")

    return link
