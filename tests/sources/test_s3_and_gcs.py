"""Prefixes of object stores, on a real S3 and a real GCS server."""

import json
import uuid

import pytest

from model_files import CONTENT
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources.gcs import GcsPrefix
from modelberth.sources.s3 import S3Prefix


@pytest.fixture
def aws(connect, s3_endpoint):
    """Makes a connection to the S3 server."""

    def make(name="raw_s3", login="tester", endpoint=s3_endpoint, **changes):
        extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        return connect(name, conn_type="aws", **{"login": login, "password": f"{login}-secret", **changes}, extra=extra)

    return make


@pytest.fixture
def raw(bucket):
    """The model below a prefix of its own."""
    return bucket.put(CONTENT, f"raw-{uuid.uuid4().hex}/ä b")


def test_a_prefix_of_s3_is_the_revision_that_its_files_are(raw, aws, shipped):
    shipped(S3Prefix(raw, aws()), CONTENT)


def test_a_source_is_read_with_its_own_keys_and_never_with_the_buckets(s3, aws, fetched):
    s3.put_object(Bucket="other-bucket", Key="m/config.json", Body=b"{}")
    source = S3Prefix("s3://other-bucket/m", aws("theirs", "elsewhere"))
    found = source.resolve()
    assert fetched(source, found).code == 0
    wrong = fetched(S3Prefix("s3://other-bucket/m", aws("wrong", password="x")), found)
    assert (wrong.code, wrong.result["outcome"]) == (ExitCode.DENIED, "denied")


def test_the_version_is_the_same_until_an_object_changes(bucket, raw, aws):
    source = S3Prefix(raw, aws())
    before = source.resolve()
    assert source.resolve() == before
    bucket.put({"config.json": b"[]"}, raw.partition("://")[2].partition("/")[2])
    assert source.resolve().name != before.name


def test_an_object_that_is_replaced_after_it_was_resolved_is_not_uploaded(bucket, raw, aws, fetched):
    source = S3Prefix(raw, aws())
    found = source.resolve()
    bucket.put({"config.json": b"[]"}, raw.partition("://")[2].partition("/")[2])
    ran = fetched(source, found)
    assert (ran.code, ran.result["outcome"]) == (ExitCode.CHANGED, "changed")
    assert "config.json" in ran.problem


def test_directories_that_a_console_made_are_kept_if_empty(bucket, aws, shipped):
    url = bucket.put({**CONTENT, "": b"", "sub/": b"", "1/": b"", "a/b/": b"", "a/": b""}, f"raw-{uuid.uuid4().hex}")
    shipped(S3Prefix(url, aws()), CONTENT, ["1", "a/b"])


def test_neighbours_whose_names_begin_alike_are_not_in_it(bucket, aws, shipped):
    prefix = f"raw-{uuid.uuid4().hex}"
    bucket.put({"x": b"other"}, f"{prefix}-2")
    shipped(S3Prefix(bucket.put(CONTENT, prefix), aws()), CONTENT)


REFUSED = {
    "nothing there": ("s3://models/nothing-here", {}, ExitCode.NOT_FOUND, "No object lies below"),
    "no bucket": ("s3://no-such-bucket/x", {}, ExitCode.NOT_FOUND, "No such bucket"),
    "wrong keys": ("s3://models/x", {"password": "wrong"}, ExitCode.DENIED, "SignatureDoesNotMatch"),
    "no rights": ("s3://models/x", {"login": "elsewhere"}, ExitCode.DENIED, "AccessDenied"),
    "a dead server": ("s3://models/x", {"endpoint": "http://127.0.0.1:9"}, ExitCode.UNREACHABLE, "could not be asked"),
}


