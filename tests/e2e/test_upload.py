"""An upload and its task: one that is lost leaves it to the next try, one that a person ends takes it along.

The way to the bucket is slow here, so that every upload is in the middle until ``let_go``: its one small file is there.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toxic import Toxic, toxiproxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_client import Run
    from conftest import Model, Stand

UPLOAD = "bucket.upload"
SMALL = {"config.json": b"{}"}
LARGE = {f"{part}.bin": os.urandom(4_000_000) for part in range(3)}
BY_HAND = ("failed", "success", "cleared")
"""What a person can do to a task that runs; Airflow deletes no run that does."""


@dataclass(frozen=True)
class Uploading:
    """A release in the middle of its upload."""

    model: Model
    run: Run

    def processes(self) -> set[int]:
        """Return the numbers of the processes that belong to the upload: the program and its keeper."""
        name = self.model.release_id(self.run)
        return {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if name in told(path)}

    def objects(self) -> dict[str, Any]:
        """Return when each file that is in the bucket was sent, by its key."""
        stand, prefix = self.model.stand, f"models/{self.model.name}/data/"
        found = stand.s3.list_objects_v2(Bucket=stand.bucket, Prefix=prefix).get("Contents", [])
        return {item["Key"]: item["LastModified"] for item in found}

    def ends(self, processes: set[int]) -> None:
        """Require that none of *processes* lives on."""
        wait = self.model.stand.admin.wait
        wait(f"The end of {self.model.name}'s upload", lambda: not processes & self.processes(), 30)


def told(cmdline: Path) -> str:
    """Return a process's command line, or nothing if it is gone."""
    try:
        return cmdline.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxic]:
    """The way to the bucket, at 20 kB/s a connection."""
    with toxiproxy(tmp_path_factory.mktemp("toxiproxy")) as api:
        proxy = Toxic(api, os.environ["S3_ENDPOINT_URL"])
        proxy.add("bandwidth", stream="upstream", rate=20)
        yield proxy


@pytest.fixture(scope="module")
def uploading(stand: Stand, slow: Toxic) -> dict[str, Uploading]:
    """A release for each thing that can happen."""
    ours = json.loads((stand.home / "airflow" / "connections.json").read_text())["modelberth_s3"]
    extra = json.dumps(json.loads(ours["extra"]) | {"endpoint_url": slow.url})
    stand.admin.send("POST", "connections", ours | {"connection_id": "slow_s3", "extra": extra})
    bucket = {"url": f"s3://{stand.bucket}/models", "connection": "slow_s3"}
    models = {name: stand.model(f"upload-{name}", SMALL | LARGE, bucket=bucket) for name in ("lost", *BY_HAND)}
    for model in models.values():
        stand.dag(model.dag_id)
    found = {name: Uploading(model, model.start()) for name, model in models.items()}
    for name, one in found.items():
        stand.admin.wait(f"The small file of {name}", one.objects, 120)
        assert len(one.objects()) == len(SMALL)
    return found


@pytest.mark.parametrize("how", BY_HAND)
def test_a_person_ends_it_with_its_task(stand: Stand, uploading: dict[str, Uploading], how: str) -> None:
    one = uploading[how]
    processes = one.processes()
    assert processes
    if how == "cleared":
        stand.admin.clear(one.run, UPLOAD)
    else:
        stand.admin.mark(one.run, UPLOAD, how)
    one.ends(processes)


def test_a_lost_task_leaves_it_running_and_the_next_try_joins_it(
    stand: Stand, uploading: dict[str, Uploading], slow: Toxic
) -> None:
    one = uploading["lost"]
    processes, sent = one.processes(), one.objects()
    kill(stand, one)
    stand.admin.wait("The next try", lambda: joined(one), 120)
    assert one.processes() == processes
    slow.remove("bandwidth")
    one.model.parked(one.run)
    assert one.model.receipt(one.run, "02-upload")["bytes_uploaded"] == size(SMALL | LARGE)
    assert one.objects().items() > sent.items()
    assert not one.processes()


@pytest.mark.parametrize("how", ["failed", "cleared"])
def test_what_a_person_ended_and_cleared_sends_the_rest_only(uploading: dict[str, Uploading], how: str) -> None:
    one = uploading[how]
    if how == "failed":
        sent = one.objects()
        one.model.stand.admin.clear(one.run, UPLOAD)
    one.model.parked(one.run)
    assert one.model.receipt(one.run, "02-upload")["bytes_uploaded"] == size(LARGE)
    if how == "failed":
        assert one.objects().items() > sent.items()


def kill(stand: Stand, one: Uploading) -> None:
    """End the upload's task as a worker's crash does."""
    pid = stand.admin.get(f"{one.run.path}/taskInstances/{UPLOAD}")["pid"]
    subprocess.run(stand.supervisor.capsule.enter(["kill", "-KILL", str(pid)]), check=True)


def joined(one: Uploading) -> bool:
    """Say whether a second try follows the upload of the first."""
    admin = one.model.stand.admin
    task = admin.get(f"{one.run.path}/taskInstances/{UPLOAD}")
    begun = task["try_number"] == 2 and task["state"] == "running"
    return begun and "still runs, started by an earlier try: this one joins it" in admin.log(one.run, UPLOAD)


def size(files: dict[str, bytes]) -> int:
    """Return how many bytes *files* have together."""
    return sum(map(len, files.values()))
