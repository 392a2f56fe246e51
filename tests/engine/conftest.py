"""Real servers, models in the shapes that they come in, and the program as pods run it."""

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from google.cloud import storage

from lying_proxy import LyingProxy
from modelberth.core.layout import BucketUrl
from program import Program
from store_servers import KEYS, gcs_server, s3_server
from toxic import Toxic, toxiproxy


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url


@pytest.fixture(scope="session")
def gcs_endpoint(tmp_path_factory):
    with gcs_server(tmp_path_factory.mktemp("gcs")) as url:
        yield url


@pytest.fixture(scope="session")
def toxiproxy_api(tmp_path_factory):
    with toxiproxy(tmp_path_factory.mktemp("toxiproxy")) as url:
        yield url


@pytest.fixture
def toxic(toxiproxy_api, s3_endpoint):
    """A way to the S3 server that can be broken."""
    proxy = Toxic(toxiproxy_api, s3_endpoint)
    yield proxy
    proxy.delete()


@pytest.fixture
def liar(s3_endpoint):
    """A way to the S3 server on which answers can be exchanged."""
    with LyingProxy(s3_endpoint) as proxy:
        yield proxy


@dataclass
class Bucket:
    """A bucket, or a prefix, of its own for a test, and what somebody with a key to it could do there."""

    url: str
    env: dict[str, str]

    @property
    def parsed(self):
        return BucketUrl.parse(self.url)

    def names(self):
        return sorted(self.objects())


class S3Bucket(Bucket):
    @property
    def client(self):
        return boto3.client(
            "s3", endpoint_url=self.env["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def objects(self):
        paginator = self.client.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=self.parsed.bucket, Prefix=self.parsed.prefix)
        return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}

    def read(self, key):
        return self.client.get_object(Bucket=self.parsed.bucket, Key=key)["Body"].read()

    def replace(self, key, data):
        self.client.put_object(Bucket=self.parsed.bucket, Key=key, Body=data)

    def delete(self, key):
        self.client.delete_object(Bucket=self.parsed.bucket, Key=key)


class GcsBucket(Bucket):
    @property
    def bucket(self):
        return storage.Client(
            project="test", client_options={"api_endpoint": self.env["STORAGE_EMULATOR_HOST"]},
            credentials=storage.client.AnonymousCredentials(),
        ).bucket(self.parsed.bucket)  # fmt: skip

    def objects(self):
        return {blob.name: blob.generation for blob in self.bucket.list_blobs()}

    def read(self, key):
        return self.bucket.blob(key).download_as_bytes()

    def replace(self, key, data):
        self.bucket.blob(key).upload_from_string(data)

    def delete(self, key):
        self.bucket.blob(key).delete()


class FileBucket(Bucket):
    @property
    def root(self):
        return Path(self.parsed.bucket)

    def objects(self):
        return {
            str(path.relative_to(self.root)): path.stat().st_mtime_ns for path in self.root.rglob("*") if path.is_file()
        }

    def read(self, key):
        return (self.root / key).read_bytes()

    def replace(self, key, data):
        (self.root / key).unlink(missing_ok=True)
        (self.root / key).write_bytes(data)

    def delete(self, key):
        (self.root / key).unlink()


@pytest.fixture(scope="session")
def s3_bucket(s3_endpoint):
    """One for all tests, each with a prefix of its own: SeaweedFS sets volumes apart for each bucket and runs out."""
    bucket = S3Bucket(f"s3://test-{uuid.uuid4().hex[:12]}/x", KEYS | {"AWS_ENDPOINT_URL": s3_endpoint})
    bucket.client.create_bucket(Bucket=bucket.parsed.bucket)
    return bucket


def new_s3(request):
    shared = request.getfixturevalue("s3_bucket")
    return S3Bucket(f"s3://{shared.parsed.bucket}/{uuid.uuid4().hex}/models", shared.env)


def new_gcs(request):
    bucket = GcsBucket(
        f"gs://test-{uuid.uuid4().hex[:12]}/models",
        {"STORAGE_EMULATOR_HOST": request.getfixturevalue("gcs_endpoint")},
    )
    bucket.bucket.create()
    return bucket


def new_file(request):
    home = request.getfixturevalue("tmp_path") / "bucket"
    home.mkdir()
    return FileBucket(f"file://{home}", {})


