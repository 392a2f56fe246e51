"""A manifest of 100,000 entries, names that begin alike, and hostile documents in a real bucket."""

import resource
import shutil
import time
from pathlib import Path

import pytest
from blake3 import blake3

from hostile import corpus
from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.location import Location, Place
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision, Snapshot

MANY = 100_000


def manifest_of(count):
    return Manifest.of([Entry(f"{n // 1000:03}/{n:06}.json", 4096, (b"%032d" % n,)) for n in range(count)], [])


def seconds(work):
    began = time.process_time()
    work()
    return time.process_time() - began


def test_reading_a_manifest_takes_time_in_proportion_to_its_files():
    few, many = manifest_of(MANY // 10).dump(), manifest_of(MANY).dump()
    base = min(seconds(lambda: Manifest.parse(few)) for _ in range(3))
    assert seconds(lambda: Manifest.parse(many)) < 40 * base + 1  # ten times the files; in their square it were 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # KiB, of this whole test run


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_hundred_thousand_files_arrive_and_verify_in_bounded_memory_and_time(bucket, modelberth, claim, only_whole):
    """Put into the bucket by hand, most of them empty: what is proven is planning, not the disk."""
    digest = blake3(b"x").digest()
    entries = [Entry(f"{n // 1000:03}/{n:06}.json", int(n % 100 == 0), (digest,) * (n % 100 == 0)) for n in range(MANY)]
    manifest = Manifest.of(entries, [])
    revision, prefix = f"minilm@{manifest.digest}", "minilm/data/u1"
    places = [Place(entry.path, f"{prefix}/{entry.path}", entry.size, "AAAA") for entry in manifest.files]
    for place in places:
        put(bucket, place.key, b"x" * place.size)
    base = f"minilm/revisions/{manifest.digest.hex}"
    location = Location(Revision.parse(revision), "u1", tuple(places), "crc64nvme", True)
    put(bucket, f"{base}/locations/u1.json", location.dump())
    put(bucket, f"{base}/manifest.json", manifest.dump())
    process = modelberth.start("sync", bucket.url, claim, "--revision", revision)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_peak(process.pid))
        time.sleep(0.05)
    ran = modelberth.end(process)
    assert (ran.code, ran.result["files"]) == (0, MANY), ran.result
    assert 0 < peak < 768 * 2**20
    began = time.monotonic()
    again = modelberth("sync", bucket.url, claim, "--revision", revision)
    assert (again.code, again.result["bytes_fetched"]) == (0, 0)
    assert time.monotonic() - began < 60
    only_whole(claim, revision)


def resident_peak(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
@pytest.mark.parametrize("shared", [16, 63])
def test_names_that_begin_alike_are_never_taken_for_each_other(model, bucket, modelberth, claim, shared):
    """Digests with a common 64-bit prefix cannot be made; directories and keys that are named so can."""
    revision = modelberth.upload(model, bucket).result["revision"]
    whole = modelberth("sync", bucket.url, claim, "--revision", revision).result
    digest = Digest(Snapshot.parse(whole["snapshot"]).digest.hex)
    alike = digest.hex[:shared] + "".join("0" if digit != "0" else "1" for digit in digest.hex[shared:])
    other = f"minilm@sha256:{alike}"
    shutil.copytree(whole["path"], claim / f"minilm/{alike}.1")
    shutil.copytree(
        bucket.root / bucket.parsed.key("minilm", "revisions", digest.hex),
        bucket.root / bucket.parsed.key("minilm", "revisions", alike),
    )
    for words in (("verify", claim), ("check", claim)):
        ran = modelberth(*words, "--revision", other)
        assert (ran.code, ran.result["outcome"]) == (24, "foreign"), ran.result
    ran = modelberth("sync", bucket.url, claim, "--revision", other)
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran.result
    again = modelberth("sync", bucket.url, claim, "--revision", revision).result
    assert (again["snapshot"], again["bytes_fetched"]) == (whole["snapshot"], 0)
    assert modelberth("verify", claim, "--revision", revision).result["snapshot"] == whole["snapshot"]
    states = {item["snapshot"]: item["state"] for item in modelberth("list", claim).result["models"][0]["snapshots"]}
    assert states == {whole["snapshot"]: "ready", f"{alike}.1": "foreign"}


# Hostile documents in a bucket: the corpus' others are read by tests/unit/core/test_hostile.py ------------------------


def put(bucket, key, data):
    path = bucket.root / key
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    path.write_bytes(data)


SAMPLE = [(name, data) for name, data in corpus("manifest").items() if len(data) < 10**6][::8]


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_hostile_manifest_whose_digest_is_right_is_refused_and_nothing_is_made(bucket, modelberth, claim):
    for name, data in SAMPLE:
        digest = Digest.of(data)
        put(bucket, bucket.parsed.key("minilm", "revisions", digest.hex, "manifest.json"), data)
        ran = modelberth("sync", bucket.url, claim, "--revision", f"minilm@{digest}")
        assert (ran.code, ran.result["outcome"]) == (21, "refused"), (name, ran.result)
        assert list(claim.iterdir()) == []


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_hostile_location_is_refused_and_a_sound_one_beside_it_is_used(model, bucket, modelberth, claim):
    uploaded = modelberth.upload(model, bucket).result
    sound = bucket.read(uploaded["location"])
    for name, data in list(corpus("location").items())[::8]:
        put(bucket, uploaded["location"], data)
        ran = modelberth("sync", bucket.url, claim, "--revision", uploaded["revision"])
        assert (ran.code, ran.result["outcome"]) == (21, "refused"), (name, ran.result)
        assert list(claim.iterdir()) == []
    put(bucket, uploaded["location"].replace("u1.json", "a1.json"), sound)
    assert modelberth("sync", bucket.url, claim, "--revision", uploaded["revision"]).code == 0


LEADING_OUT = ["/etc/passwd", "../../../etc/passwd", "minilm/data/../../x", "minilm/revisions/x", "other/data/u1/x"]


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
@pytest.mark.parametrize("key", LEADING_OUT)
def test_a_location_whose_key_leads_out_is_refused(model, bucket, modelberth, claim, key):
    uploaded = modelberth.upload(model, bucket).result
    location = canonical.load(bucket.read(uploaded["location"]))
    location["files"][0]["key"] = key
    put(bucket, uploaded["location"], canonical.dump(location))
    ran = modelberth("sync", bucket.url, claim, "--revision", uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (21, "refused"), ran.result
    assert list(claim.iterdir()) == []


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_hostile_record_makes_its_snapshot_foreign_and_another_is_staged(model, bucket, modelberth, claim):
    revision = modelberth.upload(model, bucket).result["revision"]
    snapshot = Path(modelberth("sync", bucket.url, claim, "--revision", revision).result["path"])
    ready = snapshot / "READY.json"
    for name, data in list(corpus("ready").items())[::8]:
        ready.chmod(0o644)
        ready.write_bytes(data)
        ran = modelberth("verify", claim, "--revision", revision, "--snapshot", snapshot.name)
        assert (ran.code, ran.result["outcome"]) == (24, "foreign"), (name, ran.result)
    ran = modelberth("sync", bucket.url, claim, "--revision", revision)
    assert (ran.code, ran.result["snapshot"]) == (0, snapshot.name.replace(".1", ".2"))
