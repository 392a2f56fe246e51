"""What a source was found to be before is not read again, as long as the bucket has it whole."""

import pytest

from model_files import CONTENT
from modelberth.core.failure import ExitCode
from modelberth.sources.s3 import S3Prefix


@pytest.fixture
def uploaded(bucket, store, fetched):
    """A source that was uploaded, what it held, and its revision."""
    source = S3Prefix(bucket.put(CONTENT, f"{bucket.url.rpartition('/')[2]}/raw"), store)
    found = source.resolve()
    return source, found, fetched(source, found).result["revision"]


def remove(bucket, part):
    for key in bucket.names():
        if part in key:
            bucket.client.delete_object(Bucket=bucket.name, Key=key)


def test_nothing_is_read_of_what_is_known(uploaded, bucket, fetched):
    source, found, revision = uploaded
    remove(bucket, "/raw/")
    ran = fetched(source, found, "--known", revision)
    assert ran.code == 0, ran.result
    assert (ran.result["revision"], ran.result["files"]) == (revision, len(CONTENT))
    assert ran.result["bytes"] == sum(map(len, CONTENT.values()))
    assert (ran.result["bytes_uploaded"], ran.result["bytes_copied"]) == (0, 0)


def test_what_the_bucket_has_lost_is_read_again_though_it_is_known(uploaded, bucket, fetched):
    source, found, revision = uploaded
    remove(bucket, "/data/")
    ran = fetched(source, found, "--known", revision)
    assert (ran.code, ran.result["revision"]) == (0, revision)
    assert ran.result["bytes_uploaded"] == sum(map(len, CONTENT.values()))


def test_a_revision_of_another_model_is_refused(uploaded, fetched):
    source, found, revision = uploaded
    ran = fetched(source, found, "--known", revision.replace("minilm", "other"))
    assert ran.code == ExitCode.REFUSED
    assert "expected a revision of model 'minilm'" in ran.result["problems"][0]
