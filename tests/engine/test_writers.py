"""Writers that run at the same time on one claim, without the lock between them: what is published is whole."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

WITHOUT_LOCK = """
import sys
from modelberth.engine import batch, cli, lock

lock.Lock.__enter__ = lambda self: self  # as if each had taken it for a dead one's
lock.Lock.__exit__ = lambda *_: None
batch.FLUSH_SECONDS = 0.05
sys.exit(cli.run(sys.argv[1:]))
"""

CORRUPTING = """
import os, random, sys
from pathlib import Path

root, chance = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
while True:
    for path in root.glob(".modelberth/staging/minilm/*/snapshot/files/**/*"):
        try:
            if path.is_file() and (size := path.stat().st_size):
                with path.open("r+b") as stream:
                    stream.seek(chance.randrange(size))
                    stream.write(b"garbage")
        except OSError:
            pass
"""


@pytest.fixture
def run(modelberth, s3, claim):
    """Begin a sync that no lock holds back."""
    begun = []

    def begin(revision, *more):
        words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", WITHOUT_LOCK, "sync", s3.url, str(claim)]
        process = subprocess.Popen(
            [*words, "--revision", revision, "--bandwidth-limit", "30MiB", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | modelberth.env,
        )  # fmt: skip
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def two(model, s3, modelberth):
    """Two revisions that share most of their bytes."""
    one = modelberth.upload(model, s3).result["revision"]
    with (model / "model.safetensors").open("r+b") as stream:
        stream.seek(20_000_000)
        stream.write(b"merged")
    return one, modelberth.upload(model, s3, "u2").result["revision"]


def ended(modelberth, process):
    ran = modelberth.end(process)
    assert ran.code in (0, 10, 11, 12, 13, 14, 24), ran.result  # never a fault, never a verdict about the model
    return ran


def assert_whole(modelberth, claim):
    published = list((claim / "minilm").glob("*"))
    for path in published:
        revision = f"minilm@sha256:{path.name.partition('.')[0]}"
        assert modelberth("verify", claim, "--revision", revision, "--snapshot", path.name).code == 0
    return published


@pytest.mark.parametrize("writers", [2, 5])
def test_writers_of_one_revision_without_a_lock_publish_it_whole(two, run, modelberth, s3, claim, writers):
    ends = [ended(modelberth, process) for process in [run(two[1]) for _ in range(writers)]]
    assert 0 in [ran.code for ran in ends], [ran.result for ran in ends]
    assert assert_whole(modelberth, claim)
    assert modelberth("sync", s3.url, claim, "--revision", two[1]).result["bytes_fetched"] == 0


@pytest.mark.parametrize("writers", [2, 5])
def test_writers_of_different_revisions_do_not_touch_each_other(two, run, modelberth, claim, writers):
    ends = [ended(modelberth, process) for process in [run(two[n % 2]) for n in range(writers)]]
    assert 0 in [ran.code for ran in ends[::2]]
    assert 0 in [ran.code for ran in ends[1::2]]
    assert {path.name.partition(".")[0] for path in assert_whole(modelberth, claim)} == {
        revision.partition("sha256:")[2] for revision in two
    }


def test_a_writer_whose_lock_was_taken_still_publishes_only_what_is_whole(two, modelberth, run, s3, claim):
    slow = modelberth.start("sync", s3.url, claim, "--revision", two[0], "--bandwidth-limit", "10MiB")
    lock = claim / ".modelberth/lock/minilm"
    while not (lock / "owner").exists():
        assert slow.poll() is None
        time.sleep(0.01)
    lock.rename(claim / ".modelberth/taken")
    other = modelberth("sync", s3.url, claim, "--revision", two[0])
    assert other.code == 0, other.result
    ended(modelberth, slow)
    assert assert_whole(modelberth, claim)
    assert not lock.exists()


def test_a_writer_that_holds_its_files_open_and_writes_what_is_there_changes_nothing(two, modelberth, s3, claim):
    late = Late(claim, "model.safetensors")
    synced = modelberth("sync", s3.url, claim, "--revision", two[1], "--bandwidth-limit", "30MiB").result
    path = Path(synced["path"]) / "files/model.safetensors"
    verified = modelberth("verify", claim, "--revision", two[1]).result
    late.write(16_000_000, path.read_bytes()[16_000_000:16_000_100])
    ran = modelberth("check", claim, "--revision", two[1], "--stats", verified["stats"])
    assert (ran.code, ran.result["rehashed_files"]) == (0, 1)
    late.write(16_000_000, b"not what the manifest names")
    for words in (("check", "--stats", verified["stats"]), ("verify",)):
        ran = modelberth(words[0], claim, "--revision", two[1], *words[1:])
        assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    again = modelberth("sync", s3.url, claim, "--revision", two[1])
    assert (again.code, again.result["snapshot"]) == (0, synced["snapshot"].replace(".1", ".2"))
    late.close()


class Late:
    """Opens a staged file as soon as it is there, and writes when it is told."""

    def __init__(self, claim, name):
        self._descriptor = -1
        self._finder = threading.Thread(target=self._find, args=(claim, name), daemon=True)
        self._finder.start()

    def _find(self, claim, name):
        while self._descriptor < 0:
            for path in claim.glob(f".modelberth/staging/minilm/*/snapshot/files/{name}"):
                self._descriptor = os.open(path, os.O_RDWR)
            time.sleep(0.005)

    def write(self, offset, data):
        self._finder.join(10)
        os.pwrite(self._descriptor, data, offset)

    def close(self):
        os.close(self._descriptor)


def test_what_a_corrupting_writer_left_in_a_snapshot_is_found_by_the_verify_that_follows_every_sync(
    two, run, modelberth, s3, claim
):
    """Nothing can keep a foreign process from writing garbage; what it must not do is stay unseen."""
    words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", CORRUPTING, str(claim), "7"]
    corrupting = subprocess.Popen(words)
    try:
        ends = [modelberth.end(process) for process in [run(two[n % 2]) for n in range(4)]]
    finally:
        corrupting.kill()
        corrupting.wait()
    assert all(ran.code in (0, 13, 14, 20, 24) for ran in ends), [ran.result for ran in ends]
    for revision in two:
        for path in (claim / "minilm").glob(f"{revision.partition('sha256:')[2]}.*"):
            verified = modelberth("verify", claim, "--revision", revision, "--snapshot", path.name)
            assert verified.code in (0, 20)
            served = b"".join((path / "files" / name).read_bytes() for name in ("config.json", "sub/vocab.txt"))
            assert verified.code == 20 or b"garbage" not in served
        assert healed(modelberth, s3, claim, revision)


def healed(modelberth, s3, claim, revision):
    """Sync and verify, as a release does: the first may publish what the garbage left in the staging directory."""
    for _ in range(3):
        again = modelberth("sync", s3.url, claim, "--revision", revision)
        assert again.code == 0, again.result
        verified = modelberth("verify", claim, "--revision", revision, "--snapshot", again.result["snapshot"])
        if verified.code == 0:
            return True
        assert verified.code == 20
    return False
