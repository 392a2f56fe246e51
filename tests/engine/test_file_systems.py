"""The file systems that claims lie on: real ones, each with what it lacks, full, read-only and dead."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import volumes
from modelberth.engine import pagecache

MIB = 2**20
CHUNK = 8 * MIB
WEIGHTS = "model.safetensors"


def noise(size, seed=1):
    some = random.Random(seed)
    return b"".join(some.randbytes(min(CHUNK, size - start)) for start in range(0, size, CHUNK))


def safetensors(tensors):
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(tensors)], "data_offsets": [0, len(tensors)]}}).encode()
    return len(header).to_bytes(8, "little") + header + tensors


@pytest.fixture(scope="module")
def host():
    host = volumes.Host()
    yield host
    host.end()


@pytest.fixture(scope="module")
def other_host():
    host = volumes.Host()
    yield host
    host.end()


@pytest.fixture(scope="module")
def filer(host, tmp_path_factory):
    home = tmp_path_factory.mktemp("seaweedfs")
    return volumes.filer(host, home)


@pytest.fixture
def volume(request, host, tmp_path):
    """A volume of the kind that the test is for."""
    if request.param == "weed":
        volume = volumes.weed(host, tmp_path, request.getfixturevalue("filer"))
    else:
        volume = volumes.loop(host, tmp_path, request.param)
    yield volume
    volume.unmount()


LOOPS = ("ext4", "ext2", "xfs", "btrfs")
on = lambda *kinds: pytest.mark.parametrize("volume", kinds, indirect=True)  # noqa: E731


@dataclass
class Work:
    """A bucket, a model, and the program as it runs on a volume's host."""

    home: Path

    @property
    def model(self):
        return self.home / "model"

    @property
    def bucket(self):
        return f"file://{self.home}/bucket"

    def make(self, tensors):
        (self.home / "bucket").mkdir(exist_ok=True)
        for name, data in {
            "config.json": b"{}",
            "sub/none": b"",
            "run.sh": b"#!/bin/sh",
            WEIGHTS: safetensors(tensors),
        }.items():
            (self.model / name).parent.mkdir(parents=True, exist_ok=True)
            (self.model / name).write_bytes(data)
        (self.model / "run.sh").chmod(0o755)
        (self.model / "1").mkdir(exist_ok=True)
        return self.upload()

    def change(self, chunk):
        """Change the weights' n-th chunk of tensors and upload the model again."""
        with (self.model / WEIGHTS).open("r+b") as file:
            file.seek(8 + 100 + chunk * CHUNK + 1000)
            file.write(noise(100, seed=chunk))
        return self.upload()

    def upload(self):
        done = self.end(self.start(None, "upload", self.model, self.bucket, "--model", "m"))
        assert done["exit_code"] == 0, done
        return done["revision"]

    def start(self, host, *words):
        words = [sys.executable, "-m", "modelberth.engine", *map(str, words)]
        return subprocess.Popen(
            host.inside(words) if host else words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @staticmethod
    def end(process):
        try:
            out, log = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return json.loads(out.splitlines()[-1]) | {"log": log}

    def __call__(self, volume, command, *words):
        return self.end(self.start(volume.host, command, *words))

    def sync(self, volume, revision, *more):
        return self(volume, "sync", self.bucket, volume.root, "--revision", revision, *more)

    def proof(self, volume, command, revision, *more):
        return self(volume, command, volume.root, "--revision", revision, *more)


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


def ok(done):
    assert done["exit_code"] == 0, done
    return done


def refused(done, code, outcome):
    assert (done["exit_code"], done["outcome"]) == (code, outcome), done
    return "\n".join(done["problems"])


def files(volume, done):
    return volume.host.seen(done["path"]) / "files"


def tree(directory):
    return {
        str(path.relative_to(directory)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        if path.is_file()
        else None
        for path in directory.rglob("*")
    }


def visible(volume):
    return [path.name for path in volume.path.glob("m/*")]


# The whole way, on each ----------------------------------------------------------------------------------------------

KINDS = {
    "ext4": ("ext4", ["reflink"]),
    "ext2": ("ext2", ["fallocate", "reflink"]),
    "xfs": ("xfs", []),
    "btrfs": ("btrfs", []),
    "weed": ("fuse.seaweedfs", ["reflink"]),
}


@on(*KINDS)
def test_a_model_comes_is_verified_and_its_next_revision_takes_what_is_there(volume, work, request):
    kind, lacks = KINDS[request.node.callspec.params["volume"]]
    first = work.make(noise(3 * CHUNK))
    came = ok(work.sync(volume, first))
    assert tree(files(volume, came)) == tree(work.model)
    assert (came["bytes_fetched"], came["bytes_reused"]) == (came["bytes"], 0)
    assert (came["file_system"], came["lacks"]) == (kind, lacks)
    assert f"{volume.root}: {kind}" in came["log"]
    assert all(lack in came["log"] for lack in lacks)
    verified = ok(work.proof(volume, "verify", first))
    assert ok(work.proof(volume, "check", first, "--stats", verified["stats"]))["rehashed_files"] == 0
    again = ok(work.sync(volume, first))
    assert (again["bytes_fetched"], again["snapshot"]) == (0, came["snapshot"])
    second = work.change(1)
    delta = ok(work.sync(volume, second))
    assert tree(files(volume, delta)) == tree(work.model)
    assert (delta["bytes_fetched"], delta["bytes_reused"]) == (CHUNK, delta["bytes"] - CHUNK)
    ok(work.proof(volume, "verify", second))
    [row] = work(volume, "list", volume.root)["models"]
    assert [snapshot["state"] for snapshot in row["snapshots"]] == ["ready", "ready"]
    left = [path for path in (volume.path / ".modelberth").rglob("*") if path.is_file()]
    assert left == []


@on("ext4", "xfs")
def test_what_comes_is_written_past_the_nodes_cache_but_for_the_edges_of_chunks(volume, work):
    came = ok(work.sync(volume, work.make(noise(3 * CHUNK))))
    edges = 2 * 4 * 4096  # of the header and three chunks, of which none begins with a block
    assert 0 < pagecache.resident(files(volume, came) / WEIGHTS) <= edges
    assert tree(files(volume, came)) == tree(work.model)


# Blocks that are shared ----------------------------------------------------------------------------------------------


@on("xfs", "btrfs")
def test_what_shares_blocks_takes_no_space_and_is_left_alone_by_the_other(volume, work):
    first = work.make(noise(20 * CHUNK))
    came = ok(work.sync(volume, first))
    before, old = volume.used(), tree(files(volume, came))
    delta = ok(work.sync(volume, work.change(7)))
    assert delta["bytes_reflinked"] >= 19 * (CHUNK - 2 * 4096)
    assert delta["bytes_reflinked"] < delta["bytes_reused"]
    volume.host.run("sync", "-f", volume.root)
    assert volume.used() - before < 2 * CHUNK
    assert tree(files(volume, delta)) == tree(work.model)
    assert tree(files(volume, came)) == old
    assert not delta["shares_bytes_with"]


@on("xfs")
def test_a_revision_that_fits_only_by_sharing_fits(volume, work):
    first = work.make(noise(20 * CHUNK))  # 160 of the 300 MiB
    ok(work.sync(volume, first))
    delta = ok(work.sync(volume, work.change(7)))
    assert delta["bytes_fetched"] == CHUNK
    assert visible(volume) != []


@on("ext4")
def test_where_nothing_is_shared_the_same_is_refused_before_the_first_byte(volume, work):
    ok(work.sync(volume, work.make(noise(20 * CHUNK))))
    before = volume.used()
    problem = refused(work.sync(volume, work.change(7)), 22, "no-space")
    assert "prune snapshots or enlarge the volume" in problem
    assert volume.used() - before < MIB


@on("xfs")
def test_a_chunk_that_is_damaged_where_it_would_be_shared_is_fetched(volume, work):
    first = work.make(noise(3 * CHUNK))
    came = ok(work.sync(volume, first))
    damage(files(volume, came) / WEIGHTS, 2 * CHUNK)
    delta = ok(work.sync(volume, work.change(0)))
    assert delta["bytes_fetched"] == 2 * CHUNK
    assert tree(files(volume, delta)) == tree(work.model)


@on("xfs")
def test_a_copy_of_a_damaged_snapshot_shares_its_good_chunks(volume, work):
    first = work.make(noise(5 * CHUNK))
    came = ok(work.sync(volume, first))
    damage(files(volume, came) / WEIGHTS, 2 * CHUNK)
    copy = ok(work.sync(volume, first))
    assert copy["snapshot"] == came["snapshot"].replace(".1", ".2")
    assert copy["bytes_fetched"] == CHUNK
    assert copy["bytes_reflinked"] > 3 * CHUNK
    ok(work.proof(volume, "verify", first))


@on("xfs")
def test_chunks_that_an_edited_header_moved_to_another_place_in_their_blocks_are_copied(volume, work):
    tensors = noise(3 * CHUNK)
    ok(work.sync(volume, work.make(tensors)))
    header = safetensors(tensors)[8 : -len(tensors)] + b"  "
    (work.model / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + tensors)
    delta = ok(work.sync(volume, work.upload()))
    assert (delta["bytes_fetched"], delta["bytes_reflinked"]) == (8 + len(header), 0)
    assert tree(files(volume, delta)) == tree(work.model)


def damage(path, position):
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o444)


# Hard links -----------------------------------------------------------------------------------------------------------


def linked(volume, one, other):
    return (files(volume, one) / WEIGHTS).samefile(files(volume, other) / WEIGHTS)


def next_revision(work):
    (work.model / "config.json").write_text('{"next": true}')
    return work.upload()


@on("ext4")
def test_hard_links_are_made_only_when_asked_for_and_said(volume, work):
    first = work.make(noise(2 * CHUNK))
    came = ok(work.sync(volume, first))
    verified = ok(work.proof(volume, "verify", first))
    second = next_revision(work)
    delta = ok(work.sync(volume, second, "--hard-links"))
    assert linked(volume, came, delta)
    assert delta["bytes_linked"] == delta["bytes"] - len('{"next": true}')
    assert delta["bytes_fetched"] == len('{"next": true}')
    assert delta["shares_bytes_with"] == [came["snapshot"]]
    assert tree(files(volume, delta)) == tree(work.model)
    ok(work.proof(volume, "verify", second))
    # The link changed the first one's ctimes: its files are read again, and are right.
    checked = ok(work.proof(volume, "check", first, "--stats", verified["stats"]))
    assert checked["rehashed_files"] == 2
    for revision, shares in ((first, delta), (second, came)):
        assert ok(work.sync(volume, revision))["shares_bytes_with"] == [shares["snapshot"]]
    third = ok(work.sync(volume, work.change(0)))
    assert (third["bytes_linked"], third["shares_bytes_with"]) == (0, [])


@on("ext4")
def test_nothing_is_linked_to_a_damaged_snapshot(volume, work):
    came = ok(work.sync(volume, work.make(noise(2 * CHUNK))))
    damage(files(volume, came) / WEIGHTS, CHUNK)
    delta = ok(work.sync(volume, next_revision(work), "--hard-links"))
    assert (delta["bytes_linked"], delta["bytes_fetched"]) == (0, CHUNK + len('{"next": true}'))
    assert not linked(volume, came, delta)
    assert tree(files(volume, delta)) == tree(work.model)


@on("ext4")
def test_nothing_is_linked_to_a_snapshot_with_damage_on_record(volume, work):
    came = ok(work.sync(volume, first := work.make(noise(2 * CHUNK))))
    damage(files(volume, came) / WEIGHTS, CHUNK)
    refused(work.proof(volume, "verify", first), 20, "mismatch")
    damage(files(volume, came) / WEIGHTS, CHUNK)  # and as it was
    delta = ok(work.sync(volume, next_revision(work), "--hard-links"))
    assert (delta["bytes_linked"], delta["shares_bytes_with"]) == (0, [])


@on("ext4")
def test_a_file_with_as_many_links_as_it_can_have_is_copied(volume, work):
    came = ok(work.sync(volume, work.make(noise(CHUNK))))
    names = volume.path / "names"
    names.mkdir()
    for number in range(64_999):  # ext4's most are 65,000
        os.link(files(volume, came) / WEIGHTS, names / str(number))
    delta = ok(work.sync(volume, next_revision(work), "--hard-links"))
    assert not linked(volume, came, delta)
    assert delta["bytes_linked"] == len("#!/bin/sh")
    assert delta["bytes_fetched"] == len('{"next": true}')
    assert tree(files(volume, delta)) == tree(work.model)


# Full -----------------------------------------------------------------------------------------------------------------


@on("ext4", "xfs")
def test_what_does_not_fit_is_refused_before_the_first_byte(volume, work):
    revision = work.make(noise(40 * CHUNK))
    before = volume.used()
    problem = refused(work.sync(volume, revision), 22, "no-space")
    assert "prune snapshots or enlarge the volume" in problem
    assert (visible(volume), volume.used() - before < MIB) == ([], True)


@on("ext4 of few inodes")
def test_more_files_than_the_volume_has_inodes_are_refused_before_the_first_byte(volume, work):
    for number in range(400):
        (work.model / f"shard-{number % 5}").mkdir(parents=True, exist_ok=True)
        (work.model / f"shard-{number % 5}" / f"{number}.json").write_text(str(number))
    problem = refused(work.sync(volume, work.make(b"x")), 22, "no-space")
    needed, free, there = map(int, re.search(r"needs (\d+) more inodes .* has (\d+) of (\d+) free", problem).groups())
    assert needed > 400 > there > free > 0
    assert not [path for path in volume.path.rglob("snapshot/files/**/*") if path.is_file()]
    for number in range(5):
        shutil.rmtree(work.model / f"shard-{number}")
    assert tree(files(volume, ok(work.sync(volume, work.upload())))) == tree(work.model)


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_a_volume_that_somebody_else_fills_ends_the_sync_and_it_goes_on_when_there_is_space(host, kind, work, tmp_path):
    volume = volumes.loop(host, tmp_path, kind, 128 * MIB)
    work.make(noise(3 * CHUNK))
    for number in range(4):  # files that get their blocks one after the other
        (work.model / f"{number}.bin").write_bytes(noise(2 * CHUNK, seed=number))
    revision = work.upload()
    process = work.start(
        volume.host,
        "sync",
        work.bucket,
        volume.root,
        "--revision",
        revision,
        "--bandwidth-limit",
        "16MiB",
        "--concurrency",
        "1",
    )
    until(lambda: any(volume.path.glob(".modelberth/staging/m/*/journal/*")), process)
    fill(volume)
    problem = refused(work.end(process), 22, "no-space")
    assert "what arrived is kept" in problem
    assert visible(volume) == []
    (volume.path / "filler").unlink()
    resumed = ok(work.sync(volume, revision))
    assert 0 < resumed["bytes_fetched"] < resumed["bytes"]
    assert tree(files(volume, resumed)) == tree(work.model)
    volume.unmount()


def until(condition, process):
    deadline = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fill(volume):
    with (volume.path / "filler").open("wb", buffering=0) as file:
        for step in (MIB, 4096):
            with pytest.raises(OSError, match="No space left"):  # noqa: PT012 - until it is full
                while True:
                    os.write(file.fileno(), bytes(step))


@on("btrfs")
def test_a_quota_is_found_while_it_is_written_and_ends_the_sync(volume, work):
    claim = volumes.Volume(volume.host, volume.root / "claim")
    volume.host.run("btrfs", "subvolume", "create", claim.root)
    volume.host.run("btrfs", "quota", "enable", volume.root)
    volume.host.run("btrfs", "qgroup", "limit", "20M", claim.root)
    revision = work.make(noise(4 * CHUNK))
    problem = refused(work.sync(claim, revision), 22, "no-space")
    assert "quota" in problem.lower()
    assert visible(claim) == []
    volume.host.run("btrfs", "qgroup", "limit", "none", claim.root)
    assert tree(files(claim, ok(work.sync(claim, revision)))) == tree(work.model)


# Read-only, dead, unsuitable ------------------------------------------------------------------------------------------


@on("ext4", "xfs")
def test_a_volume_that_is_mounted_read_only_is_proven_and_not_written(volume, work):
    first = work.make(noise(CHUNK))
    came = ok(work.sync(volume, first))
    second = work.change(0)
    volume.remount("ro")
    verified = ok(work.proof(volume, "verify", first))
    assert ok(work.proof(volume, "check", first, "--stats", verified["stats"]))["rehashed_files"] == 0
    assert ok(work(volume, "list", volume.root))["models"][0]["snapshots"][0]["state"] == "ready"
    assert ok(work.sync(volume, first))["snapshot"] == came["snapshot"]
    problem = refused(work.sync(volume, second), 25, "denied")
    assert "Read-only file system" in problem
    assert "must be mounted for writing" in problem


@on("weed")
def test_a_mount_that_died_ends_every_command_at_once_and_as_unreachable(volume, work):
    first = work.make(noise(CHUNK))
    ok(work.sync(volume, first))
    os.killpg(volume.process.pid, signal.SIGKILL)
    volume.process.wait()
    for done in (
        work.sync(volume, first),
        work.proof(volume, "verify", first),
        work.proof(volume, "check", first),
        work(volume, "list", volume.root),
    ):
        assert "Transport endpoint is not connected" in refused(done, 14, "unreachable")


@on("weed")
def test_a_mount_that_dies_during_a_sync_ends_it_as_unreachable(volume, work):
    revision = work.make(noise(12 * CHUNK))
    process = work.start(
        volume.host, "sync", work.bucket, volume.root, "--revision", revision, "--bandwidth-limit", "20MiB"
    )
    until(lambda: any(volume.path.glob(".modelberth/staging/m/*/snapshot/files/*")), process)
    os.killpg(volume.process.pid, signal.SIGKILL)
    refused(work.end(process), 14, "unreachable")


def test_a_mount_that_renames_onto_a_full_directory_is_refused_by_name_and_by_trial(host, work, tmp_path):
    volume = volumes.rclone(host, tmp_path)
    problem = refused(work.sync(volume, work.make(b"x")), 26, "unsupported")
    assert "fuse.rclone moves directories file by file" in problem
    assert visible(volume) == []
    program = (
        "from pathlib import Path; from modelberth.engine import filesystem;"
        f"filesystem._WITHOUT_RENAME = (); hidden = Path('{volume.root}/.modelberth'); hidden.mkdir(exist_ok=True);"
        "filesystem.refuse_unsuitable(hidden)"
    )
    done = subprocess.run(host.inside([sys.executable, "-c", program]), capture_output=True, text=True, check=False)
    assert "it renames a directory onto one that is not empty" in done.stderr
    volume.unmount()


def test_two_hosts_on_one_network_file_system_stage_one_revision_and_tear_none(host, other_host, filer, work, tmp_path):
    ours = volumes.weed(host, tmp_path, filer, "one", "/two-hosts")
    theirs = volumes.weed(other_host, tmp_path, filer, "other", "/two-hosts")
    revision = work.make(noise(3 * CHUNK))
    both = [work.start(one.host, "sync", work.bucket, one.root, "--revision", revision) for one in (ours, theirs)]
    done = [ok(work.end(process)) for process in both]
    for volume in (theirs, ours):
        for snapshot in visible(ours):
            ok(work.proof(volume, "verify", revision, "--snapshot", snapshot))
    assert {one["snapshot"] for one in done} <= set(visible(ours)) == set(visible(theirs))
    # The second one waited for the lock, though neither mount's O_EXCL nor flock excludes the other.
    assert sorted(one["bytes_fetched"] for one in done) == [0, done[0]["bytes"]]
    assert list((ours.path / ".modelberth/lock").iterdir()) == []
    for volume in (ours, theirs):
        volume.unmount()


STAGES = """
import sys
from pathlib import Path
from modelberth.core.manifest import Manifest
from modelberth.core.revision import Revision
from modelberth.engine.staging import Staging

root, model, manifest, revision, weights = sys.argv[1:]
(Path(root) / ".modelberth").mkdir()
run = Staging(Path(root), Revision.parse(revision), Manifest.parse(Path(manifest).read_bytes()))
files = run.manifest.files
number = [entry.path for entry in files].index(weights)

def bring(number, index):
    span = files[number].span(index)
    run.write(number, index, memoryview((Path(model) / files[number].path).read_bytes()[span.start : span.end]))

run.prepare()
run.missing()
bring(number, 1)
run.flush()
for other, entry in enumerate(files):  # more than get a flush each, and small
    if len(entry.chunks) == 1:
        bring(other, 0)
bring(number, 2)
run.flush()
print("noted", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_mount_had_in_its_memory_is_not_trusted_on_another_host(host, other_host, filer, work, tmp_path):
    """The kernel tells a FUSE process nothing of syncfs, so that makes nothing durable there."""
    ours = volumes.weed(host, tmp_path, filer, "one", "/killed")
    theirs = volumes.weed(other_host, tmp_path, filer, "other", "/killed")
    work.make(noise(3 * CHUNK))
    for number in range(33):
        (work.model / f"{number}.json").write_text(str(number))
    revision = work.upload()
    [manifest] = work.home.glob(f"bucket/m/revisions/{revision.rpartition(':')[2]}/manifest.json")
    process = subprocess.Popen(
        ours.host.inside([sys.executable, "-c", STAGES, ours.root, work.model, manifest, revision, WEIGHTS]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "noted\n"
    os.killpg(ours.process.pid, signal.SIGKILL)
    process.communicate()
    resumed = ok(work.sync(theirs, revision))
    assert tree(files(theirs, resumed)) == tree(work.model)
    assert resumed["bytes_reused"] > 2 * CHUNK
    theirs.unmount()