@pytest.fixture
def s3(request):
    return new_s3(request)


@pytest.fixture(params=["file", "s3", "gcs"])
def bucket(request):
    return {"file": new_file, "s3": new_s3, "gcs": new_gcs}[request.param](request)


@pytest.fixture
def modelberth(request, tmp_path):
    """The program, with the environment of the test's bucket."""
    names = {"bucket", "s3"} & set(request.fixturenames)
    env = request.getfixturevalue(names.pop()).env if names else {}
    return Program(env | {"MODELBERTH_TERMINATION_LOG": str(tmp_path / "absent")})


@pytest.fixture
def claim(tmp_path):
    root = tmp_path / "claim"
    root.mkdir()
    yield root
    for directory, _, _ in os.walk(root):
        Path(directory).chmod(0o755)
    shutil.rmtree(root)


# The shapes that models come in. --------------------------------------------------------------------------------------


def safetensors(tensor_bytes, seed=1):
    header = json.dumps({"w": {"dtype": "U8", "shape": [tensor_bytes], "data_offsets": [0, tensor_bytes]}}).encode()
    return len(header).to_bytes(8, "little") + header + noise(tensor_bytes, seed)


def noise(size, seed=1):
    import random

    return random.Random(seed).randbytes(size)


SHAPES = {
    "one file": {"model.bin": b"weights"},
    "one byte over a chunk": {"model.bin": noise(8 * 2**20 + 1)},
    "several parts": {"model.bin": noise(30_000_000)},
    "empty file": {"model.bin": b"x", "__init__.py": b""},
    "only an empty file": {"marker": b""},
    "empty directory": {"1/": None, "config.pbtxt": b"name: 'm'", "a/b/c/": None},
    "deep tree": {"/".join("abcdefghijklmnop") + "/model.bin": b"deep", "a/model.bin": b"less"},
    "unicode names": {
        "模型/weights-é.bin": b"1",
        "ünï cödé/🤗.txt": b"2",
        "a b+c&d=%20#?.txt": b"3",
        "x;y,z'w\"v": b"4",
    },
    "many small files": {f"shard-{n // 20}/{n}.json": b"%d" % n for n in range(200)},
    "sharded safetensors": {f"model-{n}-of-3.safetensors": safetensors(9_000_000, n) for n in (1, 2, 3)},
    "executable": {"llamafile!": b"#!/bin/sh\n", "model.gguf": b"GGUF"},
    "names like ours": {"READY.json": b"{}", "manifest.json": b"{}", "files/files": b"f", "journal": b"j"},
}


def make(directory, content):
    for name, data in content.items():
        path = directory / name.rstrip("/!")
        if data is None:
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.endswith("!") else 0o644)
    return directory


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def shape(request, tmp_path):
    return make(tmp_path / "model", request.param)


def small_and_large(directory):
    """Small files and one of four chunks."""
    content = {"config.json": b"{}", "sub/vocab.txt": b"a\nb\n", "sub/none": b"", "1/": None}
    return make(directory, content | {"model.safetensors": safetensors(25_000_000)})


@pytest.fixture
def model(tmp_path):
    return small_and_large(tmp_path / "model")


@dataclass
class Shipped:
    """A model and its upload, which the tests of a module only read."""

    model: Path
    bucket: S3Bucket
    result: dict


@pytest.fixture(scope="module")
def shipped(request, tmp_path_factory):
    home, bucket = tmp_path_factory.mktemp("shipped"), new_s3(request)
    model = small_and_large(home / "model")
    program = Program(bucket.env | {"MODELBERTH_TERMINATION_LOG": str(home / "absent")})
    return Shipped(model, bucket, program.upload(model, bucket).result)


@pytest.fixture
def only_whole(modelberth):
    """Nothing is visible that is not whole: what is visible verifies."""

    def check(claim, revision):
        for path in (claim / "minilm").glob("*"):
            ran = modelberth("verify", claim, "--revision", revision, "--snapshot", path.name)
            assert ran.code == 0, ran.result

    return check


def tree(directory):
    """Everything below a directory that a manifest speaks of."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        if path.is_file()
        else None
        for path in directory.rglob("*")
    }


@pytest.fixture
def trees():
    return tree
