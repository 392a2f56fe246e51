"""What verify, check and list say of a claim, and what a sync makes of it."""

import errno
import json
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.manifest import Manifest
from modelberth.core.ready import Ready
from modelberth.engine import claim as claims
from modelberth.engine import filesystem, pagecache, sync
from modelberth.engine.filesystem import file_system_of
from modelberth.engine.verify import CACHED, DROPPED

MODEL = "model.safetensors"
pytestmark = pytest.mark.parametrize("bucket", ["file"], indirect=True)


class Synced:
    """A claim with one snapshot, and what somebody with a shell there could do."""

    def __init__(self, modelberth, bucket, claim, revision):
        self.program, self.bucket, self.claim, self.revision = modelberth, bucket, claim, revision
        self.first = self.sync()

    def sync(self, *more):
        return self.program("sync", self.bucket.url, self.claim, "--revision", self.revision, *more).result

    def run(self, command, *more):
        return self.program(command, self.claim, "--revision", self.revision, *more)

    @property
    def path(self):
        return Path(self.first["path"])

    @property
    def record(self):
        return self.claim / ".modelberth/damaged/minilm" / f"{self.first['snapshot']}.json"

    def entry(self, path):
        manifest = Manifest.parse((self.path / "manifest.json").read_bytes())
        return next(entry for entry in manifest.files if entry.path == path)

    def flip(self, *offsets):
        """Flip bits so that no quick look sees it: as a disk does that forgets."""
        path = self.path / "files" / MODEL
        path.chmod(0o644)
        with path.open("r+b") as stream:
            for offset in offsets:
                stream.seek(offset)
                (byte,) = stream.read(1)
                stream.seek(offset)
                stream.write(bytes([byte ^ 1]))
            os.fsync(stream.fileno())
        path.chmod(0o444)
        self.rewrite_ready()

    def rewrite_ready(self):
        ready = self.path / "READY.json"
        now = replace(Ready.parse(ready.read_bytes()), stats=claims.read_tree(self.path / "files").stats)
        self.path.chmod(0o755)
        ready.chmod(0o644)
        ready.write_bytes(now.dump())


@pytest.fixture
def synced(model, bucket, modelberth, claim):
    return Synced(modelberth, bucket, claim, modelberth.upload(model, bucket).result["revision"])


def best(path):
    """What a verify can claim at most there."""
    return CACHED if file_system_of(path) in ("tmpfs", "ramfs") else DROPPED


# How it was read. -----------------------------------------------------------------------------------------------------


def test_verify_drops_this_nodes_cache_and_says_that_nothing_came_from_it(synced):
    for path in (synced.path / "files").rglob("*"):
        if path.is_file():
            path.read_bytes()
    result = synced.run("verify").result
    assert result["how"] == best(synced.path)
    assert result["bytes_from_cache"] == (0 if result["how"] == DROPPED else result["bytes"])


def test_one_page_that_a_server_has_mapped_is_enough_to_claim_less(synced):
    page = 3 * mmap.PAGESIZE + CHUNK_SIZE
    with (
        (synced.path / "files" / MODEL).open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        assert mapped[page : page + 1]
        result = synced.run("verify").result
    assert result["how"] == CACHED
    assert 0 < result["bytes_from_cache"] <= result["bytes"]


def test_a_tmpfs_has_nothing_but_the_cache(model, bucket, modelberth):
    claim = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        synced = Synced(modelberth, bucket, claim, modelberth.upload(model, bucket).result["revision"])
        result = synced.run("verify").result
        assert (result["how"], result["bytes_from_cache"]) == (CACHED, result["bytes"])
    finally:
        subprocess.run(["chmod", "-R", "u+w", claim], check=True)
        shutil.rmtree(claim)


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("_pages", lambda *_: None),
        ("is_all_of_memory", lambda _: False),
        ("resident", lambda _: 0),
    ],
    ids=["mincore fails", "fuse", "what was read is not seen"],
)
def test_where_the_cache_cannot_be_counted_no_more_is_claimed_than_is_known(synced, monkeypatch, hook, answer):
    monkeypatch.setattr(pagecache, hook, answer)
    result = synced.run("verify").result
    assert (result["how"], result["bytes_from_cache"]) == (CACHED, None)


