"""Objects that are in a bucket already become a revision, without a copy."""

import json
import time
import uuid

import pytest

from modelberth.core import canonical


def put(bucket, directory, under):
    """Bring a model to a prefix as somebody else would; return the prefix's URL."""
    for path in directory.rglob("*"):
        if path.is_file():
            place(bucket, f"{under}/{path.relative_to(directory)}", path.read_bytes())
    return f"{bucket.url.partition('://')[0]}://{bucket.parsed.bucket}/{under}"


def place(bucket, key, data):
    if bucket.url.startswith("file:"):
        (bucket.root / key).parent.mkdir(parents=True, exist_ok=True)
    bucket.replace(key, data)


@pytest.fixture
def under():
    """A prefix beside the one of the revisions; the bucket is shared by all tests."""
    return f"raw-{uuid.uuid4().hex}/minilm"


@pytest.fixture
def there(model, bucket, under):
    (model / "1").rmdir()
    return put(bucket, model, under)


def adopt(modelberth, prefix, bucket, name="a1", *more):
    return modelberth("adopt", prefix, bucket.url, "--model", "minilm", "--upload", name, *more)


def test_objects_become_the_same_revision_as_an_upload_and_arrive(
    there, under, model, bucket, modelberth, claim, trees
):
    before = bucket.objects()
    ran = adopt(modelberth, there, bucket)
    assert (ran.code, ran.result["bytes_read"]) == (0, ran.result["bytes"]), ran.result
    assert modelberth("manifest", model).result["digest"] == ran.result["revision"].partition("@")[2]
    after = bucket.objects()
    assert {key: after[key] for key in before} == before
    assert all("revisions" in key for key in after.keys() - before.keys())
    location = canonical.load(bucket.read(ran.result["location"]))
    assert location["owned"] is False
    assert all(item["key"] == f"{under}/{item['path']}" for item in location["files"])
    assert all("etag" in item or "version" in item for item in location["files"])
    refused = modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"])
    assert (refused.code, "--adopted" in refused.problem) == (21, True)
    elsewhere = modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"], "--adopted", "raw")
    assert elsewhere.code == 21
    for prefix in (there, under):
        synced = modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"], "--adopted", prefix)
        assert synced.code == 0, synced.result
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(model)


def test_adopting_again_reads_nothing_until_something_changed(there, under, bucket, modelberth):
    first = adopt(modelberth, there, bucket)
    for name in ("a1", "a2"):
        again = adopt(modelberth, there, bucket, name)
        assert again.code == 0
        assert again.result == first.result | {"bytes_read": 0}
    place(bucket, f"{under}/config.json", b"[]")
    used = adopt(modelberth, there, bucket, "a1")
    assert (used.code, "was used for other objects" in used.problem) == (21, True)
    other = adopt(modelberth, there, bucket, "a2")
    assert (other.code, other.result["upload"]) == (0, "a2")
    assert other.result["revision"] != first.result["revision"]


def test_adopting_again_looks_whether_the_manifest_is_the_revisions(there, bucket, modelberth):
    adopt(modelberth, there, bucket)
    key = next(name for name in bucket.names() if name.endswith("/manifest.json"))
    bucket.replace(key, canonical.dump(canonical.load(bucket.read(key)) | {"chunk_digest": "sha256"}))
    other = adopt(modelberth, there, bucket)
    assert (other.code, other.result["outcome"]) == (20, "mismatch"), other.result
    bucket.delete(key)
    assert adopt(modelberth, there, bucket, "a2").result["upload"] == "a2"


def test_what_was_adopted_and_then_replaced_is_not_served(there, under, bucket, modelberth, claim):
    ran = adopt(modelberth, there, bucket)
    place(bucket, f"{under}/config.json", b"[]")
    synced = modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"], "--adopted", there)
    assert (synced.code, synced.result["outcome"]) == (20, "mismatch")


