"""What goes wrong is found, named once and clearly, and leaves nothing visible."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.engine import sync as syncing
from modelberth.engine import transport
from modelberth.engine.bucket import find_location
from modelberth.engine.stopping import Stop
from modelberth.engine.stores import open_store
from modelberth.engine.stores.file import FileStore

MODEL = "model.safetensors"


@pytest.fixture
def uploaded(model, bucket, modelberth):
    return modelberth.upload(model, bucket).result


@pytest.fixture
def synced(uploaded, bucket, modelberth, claim):
    ran = modelberth("sync", bucket.url, claim, "--revision", uploaded["revision"])
    assert ran.code == 0
    return ran.result


def sync(modelberth, bucket, claim, revision, *more):
    return modelberth("sync", bucket.url, claim, "--revision", revision, *more)


def visible(claim):
    return list((claim / "minilm").glob("*"))


def data_key(bucket, name=MODEL):
    return bucket.parsed.key("minilm", "data", "u1", name)


# In the bucket --------------------------------------------------------------------------------------------------------


def flip(data, position):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def forge_location(bucket, key, changes):
    """Do what a writer of the bucket can: make the location fit the object that was exchanged."""
    location = canonical.load(bucket.read(key))
    for item in location["files"]:
        if item["path"] == MODEL:
            item.update(changes)
            for gone in [name for name, value in item.items() if value is None]:
                del item[gone]
    bucket.replace(key, canonical.dump(location))


def test_a_corrupted_object_that_is_listed_as_another_one_is_refused_before_a_byte_is_fetched(
    uploaded, bucket, modelberth, claim
):
    data = bucket.read(data_key(bucket))
    bucket.replace(data_key(bucket), flip(data, 20_000_000))
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    assert "not the one that was uploaded" in ran.problem
    assert visible(claim) == []


def test_a_flipped_bit_is_found_on_arrival_even_if_the_location_was_forged_with_it(uploaded, bucket, modelberth, claim):
    data = bucket.read(data_key(bucket))
    bucket.replace(data_key(bucket), flip(data, 20_000_000))
    forge_location(bucket, uploaded["location"], {"etag": None, "version": None, "checksum": "AAAA"})
    if bucket.url.startswith("gs:"):
        from modelberth.engine.stores.gcs import GcsStore  # a listing there has the checksum, so forge that too

        os.environ.update(bucket.env)
        checksum = GcsStore(bucket.parsed).head(data_key(bucket)).checksum
        forge_location(bucket, uploaded["location"], {"checksum": checksum})
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran
    assert f"Digest mismatch in '{MODEL}' chunk 3" in ran.problem
    assert "upload the model again" in ran.problem
    assert visible(claim) == []


def test_a_truncated_object_is_a_mismatch(uploaded, bucket, modelberth, claim):
    data = bucket.read(data_key(bucket))
    bucket.replace(data_key(bucket), data[:-1])
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert ran.result["outcome"] == "mismatch"
    assert visible(claim) == []


def test_a_missing_object_is_incomplete_and_may_come_back(uploaded, bucket, modelberth, claim):
    data = bucket.read(data_key(bucket, "config.json"))
    bucket.delete(data_key(bucket, "config.json"))
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (11, "incomplete")
    assert "is missing from the bucket" in ran.problem
    assert visible(claim) == []
    assert data == b"{}"


MEANWHILE = {
    "replaced": (lambda bucket, key: bucket.replace(key, flip(bucket.read(key), 20_000_000)), 20, "mismatch"),
    "deleted": (lambda bucket, key: bucket.delete(key), 11, "incomplete"),
}


@pytest.mark.parametrize(("change", "code", "outcome"), MEANWHILE.values(), ids=MEANWHILE)
def test_what_happens_to_an_object_in_the_middle_of_a_sync_is_told_apart(
    uploaded, bucket, modelberth, claim, monkeypatch, change, code, outcome
):
    def meddled(*words):
        location = find_location(*words)
        change(bucket, data_key(bucket))
        return location

    monkeypatch.setattr(syncing, "find_location", meddled)
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (code, outcome), ran.result
    assert MODEL in ran.problem
    assert visible(claim) == []


def test_a_revision_without_location_is_incomplete(uploaded, bucket, modelberth, claim):
    bucket.delete(uploaded["location"])
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (11, "incomplete")


def test_any_location_that_answers_is_used(uploaded, bucket, modelberth, claim):
    broken = uploaded["location"].replace("u1.json", "u9.json")
    bucket.replace(broken, b'{"schema":1}')
    assert sync(modelberth, bucket, claim, uploaded["revision"]).code == 0


def test_a_location_that_leads_out_of_the_prefix_is_refused(uploaded, bucket, modelberth, claim):
    forge_location(bucket, uploaded["location"], {"key": "secrets/key.pem"})
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert "secrets/key.pem" in ran.problem


def test_a_manifest_that_is_not_the_revisions_is_a_mismatch(uploaded, bucket, modelberth, claim):
    key = uploaded["location"].partition("locations/")[0] + "manifest.json"
    bucket.replace(key, bucket.read(key).replace(b"config", b"konfig"))
    ran = sync(modelberth, bucket, claim, uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")


def test_a_hostile_manifest_with_the_right_digest_is_refused(bucket, modelberth, claim):
    hostile = canonical.dump({"schema": 1, "chunk_digest": "blake3", "chunk_size": 8388608,
                              "files": [{"path": "../../etc/cron.d/x", "size": 0, "chunks": []}]})  # fmt: skip
    digest = Digest.of(hostile)
    if bucket.url.startswith("file:"):
        (bucket.root / bucket.parsed.key("minilm", "revisions", digest.hex)).mkdir(parents=True)
    bucket.replace(bucket.parsed.key("minilm", "revisions", digest.hex, "manifest.json"), hostile)
    ran = sync(modelberth, bucket, claim, f"minilm@{digest}")
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert "'..'" in ran.problem
    assert list(claim.iterdir()) == []


def test_a_revision_that_the_bucket_does_not_have_is_not_found(bucket, modelberth, claim):
    ran = sync(modelberth, bucket, claim, "minilm@sha256:" + "0" * 64)
    assert (ran.code, ran.result["outcome"]) == (23, "not-found")
    assert list(claim.iterdir()) == []


@pytest.mark.parametrize("bucket", ["file", "s3"], indirect=True)
def test_a_damaged_object_is_not_copied_so_the_new_upload_is_whole(
    uploaded, bucket, model, modelberth, claim, monkeypatch
):
    damage_unseen(bucket, uploaded["location"])
    (model / "config.json").write_text("[]")
    second = modelberth.upload(model, bucket, "u2")
    assert (second.code, second.result["bytes_uploaded"] >= 25_000_000) == (0, True), second.result
    assert sync(modelberth, bucket, claim, second.result["revision"]).code == 0


def damage_unseen(bucket, location):
    """Exchange an object and make the location fit it, so that a copy of it is allowed."""
    bucket.replace(data_key(bucket), flip(bucket.read(data_key(bucket)), 20_000_000))
    os.environ.update(bucket.env)
    (listed,) = (
        open_store(bucket.parsed, Stop()).list(data_key(bucket))
        if bucket.url.startswith("s3:")
        else [FileStore(bucket.parsed).stored(bucket.root / data_key(bucket))]
    )
    forge_location(bucket, location, {"etag": listed.etag, "version": None})


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_copy_that_comes_out_as_other_bytes_says_so(uploaded, bucket, model, modelberth, monkeypatch):
    real = FileStore.copy

    def meddle(self, source, key):
        real(self, source, key)
        bucket.replace(key, b"somebody else's")
        return self.head(key)

    monkeypatch.setattr(FileStore, "copy", meddle)
    (model / "config.json").write_text("[]")
    ran = modelberth.upload(model, bucket, "u2")
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    assert "should be a copy of" in ran.problem


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_nothing_is_copied_from_outside_the_models_data(uploaded, bucket, model, modelberth, monkeypatch):
    monkeypatch.setattr(FileStore, "copy", lambda *_: pytest.fail("copied"))
    forge_location(bucket, uploaded["location"], {"key": "secrets/key.pem"})
    (model / "config.json").write_text("[]")
    assert modelberth.upload(model, bucket, "u2").result["bytes_copied"] == 0


def test_a_tampered_manifest_is_told_before_the_first_byte(uploaded, bucket, model, modelberth):
    key = uploaded["location"].partition("locations/")[0] + "manifest.json"
    bucket.replace(key, bucket.read(key).replace(b"config", b"konfig"))
    before = bucket.objects()
    for name in ("u1", "u2"):
        ran = modelberth.upload(model, bucket, name)
        assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran.result
        assert bucket.objects() == before


# On the claim ---------------------------------------------------------------------------------------------------------


def tamper(path):
    """Change a byte and put every time back that can be put back."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(17_000_000)
        byte = stream.read(1)
        stream.seek(17_000_000)
        stream.write(bytes([byte[0] ^ 0x80]))
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_tampered_file_is_found_by_verify_and_by_check_and_replaced_by_a_sync(synced, bucket, modelberth, claim):
    revision, path = synced["revision"], Path(synced["path"]) / "files" / MODEL
    verified = modelberth("verify", claim, "--revision", revision).result
    tamper(path)
    for ran in (
        modelberth("check", claim, "--revision", revision, "--stats", verified["stats"]),
        modelberth("check", claim, "--revision", revision),
        modelberth("verify", claim, "--revision", revision),
    ):
        assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
        assert f"File '{MODEL}', bytes 16" in ran.problem
        assert ran.result["problem_count"] == 1
        assert "Sync again" in ran.problem
    again = sync(modelberth, bucket, claim, revision)
    assert again.result["snapshot"] == synced["snapshot"].replace(".1", ".2")
    assert modelberth("verify", claim, "--revision", revision).code == 0
    assert modelberth("verify", claim, "--revision", revision, "--snapshot", synced["snapshot"]).code == 20