def test_a_file_whose_cache_was_not_dropped_is_not_said_to_be_without(synced, monkeypatch):
    troubled(monkeypatch, errno.EMFILE, MODEL)
    result = synced.run("verify").result
    assert (result["how"], result["bytes_from_cache"]) == (CACHED, None)


def test_a_limited_verify_keeps_to_its_rate(synced):
    for command in ("verify", "check"):
        began = time.monotonic()
        assert synced.run(command, "--bandwidth-limit", "20MiB", "--concurrency", "2").code == 0
        assert time.monotonic() - began >= 25_000_000 / (20 * 2**20)


@pytest.mark.parametrize("words", [("--concurrency", "0"), ("--concurrency", "65"), ("--bandwidth-limit", "fast")])
@pytest.mark.parametrize("command", ["verify", "check"])
def test_a_rate_or_number_that_is_none_is_refused(synced, command, words):
    assert synced.run(command, *words).code == 21


# What is on record. ---------------------------------------------------------------------------------------------------


def test_a_snapshot_on_record_is_never_returned_and_only_what_is_bad_is_fetched(synced, trees, model):
    span = synced.entry(MODEL).span(1)
    synced.flip(span.start + 5)
    assert synced.sync()["snapshot"] == synced.first["snapshot"], "the quick look should see nothing"
    ran = synced.run("verify")
    assert (ran.code, ran.result["recorded"], ran.result["problem_count"]) == (20, True, 1)
    assert ran.result["report"] == str(synced.record.relative_to(synced.claim))
    record = json.loads(synced.record.read_bytes())
    assert record["problems"] == [{"file": MODEL, "start": span.start, "length": span.length}]
    assert (record["snapshot"], record["revision"]) == (synced.first["snapshot"], synced.revision)
    assert record["node"] == ran.result["node"]
    again = synced.sync()
    assert again["snapshot"] == synced.first["snapshot"].replace(".1", ".2")
    assert again["bytes_fetched"] == span.length
    assert trees(Path(again["path"]) / "files") == trees(model)
    assert synced.sync()["snapshot"] == again["snapshot"]


def test_every_mismatch_is_named_at_once_and_neighbours_are_one_range_on_record(synced):
    entry = synced.entry(MODEL)
    spans = [entry.span(index) for index in (0, 1, 3)]
    synced.flip(*(span.start for span in spans))
    ran = synced.run("verify")
    assert ran.result["problem_count"] == 3
    for span in spans:
        assert f"File '{MODEL}', {span}: " in ran.problem
    assert json.loads(synced.record.read_bytes())["problems"] == [
        {"file": MODEL, "start": 0, "length": spans[0].length + spans[1].length},
        {"file": MODEL, "start": spans[2].start, "length": spans[2].length},
    ]


def test_check_and_list_know_what_is_on_record(synced):
    synced.flip(0)
    synced.run("verify")
    ran = synced.run("check")
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    assert "on record as damaged" in ran.problem
    (row,) = synced.program("list", synced.claim).result["models"][0]["snapshots"]
    assert row["state"] == "damaged"
    assert "on record as damaged" in row["problem"]


def test_damage_that_cannot_be_put_on_record_is_told_all_the_same(synced):
    synced.flip(0)
    place = synced.claim / ".modelberth/damaged"
    place.symlink_to(synced.claim)
    ran = synced.run("verify")
    assert (ran.code, ran.result["recorded"], ran.result["report"]) == (20, False, "the log")
    assert f"--damaged {synced.first['snapshot']}" in ran.problem
    assert not (synced.claim / "minilm" / synced.record.name).exists()


