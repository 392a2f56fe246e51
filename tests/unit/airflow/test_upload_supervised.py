"""What Airflow's own supervisor does to an upload's task, when the API server says one thing or the other."""

import json
import os
import time
import uuid
from pathlib import Path

import httpx
import pytest
from airflow.executors.workloads import BundleInfo
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.sdk.api.client import Client
from airflow.sdk.execution_time import supervisor

from modelberth.operators import upload
from modelberth.operators.statefolder import StateFolder
from modelberth.sources.directory import Directory

PROJECT = Path(__file__).resolve().parents[3]
BUNDLE = {
    "name": "ours",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {"path": str(PROJECT / "dags")},
}
CONTEXT = {
    "dag_run": {
        "dag_id": "release_minilm",
        "run_id": "manual__1",
        "logical_date": None,
        "start_date": "2026-01-02T03:04:05Z",
        "run_type": "manual",
        "run_after": "2026-01-02T03:04:05Z",
        "consumed_asset_events": [],
        "state": "running",
        **dict.fromkeys(("data_interval_start", "data_interval_end", "end_date", "partition_key")),
    },
    "max_tries": 3,
    "should_retry": True,
}


class Server:
    """Answers as Airflow's API server: heartbeats well, until something is in the bucket.

    :param refusal: The status that heartbeats are answered with from then on.
    :param states: What it says of the task; None where it does not let it ask, either.
    """

    def __init__(self, bucket, refusal, states):
        self._bucket, self._refusal, self._states = bucket, refusal, states
        self.refused_at = 0.0

    def __call__(self, request):
        path = request.url.path
        if path.endswith("/run"):
            return httpx.Response(200, json=CONTEXT)
        if path.endswith("/heartbeat"):
            return self._heartbeat()
        if path.endswith("/states"):
            ok = self._states is not None
            return httpx.Response(200 if ok else self._refusal, json={"task_states": self._states or {}})
        return httpx.Response(200, json={"text": "kept"})

    def _heartbeat(self):
        if not list(self._bucket.rglob("*.bin")):
            return httpx.Response(204)
        self.refused_at = self.refused_at or time.monotonic()
        return httpx.Response(self._refusal, json={"detail": {"reason": "not_running"}})


@pytest.fixture
def supervised(evidence, source, tmp_path, monkeypatch):
    """Runs the task of an upload that takes a minute; returns its state's folder."""
    bucket, real, asked = tmp_path / "bucket", upload.words, []
    bucket.mkdir()
    for number in range(12):
        (source / f"{number:02}.bin").write_bytes(os.urandom(1 << 19))
    evidence.write("resolve", {"source_version": str(Directory(source).resolve().name)})

    def slow(model, release_id):
        words = real(model, release_id)
        words[2] = f"file://{bucket}"
        return [*words, "--bandwidth-limit", "100KiB", "--concurrency", "1"]

    monkeypatch.setattr(upload, "words", slow)
    monkeypatch.setattr(supervisor, "MIN_HEARTBEAT_INTERVAL", 0.5)
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([BUNDLE]))
    monkeypatch.setenv("MODELBERTH_STATE", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_S3", '{"conn_type": "aws", "login": "id", "password": "secret"}')

    def run(refusal, states):
        server = Server(bucket, refusal, states)
        task = TaskInstanceDTO(
            id=uuid.uuid4(), dag_version_id=uuid.uuid4(), dag_id="release_minilm", task_id="bucket.upload",
            run_id="manual__1", try_number=1, map_index=-1, pool_slots=1, queue="default", priority_weight=1,
        )  # fmt: skip
        client = Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(server))
        supervisor.supervise_task(
            ti=task, bundle_info=BundleInfo(name="ours"), dag_rel_path="releases.py", token="", client=client
        )
        assert server.refused_at
        from modelberth.catalog import load

        command = slow(load().model("minilm"), evidence.release_id)
        asked.append(StateFolder.of(evidence.release_id, command))
        return asked[0]

    yield run
    for folder in asked:
        while folder.path.exists() and folder.kept:
            folder.end.touch()
            time.sleep(0.05)


@pytest.mark.parametrize(("refusal", "state"), [(409, "failed"), (404, None)])
def test_a_person_who_ends_the_task_ends_the_upload(supervised, refusal, state):
    folder = supervised(refusal, {"manual__1": {"bucket.upload": state}} if state else {})
    end = time.monotonic() + 12
    while folder.path.exists() and folder.kept:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("refusal", "states"),
    [
        (410, {"manual__1": {"bucket.upload": "up_for_retry"}}),  # its heartbeats were lost
        (401, None),  # its token has expired
    ],
)
def test_a_task_that_airflow_lost_leaves_the_upload_running(supervised, refusal, states):
    folder = supervised(refusal, states)
    assert folder.kept
    assert not folder.end.exists()