def test_a_touched_but_unchanged_file_is_read_again_and_no_other(synced, modelberth, claim):
    verified = modelberth("verify", claim, "--revision", synced["revision"]).result
    os.utime(Path(synced["path"]) / "files" / "config.json")
    ran = modelberth("check", claim, "--revision", synced["revision"], "--stats", verified["stats"])
    assert (ran.code, ran.result["rehashed_files"], ran.result["bytes_rehashed"]) == (0, 1, 2)


def test_a_snapshot_known_as_damaged_is_never_returned(synced, bucket, modelberth, claim):
    ran = sync(modelberth, bucket, claim, synced["revision"], "--damaged", synced["snapshot"])
    assert ran.result["snapshot"].endswith(".2")
    again = sync(modelberth, bucket, claim, synced["revision"], "--damaged", synced["snapshot"])
    assert (again.result["snapshot"], again.result["bytes_fetched"]) == (ran.result["snapshot"], 0)


STRAYS = {
    "a file too many": (lambda files: (files / "extra").write_text("x"), "File 'extra' is not in the manifest"),
    "a file too few": (lambda files: (files / "config.json").unlink(), "File 'config.json' is missing"),
    "a link": (lambda files: (files / "link").symlink_to("config.json"), "'link' is neither file nor directory"),
    "a directory too many": (lambda files: (files / "more").mkdir(), "Directory 'more' is not in the manifest"),
    "a directory too few": (lambda files: (files / "1").rmdir(), "Directory '1' is missing"),
    "a longer file": (lambda files: (files / "config.json").write_text("{ }"), "has 3 bytes; expected 2"),
    "an executable": (lambda files: (files / "config.json").chmod(0o755), "is executable"),
}