def test_a_claim_mounted_read_only_is_verified_without_a_record(synced):
    synced.flip(0)
    subprocess.run(["mount", "--bind", synced.claim, synced.claim], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", synced.claim], check=True)
        ran = synced.run("verify")
    finally:
        subprocess.run(["umount", synced.claim], check=True)
    assert (ran.code, ran.result["recorded"]) == (20, False)
    assert not synced.record.exists()


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"{"), Path.mkdir, lambda path: path.symlink_to("x")])
def test_what_is_no_record_but_lies_in_its_place_counts_as_one(synced, make):
    synced.record.parent.mkdir(parents=True)
    make(synced.record)
    assert synced.sync()["snapshot"] != synced.first["snapshot"]
    ran = synced.run("check", "--snapshot", synced.first["snapshot"])
    assert ran.code == 20
    assert "no record of ours" in ran.problem


def test_a_record_is_replaced_by_the_next_finding(synced):
    synced.flip(0)
    synced.run("verify")
    synced.flip(synced.entry(MODEL).span(2).start)
    synced.run("verify")
    assert len(json.loads(synced.record.read_bytes())["problems"]) == 2
    assert [path.name for path in synced.record.parent.iterdir()] == [synced.record.name]


def test_a_record_outlives_a_verify_that_finds_nothing(synced, caplog):
    synced.flip(0)
    synced.run("verify")
    synced.flip(0)
    ran = synced.run("verify")
    assert (ran.code, ran.result["recorded"]) == (0, True)
    assert "by hand" in caplog.text
    assert synced.sync()["snapshot"] != synced.first["snapshot"]
    synced.record.unlink()
    shutil.rmtree(synced.path.with_name(synced.first["snapshot"].replace(".1", ".2")))
    assert synced.sync()["snapshot"] == synced.first["snapshot"]


def test_the_record_of_a_snapshot_that_is_gone_hides_no_other(synced):
    synced.flip(0)
    synced.run("verify")
    shutil.rmtree(synced.path)
    again = synced.sync()
    assert again["snapshot"] == synced.first["snapshot"].replace(".1", ".2")
    assert again["bytes_fetched"] == again["bytes"]
    assert synced.sync()["bytes_fetched"] == 0
    assert synced.run("check").code == 0


TROUBLE = {errno.ESTALE: 14, errno.ETIMEDOUT: 14, errno.EMFILE: 14, errno.EACCES: 25}
may_pass = pytest.mark.parametrize(("number", "code"), TROUBLE.items(), ids=map(errno.errorcode.get, TROUBLE))


def troubled(patch, number, name, turn=1):
    """Let the file *name* not be opened when it is for the *turn*-th time."""
    real, met = filesystem.open_regular, []

    def opened(path, *how):
        if path.name == name:
            met.append(path)
            if len(met) == turn:
                raise OSError(number, os.strerror(number), str(path))
        return real(path, *how)

    patch.setattr(filesystem, "open_regular", opened)


@may_pass
def test_what_may_pass_ends_a_verify_and_puts_nothing_on_record(synced, monkeypatch, number, code):
    troubled(monkeypatch, number, MODEL, 2)  # first comes the cache
    ran = synced.run("verify")
    assert (ran.code, "recorded" in ran.result) == (code, False)
    assert MODEL in ran.problem
    assert not synced.record.exists()
    assert synced.run("verify").code == 0
    assert synced.sync()["snapshot"] == synced.first["snapshot"]


@may_pass
@pytest.mark.parametrize("name", ["READY.json", "config.json"])
def test_what_may_pass_makes_no_sync_stage_another_copy(synced, monkeypatch, name, number, code):
    (synced.path / "files/config.json").chmod(0o400)  # so that it is read again
    troubled(monkeypatch, number, name)
    found = synced.sync()
    assert (found["exit_code"], [path.name for path in synced.path.parent.iterdir()]) == (code, [synced.path.name])
    assert synced.sync()["snapshot"] == synced.first["snapshot"]


def test_what_may_pass_makes_no_verify_look_at_an_older_copy(synced, monkeypatch):
    newest = synced.sync("--damaged", synced.first["snapshot"])["snapshot"]
    troubled(monkeypatch, errno.ESTALE, "READY.json")
    assert synced.run("verify").code == 14
    assert synced.run("verify").result["snapshot"] == newest