CHANGES = {
    "an object came": lambda bucket, under: place(bucket, f"{under}/new.json", b"{}"),
    "an object went": lambda bucket, under: bucket.delete(f"{under}/config.json"),
    "an object was replaced": lambda bucket, under: place(bucket, f"{under}/config.json", b"[]"),
    "the big one was replaced": lambda bucket, under: place(bucket, f"{under}/model.safetensors", b"x" * 25_000_082),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("moment", ["_digested", "_refuse_other_checksums"])
@pytest.mark.parametrize("bucket", ["s3", "gcs"], indirect=True)
def test_a_change_between_listing_and_end_is_found(there, under, bucket, modelberth, monkeypatch, change, moment):
    from modelberth.engine.adopt import _Adoption

    real = getattr(_Adoption, moment)

    def meddled(self, *more):
        change(bucket, under)
        return real(self, *more)

    monkeypatch.setattr(_Adoption, moment, meddled)
    ran = adopt(modelberth, there, bucket)
    assert (ran.code, ran.result["outcome"]) == (27, "changed"), ran.result
    assert not [key for key in bucket.names() if "revisions" in key]


def test_an_adoption_keeps_to_its_bandwidth(s3, model, under, modelberth):
    prefix, began = put(s3, model, under), time.monotonic()
    assert adopt(modelberth, prefix, s3, "a1", "--bandwidth-limit", "10MiB").code == 0
    assert time.monotonic() - began >= 25_000_000 / (10 * 2**20)


def test_versions_pin_where_the_bucket_has_them(s3, model, under, modelberth, claim, trees):
    """In a bucket of its own: versions are for all of its prefixes."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.client.create_bucket(Bucket=name)
    s3.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    bucket = type(s3)(f"s3://{name}/models", s3.env)
    prefix = put(bucket, model, under)
    ran = adopt(modelberth, prefix, bucket)
    location = canonical.load(bucket.read(ran.result["location"]))
    assert all(item["version"] for item in location["files"])
    assert modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"], "--adopted", prefix).code == 0


def test_a_checksum_of_the_store_that_the_bytes_do_not_have_is_a_mismatch(there, bucket, modelberth, monkeypatch):
    from modelberth.engine.hashing import Checksum

    if bucket.url.startswith("s3:"):  # what was put without a checksum has none there
        key = there.partition(f"{bucket.parsed.bucket}/")[2] + "/summed"
        bucket.client.put_object(Bucket=bucket.parsed.bucket, Key=key, Body=b"x", ChecksumAlgorithm="CRC64NVME")
    real = Checksum.of  # the store's own cannot be made wrong from outside: ours is
    monkeypatch.setattr(Checksum, "of", lambda self, view: real(self, view) ^ 1)
    ran = adopt(modelberth, there, bucket)
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran.result
    assert "is damaged in the bucket" in ran.problem


def test_markers_of_directories_are_empty_directories_or_nothing(s3, model, under, modelberth):
    prefix = put(s3, model, under)
    for key in ("", "1/", "sub/", "a/b/"):
        s3.replace(f"{under}/{key}", b"")
    ran = adopt(modelberth, prefix, s3)
    assert ran.code == 0, ran.result
    digest = ran.result["revision"].partition("sha256:")[2]
    manifest = json.loads(s3.read(s3.parsed.key("minilm", "revisions", digest, "manifest.json")))
    assert manifest["empty_dirs"] == ["1", "a/b"]
    assert adopt(modelberth, prefix, s3, "a2").result["bytes_read"] == 0


def test_keys_that_no_claim_could_hold_are_refused_and_all_named(s3, model, under, modelberth):
    prefix = put(s3, model, under)
    for key in ("CONFIG.json", "config.json/x", ".modelberth/x"):
        s3.replace(f"{under}/{key}", b"x")
    ran = adopt(modelberth, prefix, s3)
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert "reserved" in ran.problem
    s3.delete(f"{under}/.modelberth/x")
    ran = adopt(modelberth, prefix, s3)
    assert ran.code == 21
    assert all(problem in ran.problem for problem in ("differ only by case", "also the parent"))


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_prefix_that_is_elsewhere_or_holds_the_revisions_is_refused(there, bucket, modelberth):
    for prefix, problem in {
        "s3://another-bucket/raw": "another bucket",
        "gs://" + there.partition("://")[2]: "another bucket",
        bucket.url: "holds the place",
        f"s3://{bucket.parsed.bucket}": "holds the place",
    }.items():
        ran = adopt(modelberth, prefix, bucket)
        assert (ran.code, ran.result["outcome"]) == (21, "refused"), prefix
        assert problem in ran.problem


def test_a_prefix_without_objects_is_not_found(bucket, modelberth):
    ran = adopt(modelberth, f"{bucket.url}-none", bucket)
    if bucket.url.startswith("file:"):
        assert (ran.code, "another bucket" in ran.problem) == (21, True)
    else:
        assert (ran.code, ran.result["outcome"]) == (23, "not-found")


@pytest.mark.parametrize("words", [("--adopted", "/"), ("--adopted", "s3://b"), ("--adopted", "gs://b/x")])
def test_a_prefix_that_allows_everything_or_lies_elsewhere_is_refused(modelberth, claim, words):
    ran = modelberth("sync", "s3://b/x", claim, "--revision", "m@sha256:" + "0" * 64, *words)
    assert ran.code == 21


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_location_that_claims_to_own_what_was_adopted_is_refused(there, bucket, modelberth, claim):
    ran = adopt(modelberth, there, bucket)
    bucket.replace(
        ran.result["location"], bucket.read(ran.result["location"]).replace(b'"owned":false', b'"owned":true')
    )
    synced = modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"], "--adopted", there)
    assert (synced.code, synced.result["outcome"]) == (21, "refused")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_an_upload_of_what_was_adopted_brings_bytes_of_its_own(there, bucket, model, modelberth, claim):
    adopted = adopt(modelberth, there, bucket).result
    ran = modelberth.upload(model, bucket)
    assert (ran.result["revision"], ran.result["upload"]) == (adopted["revision"], "u1")
    assert ran.result["bytes_uploaded"] == ran.result["bytes"]
    assert modelberth("sync", bucket.url, claim, "--revision", adopted["revision"]).code == 0