@pytest.mark.parametrize(("change", "problem"), STRAYS.values(), ids=STRAYS)
def test_whatever_the_manifest_does_not_name_is_found(s3, model, modelberth, claim, change, problem):
    revision = modelberth.upload(model, s3).result["revision"]
    files = Path(sync(modelberth, s3, claim, revision).result["path"]) / "files"
    for path in (files, *files.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    change(files)
    for command in ("check", "verify"):
        ran = modelberth(command, claim, "--revision", revision)
        assert ran.code == 20
        assert problem in ran.problem


def test_a_directory_without_a_ready_of_its_own_is_foreign_and_left_alone(model, bucket, modelberth, claim):
    revision = modelberth.upload(model, bucket).result["revision"]
    foreign = claim / "minilm" / (revision.partition("sha256:")[2] + ".1")
    (foreign / "files").mkdir(parents=True)
    (foreign / "files" / "mine").write_text("not yours")
    ran = modelberth("verify", claim, "--revision", revision)
    assert (ran.code, ran.result["outcome"]) == (24, "foreign")
    assert sync(modelberth, bucket, claim, revision).result["snapshot"].endswith(".2")
    assert (foreign / "files" / "mine").read_text() == "not yours"
    states = [item["state"] for item in modelberth("list", claim).result["models"][0]["snapshots"]]
    assert states == ["foreign", "ready"]


LINKS = ["", "files", "READY.json", "manifest.json"]


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
@pytest.mark.parametrize("name", LINKS)
def test_a_snapshot_with_a_link_in_it_is_foreign_and_passed_over(synced, bucket, modelberth, claim, name):
    snapshot = Path(synced["path"])
    snapshot.chmod(0o755)
    (snapshot / name).rename(claim.parent / "elsewhere")
    (snapshot / name).symlink_to(claim.parent / "elsewhere")
    assert_foreign(modelberth, bucket, claim, synced)


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
@pytest.mark.parametrize("name", ["READY.json", "manifest.json"])
def test_a_pipe_in_a_snapshot_is_foreign_and_not_waited_for(synced, bucket, modelberth, claim, name):
    snapshot = Path(synced["path"])
    snapshot.chmod(0o755)
    (snapshot / name).unlink()
    os.mkfifo(snapshot / name)
    assert_foreign(modelberth, bucket, claim, synced)


def assert_foreign(modelberth, bucket, claim, synced):
    verified = modelberth("verify", claim, "--revision", synced["revision"], "--snapshot", synced["snapshot"])
    assert (verified.code, verified.result["outcome"]) == (24, "foreign")
    assert sync(modelberth, bucket, claim, synced["revision"]).result["snapshot"].endswith(".2")
    states = [item["state"] for item in modelberth("list", claim).result["models"][0]["snapshots"]]
    assert states == ["foreign", "ready"]


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_snapshot_that_cannot_be_read_hides_no_other(synced, bucket, modelberth, claim, monkeypatch):
    from modelberth.engine import filesystem

    real = filesystem.open_regular

    def fail(path, *more):
        if synced["snapshot"] in str(path):
            raise OSError(5, "Input/output error", str(path))
        return real(path, *more)

    monkeypatch.setattr(filesystem, "open_regular", fail)
    assert sync(modelberth, bucket, claim, synced["revision"]).result["snapshot"].endswith(".2")
    states = [item["state"] for item in modelberth("list", claim).result["models"][0]["snapshots"]]
    assert states == ["foreign", "ready"]


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_tree_too_deep_to_walk_is_damage_and_no_traceback(synced, modelberth, claim):
    files = Path(synced["path"]) / "files"
    files.chmod(0o755)
    deep(files, 1200)
    ran = modelberth("verify", claim, "--revision", synced["revision"])
    subprocess.run(["rm", "-rf", files / "d"], check=True)  # too deep for shutil as well
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    assert "is not in the manifest" in ran.problem


def deep(directory, depth):
    here = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


# Bad input ------------------------------------------------------------------------------------------------------------


def test_a_missing_directory_is_not_found(bucket, modelberth, tmp_path):
    ran = modelberth.upload(tmp_path / "nowhere", bucket)
    assert (ran.code, ran.result["outcome"]) == (23, "not-found")
    assert "nowhere" in ran.problem
    assert bucket.names() == []


def test_an_empty_directory_is_refused(bucket, modelberth, tmp_path):
    (tmp_path / "empty" / "er").mkdir(parents=True)
    ran = modelberth.upload(tmp_path / "empty", bucket)
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert "holds no file" in ran.problem
    assert bucket.names() == []


def test_a_link_out_of_the_model_is_refused_unless_its_target_is_allowed(model, bucket, modelberth, tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "b").write_bytes(b"blob")
    (model / "linked").symlink_to(tmp_path / "blobs" / "b")
    ran = modelberth.upload(model, bucket)
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert "Link 'linked' leads out of the model" in ran.problem
    assert bucket.names() == []
    assert modelberth.upload(model, bucket, "u1", "--follow-links", tmp_path / "blobs").code == 0
    assert bucket.read(data_key(bucket, "linked")) == b"blob"


BAD_FILES = {
    "a link to nowhere": (lambda model: (model / "gone").symlink_to("nothing"), "leads nowhere"),
    "a link to its own directory": (lambda model: (model / "loop").symlink_to("."), "directory above itself"),
    "a pipe": (lambda model: os.mkfifo(model / "pipe"), "device, pipe or socket"),
    "a name with a newline": (lambda model: (model / "a\nb").touch(), "control character"),
    "a name that is not UTF-8": (lambda model: open(os.fsencode(model) + b"/\xff", "w").close(), "UTF-8"),  # noqa: PTH123
    "names that differ by case": (lambda model: (model / "CONFIG.json").touch(), "differ only"),
    "a tree of 600 directories": (lambda model: deep(model, 600), "at most 800 are accepted"),
    "our own name": (lambda model: (model / ".modelberth").mkdir(), "reserved"),
}


@pytest.mark.parametrize(("change", "problem"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_model_that_no_claim_could_hold_is_refused(model, s3, modelberth, change, problem):
    change(model)
    ran = modelberth.upload(model, s3)
    subprocess.run(["rm", "-rf", model], check=True)  # one of them is too deep for pytest's own clearing
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert problem in ran.problem
    assert s3.names() == []


ARGUMENTS = {
    "a revision without digest": ("sync", "file:///tmp", "/tmp", "--revision", "minilm"),
    "a short revision": ("verify", "/tmp", "--revision", "minilm@sha256:1234"),
    "a snapshot without number": ("verify", "/tmp", "--revision", "m@sha256:" + "0" * 64, "--snapshot", "0" * 64),
    "stats that are no digest": ("check", "/tmp", "--revision", "m@sha256:" + "0" * 64, "--stats", "x"),
    "a URL with half a bracket": ("sync", "s3://[x/p", "/tmp", "--revision", "m@sha256:" + "0" * 64),
    "a URL with a wide slash": ("sync", "s3://ab／c/p", "/tmp", "--revision", "m@sha256:" + "0" * 64),  # noqa: RUF001
    "fewer requests than one": (
        "sync",
        "file:///tmp",
        "/tmp",
        "--revision",
        "m@sha256:" + "0" * 64,
        "--concurrency",
        "-1",
    ),
    "no requests": ("sync", "file:///tmp", "/tmp", "--revision", "m@sha256:" + "0" * 64, "--concurrency", "0"),
    "more requests than a machine serves": (
        "sync",
        "file:///tmp",
        "/tmp",
        "--revision",
        "m@sha256:" + "0" * 64,
        "--concurrency",
        "10000",
    ),
    "another kind of URL": ("sync", "http://host/x", "/tmp", "--revision", "m@sha256:" + "0" * 64),
    "a model that is no label": ("upload", "/tmp", "file:///tmp", "--model", "Mini_LM"),
    "an upload that is a path": ("upload", "/tmp", "file:///tmp", "--model", "m", "--upload", "../x"),
    "a rate of nothing": (
        "sync",
        "file:///tmp",
        "/tmp",
        "--revision",
        "m@sha256:" + "0" * 64,
        "--bandwidth-limit",
        "0",
    ),
}


@pytest.mark.parametrize("words", ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_bad_value_is_refused(modelberth, words):
    assert modelberth(*words).code == 21


def test_a_missing_claim_is_not_found(modelberth, tmp_path):
    ran = modelberth("verify", tmp_path / "nowhere", "--revision", "m@sha256:" + "0" * 64)
    assert (ran.code, ran.result["outcome"]) == (23, "not-found")


CREDENTIALS = {
    "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 25, "was denied"),
    "an unknown key": ({"AWS_ACCESS_KEY_ID": "nobody"}, 25, "was denied"),
    "rights elsewhere": ({"AWS_ACCESS_KEY_ID": "elsewhere", "AWS_SECRET_ACCESS_KEY": "elsewhere-secret"}, 25, "denied"),
    "no server": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 14, "AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize(("env", "code", "problem"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_a_bucket_that_does_not_answer_is_named_with_the_reason(
    model, s3, modelberth, claim, env, code, problem, monkeypatch
):
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.05)
    revision = modelberth.upload(model, s3).result["revision"]
    for ran in (
        modelberth("upload", model, s3.url, "--model", "minilm", "--upload", "u2", **env),
        modelberth("sync", s3.url, claim, "--revision", revision, **env),
    ):
        assert ran.code == code
        assert problem in ran.problem
        assert s3.parsed.bucket in ran.problem
    assert list(claim.iterdir()) == []


def test_a_missing_bucket_is_not_found_and_not_made(s3, model, modelberth):
    ran = modelberth("upload", model, "s3://no-such-bucket/models", "--model", "minilm")
    assert (ran.code, ran.result["outcome"]) == (23, "not-found")
    assert "no-such-bucket" in ran.problem
    assert "no-such-bucket" not in {item["Name"] for item in s3.client.list_buckets()["Buckets"]}


def test_no_credentials_at_all_are_named_once_with_where_a_pod_gets_them(s3, model, modelberth, claim):
    revision = modelberth.upload(model, s3).result["revision"]
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    for ran in (
        modelberth("upload", model, s3.url, "--model", "minilm", "--upload", "u2", **env),
        modelberth("sync", s3.url, claim, "--revision", revision, **env),
    ):
        assert (ran.code, ran.result["outcome"], ran.result["problem_count"]) == (25, "denied", 1)
        for said in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "pods.bucket_secret", "workload identity"):
            assert said in ran.problem


def test_a_claim_that_cannot_be_written_is_denied(model, s3, modelberth, tmp_path):
    revision = modelberth.upload(model, s3).result["revision"]
    root = tmp_path / "read-only"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", root], check=True)
    try:
        ran = sync(modelberth, s3, root, revision)
    finally:
        subprocess.run(["umount", root], check=True)
    assert (ran.code, ran.result["outcome"]) == (25, "denied")
    assert "mounted for writing" in ran.problem


def test_a_claim_that_is_too_small_is_refused_before_the_first_byte(model, s3, modelberth, tmp_path):
    revision = modelberth.upload(model, s3).result["revision"]
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", root], check=True)
    try:
        ran = sync(modelberth, s3, root, revision)
        assert not list(root.rglob("model.safetensors"))
    finally:
        subprocess.run(["umount", root], check=True)
    assert (ran.code, ran.result["outcome"]) == (22, "no-space")


# Interrupted ----------------------------------------------------------------------------------------------------------


def test_sigterm_ends_within_seconds_keeps_what_arrived_and_frees_the_lock(uploaded, bucket, modelberth, claim):
    words = ("sync", bucket.url, claim, "--revision", uploaded["revision"])
    process = modelberth.start(*words, "--bandwidth-limit", "3MiB", "--concurrency", "2")
    deadline = time.monotonic() + 30
    while not list((claim / ".modelberth/staging").glob("*/*/journal/*")) and time.monotonic() < deadline:
        time.sleep(0.05)  # until something arrived and is noted
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ran = modelberth.end(process)
    assert time.monotonic() - asked < 10
    assert (ran.code, ran.result["outcome"]) == (10, "interrupted")
    assert not (claim / ".modelberth/lock/minilm").exists()
    assert visible(claim) == []
    resumed = modelberth(*words)
    assert resumed.code == 0
    assert 0 < resumed.result["bytes_fetched"] < resumed.result["bytes"]
    assert resumed.result["bytes_fetched"] + resumed.result["bytes_reused"] == resumed.result["bytes"]
    assert modelberth("verify", claim, "--revision", uploaded["revision"]).code == 0


def test_a_file_that_changes_while_it_is_sent_is_refused(model, s3, modelberth, monkeypatch):
    from modelberth.engine import describe

    real = describe.Digesting.take

    def meddle(self, start, view):
        value = real(self, start, view)
        if start >= 16_000_000:
            os.utime(model / MODEL)
        return value

    monkeypatch.setattr(describe.Digesting, "take", meddle)
    ran = modelberth.upload(model, s3)
    assert (ran.code, ran.result["outcome"]) == (27, "changed")
    assert f"{MODEL}' changed while it was read" in ran.problem
    assert not [key for key in s3.names() if "revisions" in key or key.endswith(MODEL)]
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.parsed.bucket, Prefix=s3.parsed.prefix)


def test_an_object_whose_first_answer_was_lost_is_recognised_as_ours(model, s3, modelberth, monkeypatch):
    from modelberth.engine.stores.s3 import S3Store

    real = S3Store.created

    def repeated(self, call):
        real(self, call)
        return real(self, call)  # as botocore does when the connection broke after the request was done

    monkeypatch.setattr(S3Store, "created", repeated)
    ran = modelberth.upload(model, s3)
    assert ran.code in (0, 14), ran.result  # a repeated join of parts is "no such upload": the same again goes on
    monkeypatch.undo()
    again = modelberth.upload(model, s3)
    assert (again.code, again.result["bytes_uploaded"]) == (0, 0)


def test_five_concurrent_syncs_make_one_snapshot(uploaded, bucket, modelberth, claim):
    words = ("sync", bucket.url, claim, "--revision", uploaded["revision"])
    ends = [modelberth.end(process) for process in [modelberth.start(*words) for _ in range(5)]]
    assert [ran.code for ran in ends] == [0] * 5, [ran.result for ran in ends]
    assert len(visible(claim)) == 1
    assert sorted(ran.result["bytes_fetched"] for ran in ends)[:4] == [0] * 4


def test_memory_stays_bounded(s3, modelberth, claim, tmp_path):
    big = tmp_path / "big"
    big.mkdir()
    with (big / "model.bin").open("wb") as stream:
        for _ in range(50):
            stream.write(os.urandom(2**20) * 8)
    revision = modelberth.upload(big, s3).result["revision"]
    for words in (("sync", s3.url, claim, "--revision", revision), ("verify", claim, "--revision", revision)):
        process = modelberth.start(*words)
        peaks = [0]
        while process.poll() is None:
            peaks.append(resident_peak(process.pid))
            time.sleep(0.02)
        assert modelberth.end(process).code == 0
        assert 20 * 2**20 < max(peaks) < 256 * 2**20


def resident_peak(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