# The quick proof. -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False], ids=["same bytes", "other bytes"])
def test_a_file_in_the_place_of_another_is_read_again_even_with_its_size_and_times(synced, same):
    stats = synced.run("verify").result["stats"]
    path = synced.path / "files/config.json"
    before = path.stat()
    path.parent.chmod(0o755)
    path.unlink()
    path.write_bytes(b"{}" if same else b"[]")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ran = synced.run("check", "--stats", stats)
    if same:
        assert (ran.code, ran.result["rehashed_files"], ran.result["bytes_rehashed"]) == (0, 1, 2)
    else:
        assert (ran.code, ran.result["problem_count"]) == (20, 1)
        assert "'config.json', bytes 0-2" in ran.problem


def test_what_verify_saw_is_not_read_again_and_anything_else_is(synced):
    verified = synced.run("verify").result
    assert synced.run("check", "--stats", verified["stats"]).result["bytes_rehashed"] == 0
    assert synced.run("check").result["bytes_rehashed"] == verified["bytes"]
    assert synced.run("check", "--stats", "sha256:" + "0" * 64).result["bytes_rehashed"] == verified["bytes"]


# What is there. -------------------------------------------------------------------------------------------------------


def test_a_claim_with_foreign_things_is_listed_nevertheless(synced):
    claim, other = synced.claim, "cd" * 32
    for name in ("lost+found", ".Trash-0", "minilm/notes", "empty", ".modelberth/staging/minilm/xyz"):
        (claim / name).mkdir(parents=True, exist_ok=True)
    (claim / os.fsdecode(b"\xff")).mkdir()
    (claim / "file").write_text("x")
    (claim / "minilm" / f"{other}.3").mkdir()
    (claim / "minilm" / f"{other}.4").write_text("x")
    (claim / "linked").symlink_to("/")
    os.mkfifo(claim / "pipe")
    ran = synced.program("list", claim)
    assert ran.code == 0
    assert [row["model"] for row in ran.result["models"]] == ["empty", "minilm"]
    states = {row["snapshot"]: row["state"] for row in ran.result["models"][1]["snapshots"]}
    assert states == {synced.first["snapshot"]: "ready", f"{other}.3": "foreign", f"{other}.4": "foreign"}
    assert ran.result["staging"] == []
    assert ran.result["bytes_free"] > 0


def test_what_is_being_staged_is_partial_with_what_is_durable_and_what_there_will_be(model, bucket, modelberth, claim):
    uploaded = modelberth.upload(model, bucket).result
    words = ("sync", bucket.url, claim, "--revision", uploaded["revision"])
    process = modelberth.start(*words, "--bandwidth-limit", "4MiB", "--concurrency", "1", "--json")
    for line in process.stdout:
        told = json.loads(line)
        if told["event"] == "progress" and told["bytes"] >= CHUNK_SIZE:
            break
    process.terminate()
    process.communicate(timeout=30)
    (row,) = modelberth("list", claim).result["staging"]
    assert (row["model"], row["state"], row["bytes_total"]) == ("minilm", "partial", uploaded["bytes"])
    assert f"minilm@{row['digest']}" == uploaded["revision"]
    assert 0 < row["bytes_durable"] < uploaded["bytes"]
    assert row["bytes"] > 0
    resumed = modelberth(*words).result
    assert resumed["bytes_fetched"] == uploaded["bytes"] - row["bytes_durable"]
    assert modelberth("list", claim).result["staging"] == []


def test_a_snapshot_that_is_found_damaged_while_the_lock_is_waited_for_is_not_returned(synced, monkeypatch):
    class Waited(sync.Lock):
        def __enter__(self):
            synced.record.parent.mkdir(parents=True)
            synced.record.write_text("{}")
            return super().__enter__()

    monkeypatch.setattr(sync, "Lock", Waited)
    monkeypatch.setattr(sync, "_undamaged", passed_over_once(sync._undamaged))
    found = synced.sync()
    assert (found["outcome"], found["snapshot"]) == ("ok", synced.first["snapshot"].replace(".1", ".2"))


def passed_over_once(real):
    """The first look comes before the snapshot does, as when another writer is about to publish it."""
    looks = []

    def look(*arguments):
        looks.append(arguments)
        return real(*arguments) if len(looks) > 1 else None

    return look
