import pytest

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.revision import Snapshot

DIGEST = Digest("0" * 64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://modelberth/models", BucketUrl("s3", "modelberth", "models")),
        ("s3://modelberth", BucketUrl("s3", "modelberth", "")),
        ("s3://modelberth/", BucketUrl("s3", "modelberth", "")),
        ("gs://modelberth/a/b", BucketUrl("gs", "modelberth", "a/b")),
        ("file:///srv/bucket", BucketUrl("file", "/srv/bucket", "")),
    ],
)
def test_the_url_of_a_bucket_is_read(text, expected):
    assert BucketUrl.parse(text) == expected
    assert BucketUrl.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models",
        "/srv/bucket",
        "http://host/models",
        "s3:///models",
        "s3://Bad_Bucket/x",
        "s3://user@bucket/x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3://bucket/x?y=1",
        "s3://bucket/x#y",
        "file://host/dir",
        "file:///",
        "file:///a/../b",
        "s3://b/x",
        "s3://bucket:80/x",
        "S3//bucket",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(Failure, match="Not the URL of a bucket"):
        BucketUrl.parse(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "-a", "a b", "é", "x" * 129, "a\n"])
def test_a_name_that_is_no_upload_is_refused(text):
    with pytest.raises(Failure, match="Not the name of an upload"):
        layout.upload_name(text)


def test_keys_and_paths_are_where_the_design_draws_them():
    url = BucketUrl.parse("s3://bucket/models")
    assert layout.data_key(url, "minilm", "u1", "a/b") == "models/minilm/data/u1/a/b"
    assert layout.manifest_key(url, "minilm", DIGEST) == f"models/minilm/revisions/{DIGEST.hex}/manifest.json"
    assert layout.location_key(url, "minilm", DIGEST, "u1") == f"models/minilm/revisions/{DIGEST.hex}/locations/u1.json"
    assert layout.data_key(BucketUrl.parse("s3://bucket"), "minilm", "u1", "a") == "minilm/data/u1/a"
    assert layout.snapshot_path("minilm", Snapshot(DIGEST, 2)) == f"minilm/{DIGEST.hex}.2"
    assert layout.staging_path("minilm", DIGEST) == f".modelberth/staging/minilm/{DIGEST.hex}"
    assert layout.lock_path("minilm") == ".modelberth/lock/minilm"
