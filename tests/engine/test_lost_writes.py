"""A disk that loses what it took, and calls that succeed but report an error: nothing torn is published."""

import errno
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from modelberth.engine import batch, filesystem, lock


@pytest.fixture
def s3(shipped):
    return shipped.bucket


@pytest.fixture
def sync(s3, modelberth, shipped):
    def run(root, *more):
        return modelberth("sync", s3.url, root, "--revision", shipped.result["revision"], *more)

    return run


@pytest.fixture
def whole(sync, shipped, trees, only_whole):
    """The same again comes to a whole snapshot, the only one."""

    def check(root):
        only_whole(root, shipped.result["revision"])
        ran = sync(root)
        assert ran.code == 0, ran.result
        assert trees(Path(ran.result["path"]) / "files") == trees(shipped.model)
        assert len(list((root / "minilm").glob("*"))) == 1
        return ran.result

    return check


def visible(root):
    return list((root / "minilm").glob("*"))


# A real one -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing_disk(tmp_path):
    """A file system whose device has no room behind its blocks: writes succeed, and are lost when they are flushed.

    Yields where it is mounted, and what gives the device its room.
    """
    backing, root = tmp_path / "backing", tmp_path / "root"
    backing.mkdir()
    root.mkdir()
    mounted = []

    def run(*words):
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    try:
        run("mount", "-t", "tmpfs", "-o", "size=14m", "none", backing)
        mounted.append(backing)
        with (backing / "disk").open("wb") as stream:
            stream.truncate(96 * 2**20)
        run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=0", "-m", "0", backing / "disk")
        run("mount", "-o", "loop,nodiscard", backing / "disk", root)
        mounted.append(root)
        yield root, lambda: run("mount", "-o", "remount,size=200m", backing)
    finally:
        for path in reversed(mounted):
            run("umount", "--lazy", path)  # the kernel lets go of the loop device, and of its file, a moment later


def test_bytes_that_the_disk_lost_at_a_real_fsync_are_never_published_and_come_again(
    failing_disk, sync, whole, shipped
):
    root, make_room = failing_disk
    ran = sync(root)
    assert ran.code in (14, 22), ran.result
    assert visible(root) == []
    make_room()
    # No record names what was lost, though a reader still found it in the page cache.
    assert whole(root)["bytes_fetched"] == shipped.result["bytes"]


# One call, one error --------------------------------------------------------------------------------------------------

CALLS = {
    "pwrite": (os, "pwrite"),
    "fdatasync": (os, "fdatasync"),
    "fsync": (os, "fsync"),
    "syncfs": (filesystem, "sync_all"),
    "fallocate": (filesystem, "allocate"),
    "write": (os, "write"),
}
ERRORS = {errno.EIO: 14, errno.ENOSPC: 22, errno.EDQUOT: 22, errno.ESTALE: 14}


@pytest.mark.parametrize(("number", "code"), ERRORS.items(), ids=[errno.errorcode[number] for number in ERRORS])
@pytest.mark.parametrize(("owner", "name"), CALLS.values(), ids=CALLS)
def test_an_error_of_the_disk_ends_the_run_with_its_meaning_and_nothing_visible(
    sync, whole, claim, monkeypatch, owner, name, number, code
):
    real, met = getattr(owner, name), []

    def fail(*arguments):
        if met or not ours(arguments[0], claim):
            return real(*arguments)
        met.append(name)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(batch, "FLUSH_SECONDS", 0)
    monkeypatch.setattr(owner, name, fail)
    ran = sync(claim)
    assert met
    assert (ran.code, visible(claim)) == (code, []), ran.result
    whole(claim)


def ours(descriptor, claim):
    """Whether a file or directory being staged is meant, and nothing of the test's or the log's."""
    return f"{claim.resolve()}/.modelberth/staging" in str(Path(f"/proc/self/fd/{descriptor}").readlink())


@pytest.mark.parametrize(("number", "code"), ERRORS.items(), ids=[errno.errorcode[number] for number in ERRORS])
def test_an_error_that_only_close_reports_publishes_nothing(sync, whole, claim, monkeypatch, number, code):
    """NFS tells at close what it could not write."""
    real, met = os.close, []

    def fail(descriptor):
        place = ""
        with suppress(OSError):
            place = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)
        if not met and place.endswith("model.safetensors") and str(claim.resolve()) in place:
            met.append(place)
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "close", fail)
    ran = sync(claim)
    assert met
    assert (ran.code, visible(claim)) == (code, []), ran.result
    monkeypatch.setattr(os, "close", real)
    whole(claim)


# Calls that were done and report an error: what NFS does when an answer is lost --------------------------------------

REPLAYED = {
    "rename": errno.ENOENT,
    "replace": errno.ENOENT,
    "mkdir": errno.EEXIST,
    "unlink": errno.ENOENT,
    "rmdir": errno.ENOENT,
}
"""What the second of two equal requests answers."""


def misreporting(patch, turn, answers):
    """Let the *turn*-th of all calls be done and report an error; return the list that then names the call."""
    seen, told = [], []

    def meddled(name):
        real = getattr(Path, name)

        def call(self, *arguments, **named):
            found = real(self, *arguments, **named)
            seen.append(name)
            if len(seen) == turn:
                told.append(f"{name} {self}")
                raise OSError(answers[name], os.strerror(answers[name]), str(self))
            return found

        return call

    for name in answers:
        patch.setattr(Path, name, meddled(name))
    return told


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
@pytest.mark.parametrize("answers", [REPLAYED, dict.fromkeys(REPLAYED, errno.EIO)], ids=["replayed", "EIO"])
def test_each_call_that_succeeds_but_reports_an_error_does_no_harm(
    tmp_path, bucket, modelberth, claim, trees, only_whole, answers, monkeypatch
):
    monkeypatch.setattr(lock, "EXPIRY", 1.0)  # a lock that was made but not told of has no owner, and ends with that
    model, turn, published = tmp_path / "small", 0, 0
    (model / "sub").mkdir(parents=True)
    (model / "a.bin").write_bytes(b"a" * 3000)
    (model / "sub/b.bin").write_bytes(b"b")
    revision = modelberth.upload(model, bucket).result["revision"]
    sync = ("sync", bucket.url, claim, "--revision", revision)
    while True:
        turn += 1
        with pytest.MonkeyPatch.context() as patch:
            told = misreporting(patch, turn, answers)
            ran = modelberth(*sync)
        if not told:
            break
        assert ran.code in (0, 14), (told, ran.result)
        if told[0].startswith("rename") and told[0].endswith("/snapshot"):
            published += 1
            assert ran.code == 0, ran.result  # what is there decides, not the answer
        only_whole(claim, revision)
        again = modelberth(*sync)
        assert again.code == 0, (told, again.result)
        assert trees(Path(again.result["path"]) / "files") == trees(model)
        assert len(visible(claim)) == 1
        subprocess.run(["rm", "-rf", *claim.iterdir()], check=True)
    assert turn > 15
    assert published == 1
