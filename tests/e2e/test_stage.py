"""stage_<service> in a real Airflow: mapped pods in the claim's pool, and a table of what became of each version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from mlflow_server import mlflow_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_client import Run
    from conftest import Stand

NAME = "staged"
DAG = f"stage_{NAME}"


def put(stand: Stand, files: dict[str, bytes], folder: str = f"registry/{NAME}") -> None:
    for path, data in files.items():
        stand.s3.put_object(Bucket=stand.bucket, Key=f"{folder}/{path}", Body=data)


def versions(stand: Stand, run: Run) -> dict[tuple[str, str], Any]:
    """Return the tasks of the versions that a run brought, by step and by what the UI calls them."""
    rows = stand.admin.get(f"{run.path}/taskInstances", limit=100)["task_instances"]
    return {
        (row["task_id"].removeprefix("version."), row["rendered_map_index"]): row
        for row in rows
        if row["task_id"].startswith("version.") and row["map_index"] >= 0
    }


def overlapping(rows: list[Any]) -> int:
    """Return how many of *rows* ran at the same time at most."""
    spans = [(row["start_date"], row["end_date"]) for row in rows]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


@pytest.fixture
def tracking(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A tracking server with one tagged version, ``three 1``, and Airflow's connection to it."""
    keys = {"AWS_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"]}
    put(stand, {"model.bin": os.urandom(50_000)}, "mlflow")
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), os.environ["S3_ENDPOINT_URL"], keys) as server:
        stand.admin.send("POST", "connections", server.connection | {"connection_id": "tracking"})
        server.register("three")
        server.version("three", f"s3://{stand.bucket}/mlflow", {"service": NAME})
        yield


@pytest.mark.usefixtures("tracking")
def test_registries_bring_their_versions_by_themselves_and_then_leave_them_alone(stand):
    folders = [f"{model} {version}" for model in ("one", "two") for version in ("v1", "v2")]
    names = [*folders, "three 1"]
    put(stand, {f"{name.replace(' ', '/')}/model.bin": os.urandom(50_000) for name in folders})
    put(stand, {"Not_A_Label/v1/model.bin": b"x"})
    store = {"url": f"s3://{stand.bucket}/models", "connection": "modelberth_s3"}
    stage = {
        "registry": [
            {"type": "s3", "url": f"s3://{stand.bucket}/registry", "connection": "modelberth_s3"},
            {"type": "mlflow", "connection": "tracking", "artifacts": "modelberth_s3"},
        ],
        "bucket": store,
        "receipts": {"url": f"s3://{stand.receipts}/receipts", "connection": "modelberth_receipts"},
    }
    stand.model(NAME, {}, {"stage": stage})
    stand.dag(DAG)
    (first,) = stand.admin.wait("The first run", lambda: stand.admin.runs(DAG), 60)
    assert stand.admin.wait_finished(first) == "failed", stand.story(first)
    brought = versions(stand, first)
    assert set(brought) == {(step, name) for step in ("fetch", "sync", "verify") for name in names}
    assert {row["state"] for row in brought.values()} == {"success"}, stand.story(first)
    pool = f"claim_modelberth_kubernetes_{stand.namespace}_models"
    assert {row["pool"] for row in brought.values()} == {pool}
    made = stand.admin.get(f"pools/{pool}")
    assert (made["slots"], made["include_deferred"]) == (2, True)
    assert overlapping(list(brought.values())) == 2
    log = stand.admin.log(first, "report")
    assert "0 present, 5 fetched, 0 waiting, 1 failed" in log
    assert "'Not_A_Label' is no DNS label" in log
    models = ("one", "two", "three")
    assert [len([*stand.claim.glob(f"{model}/*/READY.json")]) for model in models] == [2, 2, 1]

    stand.s3.delete_object(Bucket=stand.bucket, Key=f"registry/{NAME}/Not_A_Label/v1/model.bin")
    second = stand.admin.trigger(DAG)
    assert stand.admin.wait_finished(second) == "success", stand.story(second)
    assert versions(stand, second) == {}
    # What other models of this session left on the claim is unreferenced, and not this test's to count.
    counts = stand.admin.result(second, "report")
    assert counts | {"unreferenced": 0} == {"present": 5, "fetched": 0, "waiting": 0, "failed": 0, "unreferenced": 0}
    mine = [
        line
        for line in stand.admin.log(second, "report").splitlines()
        if line.startswith(tuple(f"| {model} " for model in models))
    ]
    assert [line.split("|")[3].strip() for line in mine] == ["present"] * 5
