"""Real servers that hold models, and the way from a source to a revision, as a release goes it.

``shipped`` resolves a source, puts the fetch list where a pod finds it, and runs the pod's program with nothing but
what the pod would have: the bucket's credentials and those that the source lends.
"""

import json
import os
import shutil
import uuid
from dataclasses import dataclass

import boto3
import pytest
from google.cloud import storage

from mlflow_server import mlflow_server
from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.fetchlist import FetchList
from modelberth.core.layout import BucketUrl
from modelberth.engine import transport
from program import Program
from store_servers import KEYS, gcs_server, s3_server


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(autouse=True)
def _airflow(airflow_home, monkeypatch):
    """Airflow of its own, and nothing of whoever runs the tests; for these tests only, since others follow."""
    monkeypatch.setenv("AIRFLOW_HOME", str(airflow_home))
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "HF_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.05)


@pytest.fixture
def connect(monkeypatch):
    """Makes an Airflow connection."""

    def make(name, **connection):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        return name

    return make


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url


@pytest.fixture(scope="session")
def gcs_endpoint(tmp_path_factory):
    with gcs_server(tmp_path_factory.mktemp("gcs")) as url:
        yield url


@dataclass
class Bucket:
    """The model's own bucket, to which everything is uploaded."""

    client: object
    name: str
    url: str
    env: dict[str, str]

    def names(self):
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=BucketUrl.parse(self.url).prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def put(self, files, prefix):
        for path, data in files.items():
            self.client.put_object(Bucket=self.name, Key=f"{prefix}/{path}", Body=data)
        return f"s3://{self.name}/{prefix}"


@pytest.fixture(scope="session")
def s3(s3_endpoint):
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, region_name="us-east-1", aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    for name in ("models", "other-bucket"):
        client.create_bucket(Bucket=name)
    return client


@pytest.fixture
def bucket(s3, s3_endpoint):
    url = f"s3://models/{uuid.uuid4().hex}"
    return Bucket(s3, "models", url, KEYS | {"AWS_ENDPOINT_URL": s3_endpoint})


@pytest.fixture
def gcs(gcs_endpoint, monkeypatch):
    """A bucket of Google's to read from."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    anybody = storage.client.AnonymousCredentials()
    client = storage.Client("test", anybody, client_options={"api_endpoint": gcs_endpoint})
    return client.create_bucket(f"source-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def mlflow(s3, s3_endpoint, tmp_path_factory):
    """A tracking server with nothing in it."""
    s3.create_bucket(Bucket="mlflow")
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), s3_endpoint, KEYS) as server:
        yield server


@pytest.fixture
def store(connect, s3_endpoint):
    """The connection to S3."""
    extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    login = {"login": KEYS["AWS_ACCESS_KEY_ID"], "password": KEYS["AWS_SECRET_ACCESS_KEY"]}
    return connect("mlflow_s3", conn_type="aws", **login, extra=extra)


@pytest.fixture
def local(tmp_path):
    """Writes a model into a directory."""

    def make(files, empty_dirs=()):
        root = tmp_path / uuid.uuid4().hex
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        for path in empty_dirs:
            (root / path).mkdir(parents=True)
        return root

    yield make
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def program(bucket, tmp_path):
    """Runs the program with the bucket's credentials and what else is given."""
    return Program(bucket.env | {"MODELBERTH_TERMINATION_LOG": str(tmp_path / "absent")})


@pytest.fixture
def fetched(bucket, program):
    """Brings a version of a source into the bucket, and returns how the program ended."""

    def run(source, version, *more, **env):
        assert isinstance(version.held, FetchList)
        data = version.held.dump()
        digest = Digest.of(data)
        key = BucketUrl.parse(bucket.url).key(layout.fetch_list_key("minilm", digest))
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data)
        name = f"u-{uuid.uuid4().hex}"
        lent = dict(source.credentials())
        words = ("upload", digest, bucket.url, "--model", "minilm", "--upload", name)
        return program(*words, *more, **lent, **env)

    return run


@pytest.fixture
def shipped(fetched, program, local):
    """Asserts that a source becomes the revision that the same files in a directory are."""

    def run(source, files, empty_dirs=(), version=""):
        found = source.resolve(version)
        ran = fetched(source, found)
        assert ran.code == 0, ran.result
        expected = program("manifest", local(files, empty_dirs)).result["digest"]
        assert ran.result["revision"] == f"minilm@{expected}"
        assert (found.files, found.bytes) == (len(files), sum(map(len, files.values())))
        assert ran.result["fetch_list"] == str(Digest.of(found.held.dump()))
        return found

    return run