@pytest.mark.parametrize(("url", "changes", "code", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_prefix_of_s3_is_said(s3, aws, url, changes, code, problem):
    with pytest.raises(Failure) as refused:
        S3Prefix(url, aws(**changes)).resolve()
    assert refused.value.code is code
    assert problem in str(refused.value)
    assert url in str(refused.value)
    assert "-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "problem"), [(".modelberth/x", "the reserved part '.modelberth'"), ("CONFIG.json", "differ only by case")]
)
def test_keys_that_no_model_may_have_are_named(bucket, aws, key, problem):
    url = bucket.put({"config.json": b"{}", key: b"x"}, f"raw-{uuid.uuid4().hex}")
    with pytest.raises(Failure, match=problem) as refused:
        S3Prefix(url, aws()).resolve()
    assert refused.value.code is ExitCode.REFUSED


def test_a_connection_that_is_not_there_is_named():
    for ask in (S3Prefix("s3://models/x", "nobody").resolve, S3Prefix("s3://models/x", "nobody").credentials):
        with pytest.raises(Failure, match="no connection 'nobody'"):
            ask()


def test_a_fetch_list_that_was_exchanged_in_the_bucket_is_not_followed(bucket, raw, aws, fetched, monkeypatch):
    source = S3Prefix(raw, aws())
    found = source.resolve()
    put = bucket.client.put_object
    exchanged = found.held.dump().replace(b"config.json", b"konfig.json")
    monkeypatch.setattr(bucket.client, "put_object", lambda **said: put(**said | {"Body": exchanged}))
    ran = fetched(source, found)
    assert (ran.code, ran.result["outcome"]) == (ExitCode.MISMATCH, "mismatch")
    assert "was exchanged" in ran.problem
    assert not [name for name in bucket.names() if "/fetch/" not in name]


def test_a_fetch_list_that_is_not_in_the_bucket_is_not_found(bucket, program):
    ran = program("upload", f"sha256:{'0' * 64}", bucket.url, "--model", "minilm")
    assert (ran.code, "resolve the source again" in ran.problem) == (ExitCode.NOT_FOUND, True)


# Google Cloud Storage. ------------------------------------------------------------------------------------------------


@pytest.fixture
def google(connect):
    return connect("raw_gcs", conn_type="google_cloud_platform", extra={"is_anonymous": True, "project": "test"})


def put(gcs, files):
    for path, data in files.items():
        gcs.blob(f"raw/{path}").upload_from_string(data)
    return f"gs://{gcs.name}/raw"


def test_a_prefix_of_gcs_is_the_revision_that_its_files_are(gcs, google, gcs_endpoint, shipped, program):
    program.env["STORAGE_EMULATOR_HOST"] = gcs_endpoint
    found = shipped(GcsPrefix(put(gcs, CONTENT), google), CONTENT)
    assert {file.version.isdecimal() for file in found.held.files} == {True}


def test_an_object_of_gcs_that_is_replaced_is_another_version_and_not_uploaded(
    gcs, google, gcs_endpoint, fetched, program
):
    program.env["STORAGE_EMULATOR_HOST"] = gcs_endpoint
    source = GcsPrefix(put(gcs, CONTENT), google)
    found = source.resolve()
    put(gcs, {"config.json": b"[]"})
    assert source.resolve().name != found.name
    ran = fetched(source, found)
    assert ran.code in (ExitCode.NOT_FOUND, ExitCode.CHANGED), ran.result
    assert "config.json" in ran.problem


def test_what_is_wrong_with_a_prefix_of_gcs_is_said(gcs, google):
    with pytest.raises(Failure, match="No such bucket") as refused:
        GcsPrefix("gs://no-such-bucket/x", google).resolve()
    assert refused.value.code is ExitCode.NOT_FOUND
    with pytest.raises(Failure, match="No object lies below") as refused:
        GcsPrefix(f"gs://{gcs.name}/nothing", google).resolve()
    assert refused.value.code is ExitCode.NOT_FOUND


def test_a_google_connection_lends_its_key_and_says_when_it_has_none(connect):
    key = {"type": "service_account", "client_email": "a@b.c"}
    name = connect("keyed", conn_type="google_cloud_platform", extra={"keyfile_dict": json.dumps(key)})
    lent = GcsPrefix("gs://x/y", name).credentials()
    assert json.loads(lent["MODELBERTH_FETCH_GOOGLE_CREDENTIALS"]) == key
    name = connect("keyless", conn_type="google_cloud_platform", extra={})
    with pytest.raises(Failure, match="no key file"):
        GcsPrefix("gs://x/y", name).credentials()
