"""Syncs in real pods, as the operators start them, onto claims whose volumes are not the node's own disk."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import serving
from kubectl import kubectl
from kubernetes import client
from machine import machine
from settings import Settings

from modelberth.operators.pod import CLAIM, CONTAINER_SECURITY, NODE_NAME, POD_SECURITY, RESOURCES, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
MIB = 2**20
CHUNK = 8 * MIB
WEIGHTS = "model.bin"


@dataclass(frozen=True)
class Place:
    """A serving namespace whose claim lies on a file system of its own, and a bucket that its pods reach.

    :param inside: The volume as this process reaches it: it is mounted on the cluster's machine, and only there.
    """

    settings: Settings
    namespace: str
    bucket: str
    inside: Path
    home: Path

    def upload(self, *chunks: bytes) -> str:
        """Upload a model of *chunks*; return its revision."""
        model = self.home / "model"
        model.mkdir(exist_ok=True)
        (model / WEIGHTS).write_bytes(b"".join(chunks))
        words = ["-m", "modelberth.engine", "upload", str(model), self.bucket, "--model", "m"]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, env=keys())
        return json.loads(done.stdout.splitlines()[-1])["revision"]

    def run(self, *arguments: str, writes: bool = True) -> dict[str, Any]:
        """Run the program in a pod; return what its termination message says."""
        body = pod(arguments, writes=writes)
        where = f"--namespace={self.namespace}"
        kubectl(self.settings, "create", where, "--filename=-", stdin=json.dumps(body))
        deadline = time.monotonic() + 90
        while True:
            shown = kubectl(self.settings, "get", "pod", body["metadata"]["name"], where, "--output=json").stdout
            [status] = json.loads(shown)["status"].get("containerStatuses") or [{}]
            if ended := status.get("state", {}).get("terminated"):
                return json.loads(ended["message"])
            assert time.monotonic() < deadline, shown
            time.sleep(0.3)

    def sync(self, revision: str, *, writes: bool = True) -> dict[str, Any]:
        return self.run("sync", self.bucket, CLAIM, "--revision", revision, writes=writes)

    def proof(self, command: str, revision: str, *more: str) -> dict[str, Any]:
        return self.run(command, CLAIM, "--revision", revision, *more, writes=False)

    def visible(self) -> list[str]:
        return sorted(path.name for path in self.inside.glob("m/*"))


def keys() -> dict[str, str]:
    own = {"AWS_ACCESS_KEY_ID": "S3_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": "S3_SECRET_KEY"}
    return os.environ | {"AWS_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"], "AWS_REGION": "us-east-1"} | {
        name: os.environ[ours] for name, ours in own.items()
    }  # fmt: skip


def pod(arguments: tuple[str, ...], *, writes: bool) -> dict[str, Any]:
    """Build a pod as the operators do: a sync reaches the bucket and writes the claim, nothing else does either."""
    secret = client.V1SecretEnvSource(name=serving.BUCKET_SECRET)
    claim = client.V1PersistentVolumeClaimVolumeSource(claim_name=serving.CLAIM, read_only=not writes)
    container = client.V1Container(
        name="base",
        image=os.environ["MODELSYNC_IMAGE"],
        command=["modelberth"],
        args=list(arguments),
        env=[NODE_NAME],
        env_from=[client.V1EnvFromSource(secret_ref=secret)] if arguments[0] == "sync" else [],
        resources=RESOURCES,
        security_context=CONTAINER_SECURITY,
        volume_mounts=[client.V1VolumeMount(name="claim", mount_path=CLAIM, read_only=not writes)],
    )
    spec = client.V1PodSpec(
        restart_policy="Never",
        service_account_name="modelsync",
        automount_service_account_token=False,
        security_context=POD_SECURITY,
        containers=[container],
        volumes=[client.V1Volume(name="claim", persistent_volume_claim=claim)],
    )
    body = client.V1Pod(
        api_version="v1", kind="Pod", metadata=client.V1ObjectMeta(name=f"run-{uuid.uuid4().hex[:6]}"), spec=spec
    )
    return client.ApiClient().sanitize_for_serialization(body)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    name, env = f"modelberth-test-{uuid.uuid4().hex[:6]}", keys()
    s3 = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket=name)
    yield f"s3://{name}"
    for one in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=one["Key"])
    s3.delete_bucket(Bucket=name)


def mount(settings: Settings, namespace: str, home: Path, *make: str, size: int) -> Path:
    """Mount a new file system where the namespace's volume will be, on the cluster's machine, and return it.

    Its image has no name any more, and removing the folder, as is done with the namespace's, takes the mount away.
    """
    capsule, folder, image = machine(settings).capsule, serving.volume_folder(settings, namespace), home / "image"
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([*make, str(image)], check=True, capture_output=True)
    subprocess.run(capsule.enter(["mount", "-o", "loop", str(image), str(folder)]), check=True)
    image.unlink()
    inside = Path(f"/proc/{capsule.inner}/root{folder}")
    os.chown(inside, USER, USER)
    return inside


@contextmanager
def place(bucket: str, home: Path, *make: str, size: int) -> Iterator[Place]:
    settings, namespace = Settings(PROJECT), f"test-volume-{uuid.uuid4().hex[:6]}"
    try:
        inside = mount(settings, namespace, home, *make, size=size)
        serving.serving_namespace(settings, namespace)
        yield Place(settings, namespace, bucket, inside, home)
    finally:
        serving.delete_namespace(settings, namespace)


@pytest.fixture(scope="module")
def xfs(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("xfs")
    with place(bucket, home, "mkfs.xfs", "-q", "-m", "reflink=1", size=320 * MIB) as found:
        yield found


@pytest.fixture(scope="module")
def small_ext2(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("ext2")
    with place(bucket, home, "mkfs.ext2", "-q", "-F", "-m", "0", size=64 * MIB) as found:
        yield found


def test_pods_stage_and_prove_on_xfs_and_the_next_revision_shares_its_blocks(xfs: Place) -> None:
    one, two, three = (bytes([number]) * CHUNK for number in (1, 2, 3))
    first = xfs.sync(old := xfs.upload(one, two))
    assert (first["exit_code"], first["bytes_fetched"], first["file_system"]) == (0, 2 * CHUNK, "xfs"), first
    second = xfs.sync(new := xfs.upload(one, two, three))
    fetched_and_shared = [second[key] for key in ("bytes_fetched", "bytes_reused", "bytes_reflinked")]
    assert fetched_and_shared == [CHUNK, 2 * CHUNK, 2 * CHUNK], second
    for revision, synced, content in ((old, first, one + two), (new, second, one + two + three)):
        verified = xfs.proof("verify", revision)
        assert (verified["exit_code"], verified["snapshot"]) == (0, synced["snapshot"]), verified
        assert xfs.proof("check", revision, "--stats", verified["stats"])["bytes_rehashed"] == 0
        file = xfs.inside / "m" / synced["snapshot"] / "files" / WEIGHTS
        assert file.read_bytes() == content
        assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) == (0o444, USER)
    assert xfs.visible() == sorted((first["snapshot"], second["snapshot"]))


def test_a_pod_whose_claim_is_mounted_read_only_says_so_and_writes_nothing(xfs: Place) -> None:
    before = xfs.visible()
    done = xfs.sync(xfs.upload(b"another"), writes=False)
    assert (done["exit_code"], done["outcome"]) == (25, "denied"), done
    assert "Read-only file system" in done["problems"][0]
    assert xfs.visible() == before


def test_pods_say_what_a_small_volume_lacks_and_what_does_not_fit_on_it(small_ext2: Place) -> None:
    fits = small_ext2.sync(revision := small_ext2.upload(b"fits" * MIB))
    assert (fits["exit_code"], fits["file_system"], fits["lacks"]) == (0, "ext2", ["fallocate", "reflink"]), fits
    assert small_ext2.proof("verify", revision)["exit_code"] == 0
    too_large = small_ext2.sync(small_ext2.upload(os.urandom(8 * CHUNK)))
    assert (too_large["exit_code"], too_large["outcome"]) == (22, "no-space"), too_large
    assert "prune snapshots or enlarge the volume" in too_large["problems"][0]
    assert small_ext2.visible() == [fits["snapshot"]]
    # What the pods of a release ask next is answered all the same.
    assert small_ext2.run("list", CLAIM, writes=False)["exit_code"] == 0
