"""What a staging directory takes for durable, and what it does not."""

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision
from modelberth.engine import batch, filesystem
from modelberth.engine.journal import Record
from modelberth.engine.staging import Staging
from modelberth.engine.stopping import Stop
from modelberth.engine.sync import _filled

CHUNKS = 3
MANIFEST = Manifest.of([Entry("sub/model.bin", CHUNKS * CHUNK_SIZE, (b"d" * 32,) * CHUNKS)], [])
REVISION = Revision("minilm", MANIFEST.digest)
DATA = memoryview(b"w" * CHUNK_SIZE)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def begun(root, manifest=MANIFEST):
    """A run that looked at what is there."""
    run = Staging(root, Revision("minilm", manifest.digest), manifest)
    (root / ".modelberth").mkdir(exist_ok=True)
    run.prepare()
    return run, run.missing()


def left(root, manifest=MANIFEST):
    """What the next run finds missing."""
    run, missing = begun(root, manifest)
    run.close()
    return missing


@pytest.fixture
def killed(tmp_path):
    """A claim on which a run got as far as its first chunk."""
    run, missing = begun(tmp_path)
    assert missing == {0: [0, 1, 2]}
    with closing(run):
        run.write(0, 0, DATA)
        run.flush()
    return tmp_path


def file_of(root):
    return root / ".modelberth/staging/minilm" / REVISION.digest.hex / "snapshot/files/sub/model.bin"


def test_what_was_flushed_is_not_missing(killed):
    run, missing = begun(killed)
    run.close()
    assert missing == {0: [1, 2]}


@pytest.mark.parametrize(
    ("number", "first", "count"), [(1, 0, 1), (-1, 0, 1), (0, -1, 2), (0, 1, 0), (0, 2, 2), (0, 1, 10**15)]
)
def test_a_record_of_chunks_that_are_not_there_does_not_count(killed, number, first, count):
    run, _ = begun(killed)
    run.journal.append([Record(number, file_of(killed).stat().st_ino, first, count)])
    run.close()
    run, missing = begun(killed)
    run.close()
    assert missing == {0: [1, 2]}


def test_a_removed_file_leaves_its_records_to_no_other_with_its_inode(killed):
    path, aside = file_of(killed), killed / "aside"
    path.rename(aside)
    run, missing = begun(killed)  # and killed at once
    run.close()
    assert missing == {0: [0, 1, 2]}
    os.truncate(aside, 0)
    os.truncate(aside, CHUNKS * CHUNK_SIZE)
    aside.rename(path)  # the inode is given to the new file, which has its final size and only zeros
    run, missing = begun(killed)
    run.close()
    assert missing == {0: [0, 1, 2]}


def test_a_file_that_is_replaced_while_it_is_filled_ends_the_run(killed):
    run, _ = begun(killed)
    file_of(killed).rename(killed / "aside")
    with closing(run), pytest.raises(Failure, match="was replaced") as raised:
        run.write(0, 1, DATA)
    assert raised.value.code is ExitCode.FOREIGN


def test_after_a_flush_that_failed_nothing_is_noted_any_more(tmp_path, monkeypatch):
    run, _ = begun(tmp_path)

    def fail(_):
        raise OSError(errno.EIO, "lost")

    with closing(run):
        run.write(0, 0, DATA)
        with monkeypatch.context() as broken:
            broken.setattr(batch.os, "fdatasync", fail)
            with pytest.raises(OSError, match="lost"):
                run.flush()
        run.write(0, 1, DATA)
        run.flush()
    missing = left(tmp_path)
    assert missing == {0: [0, 1, 2]}


def of_sizes(*chunks):
    """A manifest of files that have so many chunks."""
    files = [Entry(f"{number}.bin", count * CHUNK_SIZE, (b"d" * 32,) * count) for number, count in enumerate(chunks)]
    return Manifest.of(files, [])


