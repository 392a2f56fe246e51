"""Our signatures are those of AWS' own signer."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import botocore.auth
import botocore.compat
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from modelberth.engine import sigv4
from modelberth.engine.sigv4 import Keys, Signer, query

NOW = datetime(2026, 11, 22, 17, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at(monkeypatch):
    monkeypatch.setattr(sigv4.time, "time", NOW.timestamp)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))


def theirs(url, token):
    request = AWSRequest(method="GET", url=url, headers={"Host": urlsplit(url).netloc})
    botocore.auth.S3SigV4Auth(Credentials("AKID", "secret", token), "s3", "eu-west-1").add_auth(request)
    return request.headers["Authorization"]


def ours(url, token):
    return Signer(lambda: Keys("AKID", "secret", token or ""), "eu-west-1").headers(url)["Authorization"]


URLS = [
    "https://bucket.s3.eu-west-1.amazonaws.com/models/minilm/data/u/model.safetensors",
    "http://127.0.0.1:8333/bucket/a%20b%2Bc%26d%3D%2520%23%3F.txt",
    "https://host/bucket/~user/%E6%A8%A1%E5%9E%8B/x",
    "https://host/b/o?versionId=3HL4kqtJlcpXroDTDmJ%2BrmSpXd3dIbrHY",
    "https://host/b/?" + query({"prefix": "a b/c+d", "list-type": "2", "continuation-token": "1/=+&"}),
]


@pytest.mark.parametrize("token", [None, "session-token=="])
@pytest.mark.parametrize("url", URLS)
def test_the_signature_is_the_one_that_aws_own_client_makes(url, token):
    assert ours(url, token) == theirs(url, token)


@given(st.dictionaries(st.text(min_size=1).filter(str.isprintable), st.text().filter(str.isprintable)))
def test_any_query_is_signed_as_aws_own_client_signs_it(values):
    url = f"https://host/b/?{query(values)}"
    assert ours(url, None) == theirs(url, None)
