"""Where a bucket answers, and what its lists say, without a server."""

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.stores import s3_client, s3_reading
from modelberth.engine.stores.s3_reading import ElementTree


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


BASES = [
    ("us-east-1", "models", "https://models.s3.us-east-1.amazonaws.com/"),
    ("eu-south-1", "models", "https://models.s3.eu-south-1.amazonaws.com/"),
    ("il-central-1", "my.models", "https://s3.il-central-1.amazonaws.com/my.models/"),
    ("cn-north-1", "models", "https://models.s3.cn-north-1.amazonaws.com.cn/"),
]


@pytest.mark.parametrize(("region", "bucket", "base"), BASES)
def test_aws_is_asked_in_the_buckets_own_region(monkeypatch, region, bucket, base):
    monkeypatch.setenv("AWS_REGION", region)
    found = s3_reading._access(bucket)
    assert found.base == base
    assert found.signer.region == region


def test_another_server_is_asked_where_the_environment_says_whether_botocore_is_asked_or_not(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    alone = s3_reading._access("models")
    monkeypatch.setenv("AWS_PROFILE", "default")
    (s3_reading.Path.home() / ".aws").mkdir()
    (s3_reading.Path.home() / ".aws/config").write_text("[default]\nregion = eu-west-1\n")
    asked = s3_reading._access("models")
    assert alone.base == asked.base == "http://minio:9000/models/"
    assert (alone.signer.region, asked.signer.region) == ("us-east-1", "eu-west-1")
    assert alone.signer.keys() == asked.signer.keys()


CONFIGS = {
    "none": ("", False),
    "/dev/null": ("/dev/null", False),
    "one that is not there": ("$HOME/absent", False),
    "one that is named": ("$HOME/there", True),
    "one that is named from home": ("~/there", True),
}


@pytest.mark.parametrize(("named", "asked"), CONFIGS.values(), ids=CONFIGS)
def test_botocore_which_takes_longer_than_a_small_sync_is_asked_only_if_a_file_may_say_otherwise(
    monkeypatch, named, asked
):
    (s3_reading.Path.home() / "there").write_text("[default]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_CONFIG_FILE", named)
    assert s3_reading._access("models").signer.region == ("eu-west-1" if asked else "us-east-1")
    assert (s3_reading._from_environment("models", s3_reading.os.environ) is None) is asked


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "http://", "http://minio:99999"])
def test_an_endpoint_that_is_no_url_is_refused(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(Failure, match="No S3 client") as raised:
        s3_reading._access("models")
    assert raised.value.code is ExitCode.REFUSED


KEYLESS = [
    (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"), ExitCode.DENIED),
    (CredentialRetrievalError(provider="sso", error_msg="gone"), ExitCode.UNREACHABLE),
    (FileNotFoundError("token"), ExitCode.UNREACHABLE),
]


@pytest.mark.parametrize(("error", "code"), KEYLESS)
def test_a_role_that_gives_no_keys_is_no_fault_of_the_program(error, code):
    class Credentials:
        def get_frozen_credentials(self):
            raise error

    client = s3_client.new_client()
    client._request_signer._credentials = Credentials()
    with pytest.raises(Failure, match="No keys for 's3://models'") as raised:
        s3_client.credentials(client, "models")()
    assert raised.value.code is code


def page(encoding, key):
    said = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    item = f"<Contents><Key>{key}</Key><Size>1</Size><ETag>e</ETag></Contents>"
    return ElementTree.fromstring(f'<ListBucketResult xmlns="http://s3">{said}{item}</ListBucketResult>')


@pytest.mark.parametrize(
    ("encoding", "key", "found"), [("url", "a%2Bb+c%25", "a+b c%"), ("", "a+b%25", "a+b%25"), ("url", "plain", "plain")]
)
def test_keys_are_decoded_only_if_the_server_encoded_them(encoding, key, found):
    (item,) = s3_reading._listed(page(encoding, key))
    assert item.key == found