def name_of(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


def failing_close(patch, name):
    """Let the next close of a file fail, as NFS does that could not write it before."""
    real, met = os.close, []

    def close(descriptor):
        hit = name_of(descriptor) == name and not met
        real(descriptor)
        if hit:
            met.append(name)
            raise OSError(errno.ENOSPC, "no space")

    patch.setattr(os, "close", close)


@pytest.mark.parametrize("chunks", [0, 1, 2], ids=["empty", "small", "large"])
def test_after_a_close_that_failed_nothing_is_noted_any_more(tmp_path, monkeypatch, chunks):
    manifest = of_sizes(2, chunks)
    run, before = begun(tmp_path, manifest)
    with closing(run):
        run.write(0, 0, DATA)
        failing_close(monkeypatch, "1.bin")
        with pytest.raises(OSError, match="no space"):  # noqa: PT012 - the last of these fails
            if not chunks:
                run.create_empty(1)
            for index in range(chunks):
                run.write(1, index, DATA)
        run.flush()
    missing = left(tmp_path, manifest)
    assert missing | {1: before[1]} == before  # the empty file is there, and has nothing to lose
    assert missing.get(1, []) == before[1]


def test_what_only_the_close_after_a_flush_tells_is_heeded(tmp_path, monkeypatch):
    run, _ = begun(tmp_path)
    with closing(run):
        run.write(0, 0, DATA)
        failing_close(monkeypatch, "model.bin")
        with pytest.raises(OSError, match="no space"):
            run.flush()
        run.write(0, 1, DATA)
        run.flush()
    missing = left(tmp_path)
    assert 1 in missing[0]


def test_after_a_write_that_failed_nothing_is_noted_any_more(tmp_path):
    """NFS tells the next write of what it lost, and then no flush any more."""
    run, _ = begun(tmp_path)

    def fail(*_):
        raise OSError(errno.ENOSPC, "no space")

    with closing(run):
        run.write(0, 0, DATA)
        with pytest.raises(OSError, match="no space"):
            run.write(0, 1, DATA, fail)
        run.flush()
    missing = left(tmp_path)
    assert missing == {0: [0, 1, 2]}


@pytest.mark.parametrize(("kind", "reached"), [("fuse.seaweedfs", False), ("fuse", False), ("ext4", True)])
def test_where_syncfs_reaches_nothing_each_file_is_flushed_before_it_is_noted(tmp_path, monkeypatch, kind, reached):
    monkeypatch.setattr(filesystem, "file_system_of", lambda _: kind)
    monkeypatch.setattr(batch, "_FEW", 1)
    real, flushed, all_flushed = os.fdatasync, [], []

    def fdatasync(descriptor):
        flushed.append(name_of(descriptor))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(filesystem, "sync_all", all_flushed.append)
    manifest = of_sizes(2, 2, 1)
    run, _ = begun(tmp_path, manifest)
    with closing(run):
        for number in range(3):
            run.write(number, 0, DATA)
        run.flush()
    missing = left(tmp_path, manifest)
    assert missing == {0: [1], 1: [1]}
    assert bool(all_flushed) is reached
    assert reached or {"0.bin", "1.bin", "2.bin"} <= set(flushed)


def test_a_batch_of_many_chunks_holds_one_more_descriptor_of_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "FLUSH_SECONDS", 999)
    run, _ = begun(tmp_path)
    with closing(run):
        before = descriptors()
        for index in range(2):
            run.write(0, index, DATA)
        assert descriptors() == before + 2
        run.flush()
        assert descriptors() == before + 2  # the file itself, and the journal


def test_one_descriptor_sees_every_failure_to_write(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(filesystem, "sync_all", seen.append)
    monkeypatch.setattr(batch, "_FEW", 0)
    run, _ = begun(tmp_path)
    with closing(run):
        for index in range(2):
            run.write(0, index, DATA)
            run.flush()
        assert seen == [run._directory] * 2
        os.fstat(seen[0])


@pytest.mark.parametrize("name", ["..", ".", "journal", "snapshot", "snapshot/files", "snapshot/files/sub"])
def test_a_link_in_the_place_of_a_directory_is_foreign(tmp_path, name):
    base = file_of(tmp_path).parents[3]
    place = base.parent if name == ".." else base / name
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(Failure) as raised:
        begun(tmp_path)
    assert raised.value.code is ExitCode.FOREIGN
    assert (list(elsewhere.iterdir()), elsewhere.stat().st_mode & 0o777) == ([], 0o700)


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/etc/hostname"), lambda path: path.mkdir()])
def test_what_is_no_file_is_foreign_and_not_written(tmp_path, put):
    run, _ = begun(tmp_path)
    put(file_of(tmp_path))
    with closing(run), pytest.raises(Failure, match="no regular file") as raised:
        run.write(0, 0, DATA)
    assert raised.value.code is ExitCode.FOREIGN


def test_what_is_sound_is_flushed_when_a_worker_meets_the_file_system(tmp_path):
    run = Staging(tmp_path, REVISION, MANIFEST)
    (tmp_path / ".modelberth").mkdir()

    class Fill:
        def all(self, _):
            run.write(0, 0, DATA)
            raise OSError(errno.ESTALE, "stale")

    with closing(run), pytest.raises(OSError, match="stale"):
        _filled(run, Fill(), Stop())
    missing = left(tmp_path)
    assert missing == {0: [1, 2]}
