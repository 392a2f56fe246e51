"""The object stores check credentials, and pods' credentials reach no receipt."""

from __future__ import annotations

import http.client
import json
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

PROJECT = Path(__file__).parents[2]
sys.path.append(str(PROJECT / "include/local"))

from env import read_env  # noqa: E402
from settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = uuid.uuid4().hex[:8]
MODELS, RECEIPTS = f"modelberth-test-{NAME}", f"modelberth-receipts-{NAME}"


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    return read_env(Settings(PROJECT))


def client(env: dict[str, str], access: str, secret: str, **kwargs: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        **kwargs,
    )


@pytest.fixture(scope="module")
def airflow(env: dict[str, str]) -> Iterator[Any]:
    """Airflow's client, with a bucket for models and one for receipts, an object in each."""
    s3 = client(env, env["S3_ACCESS_KEY"], env["S3_SECRET_KEY"])
    for bucket in (MODELS, RECEIPTS):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="there", Body=b"x")
    yield s3
    for bucket in (MODELS, RECEIPTS):
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)


@pytest.fixture
def pods(env: dict[str, str], airflow: Any) -> Any:
    return client(env, env["S3_PODS_ACCESS_KEY"], env["S3_PODS_SECRET_KEY"])


OPERATIONS = {
    "read": lambda s3, bucket: s3.get_object(Bucket=bucket, Key="there"),
    "list": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    "write": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="new", Body=b"x"),
    "copy into": lambda s3, bucket: s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{MODELS}/there"),
    "copy out of": lambda s3, bucket: s3.copy_object(Bucket=MODELS, Key="copy", CopySource=f"{bucket}/there"),
    "begin a multipart upload": lambda s3, bucket: s3.create_multipart_upload(Bucket=bucket, Key="parts"),
    "delete": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key="new"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_pods_use_model_buckets(pods: Any, operation: str) -> None:
    OPERATIONS[operation](pods, MODELS)


@pytest.mark.parametrize("bucket", [RECEIPTS, "modelberth-receipts"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_pods_reach_no_receipt(pods: Any, operation: str, bucket: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        OPERATIONS[operation](pods, bucket)


@pytest.mark.parametrize(
    "operation",
    [
        lambda s3: s3.create_bucket(Bucket=f"modelberth-test-{NAME}-2"),
        lambda s3: s3.delete_bucket(Bucket=RECEIPTS),
        lambda s3: s3.put_bucket_policy(Bucket=RECEIPTS, Policy="{}"),
    ],
)
def test_pods_make_and_change_no_bucket(pods: Any, operation: Any) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        operation(pods)


def test_pods_do_not_see_that_there_are_receipts(pods: Any) -> None:
    names = {bucket["Name"] for bucket in pods.list_buckets()["Buckets"]}
    assert MODELS in names
    assert not [name for name in names if "receipts" in name]


def test_key_with_dots_does_not_leave_its_bucket(pods: Any) -> None:
    with pytest.raises(ClientError):
        pods.put_object(Bucket=MODELS, Key=f"../{RECEIPTS}/forged", Body=b"x")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_wrong_secret_is_refused(env: dict[str, str], airflow: Any, operation: str) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        OPERATIONS[operation](client(env, env["S3_ACCESS_KEY"], "wrong"), MODELS)


def test_unknown_key_is_refused(env: dict[str, str], airflow: Any) -> None:
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        OPERATIONS["read"](client(env, "nobody", "wrong"), MODELS)


def test_nobody_is_refused(env: dict[str, str], airflow: Any) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        OPERATIONS["read"](client(env, "", "", config=Config(signature_version=UNSIGNED)), MODELS)


def test_missing_bucket_is_not_made_by_writing_to_it(airflow: Any) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        airflow.put_object(Bucket=f"modelberth-test-{NAME}-none", Key="x", Body=b"x")


def test_gcs_keeps_what_is_uploaded(env: dict[str, str]) -> None:
    where = f"/upload/storage/v1/b/modelberth/o?uploadType=media&name=test-{NAME}"
    assert json.loads(gcs(env, "POST", where, b"bytes"))["size"] == "5"
    one = f"/storage/v1/b/modelberth/o/test-{NAME}"
    assert gcs(env, "GET", f"{one}?alt=media") == b"bytes"
    gcs(env, "DELETE", one)


def gcs(env: dict[str, str], method: str, path: str, body: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection(env["GCS_ENDPOINT_URL"].removeprefix("http://"), timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    assert answer.status in (200, 204)
    return answer.read()
