"""The whole chain with Google Cloud Storage in the place of S3: bucket, receipts, and a source that a pod fetches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import minilm
import pytest
import stores
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from settings import Settings

from modelberth.core.layout import BucketUrl
from modelberth.engine import upload
from modelberth.engine.stopping import Stop
from modelberth.operators.prune_bucket import PruneBucketOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_client import Run
    from conftest import Model, Stand

PROJECT = Path(__file__).resolve().parents[2]
NAME = "gcs"
GATE = "gate.approve"
SERVICE = {"ready_within": 60}
CONNECTION = "modelberth_gcs"


@dataclass(frozen=True)
class Cloud:
    """Two buckets of the GCS server: for the models and what they come from, and for the receipts."""

    client: storage.Client
    models: str
    receipts: str

    @property
    def keys(self) -> dict[str, Any]:
        """What the model's file says of them."""
        places = {"bucket": f"gs://{self.models}/models", "receipts": f"gs://{self.receipts}/receipts"}
        return {key: {"url": url, "connection": CONNECTION} for key, url in places.items()}

    def put(self, folder: Path, prefix: str) -> dict[str, str]:
        """Bring the files of a folder below a prefix, and return what a source says of them."""
        bucket = self.client.bucket(self.models)
        for path in folder.rglob("*"):
            if path.is_file():
                bucket.blob(f"{prefix}/{path.relative_to(folder)}").upload_from_filename(str(path))
        return {"type": "gcs", "url": f"gs://{self.models}/{prefix}", "connection": CONNECTION}

    def names(self, bucket: str, prefix: str) -> list[str]:
        return [blob.name for blob in self.client.list_blobs(bucket, prefix=prefix)]


@pytest.fixture(scope="module")
def cloud(stand: Stand) -> Iterator[Cloud]:
    buckets = f"modelberth-test-{stand.namespace}", f"modelberth-receipts-{stand.namespace}"
    for name in buckets:
        stores.create_gcs_bucket(Settings(PROJECT), name)
    options = {"api_endpoint": os.environ["GCS_ENDPOINT_URL"]}
    client = storage.Client("modelberth", AnonymousCredentials(), client_options=options)
    yield Cloud(client, *buckets)
    for name in buckets:
        client.bucket(name).delete(force=True)


@pytest.fixture(scope="module")
def released(stand: Stand, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, list[Run]]:
    """A model of which two releases went live: one of a directory, and one of a prefix that a pod fetched."""
    model = stand.model(NAME, {}, SERVICE, **cloud.keys)
    minilm.put_model(model.source, "int8")
    stand.dag(model.dag_id)
    first = model.released()
    raw = tmp_path_factory.mktemp("raw") / "minilm"
    minilm.put_model(raw, "fp32")
    stand.catalog(NAME, model.source, SERVICE, {"source": cloud.put(raw, "raw/minilm"), **cloud.keys})
    second = model.parked()
    stand.write("models", "broken-meanwhile", "source: [")
    stand.dag("release_broken-meanwhile")
    stand.alice.answer(second, GATE, "Approve")
    model.ended(second, "success")
    return model, [first, second]


def test_a_catalog_file_that_breaks_while_a_release_waits_at_its_gate_disturbs_it_not(stand, released):
    _, runs = released
    assert stand.admin.tasks(runs[1])["record"] == "success", stand.story(runs[1])
    assert "catalog-error" in [tag["name"] for tag in stand.dag("release_broken-meanwhile")["tags"]]
    (stand.home / "catalog/models/broken-meanwhile.yaml").unlink()


def test_a_directory_and_then_a_prefix_of_gcs_are_served_out_of_gcs(stand, cloud, released):
    model, runs = released
    revisions = [stand.admin.result(run, "bucket.upload")["revision"] for run in runs]
    assert len(set(revisions)) == 2
    assert model.ask("/modelz")["revision"] == revisions[1]
    assert model.objects() == {}, "nothing of it is in S3"
    held = cloud.names(cloud.models, f"models/{NAME}/")
    for revision, run in zip(revisions, runs, strict=True):
        digest = revision.partition("sha256:")[2]
        assert f"models/{NAME}/revisions/{digest}/manifest.json" in held
        assert f"models/{NAME}/data/{model.release_id(run)}/model.safetensors" in held
    assert "Deleting pod: upload-gcs-" in stand.admin.log(runs[1], "bucket.upload"), "no pod fetched it"


def test_an_earlier_one_is_served_again_and_the_audit_finds_all_of_it_on_record(stand, cloud, released):
    model, runs = released
    first = stand.admin.result(runs[0], model.task(runs[0], "sync"))["snapshot"]
    run = stand.bob.trigger("rollback_model", {"model": NAME, "service": NAME, "to": first, "reason": "on GCS"})
    stand.admin.wait_parked(run, "approve")
    stand.alice.answer(run, "approve", "Approve")
    model.ended(run, "success")
    assert model.ask("/modelz")["snapshot"] == first
    ledger = [name.rpartition("-")[2] for name in cloud.names(cloud.receipts, f"receipts/ledger/{NAME}/")]
    assert sorted(ledger).count("live.json") == 3
    assert audited(stand, cloud, 0) == "3 releases of 1 models: no problem.\n"


def test_a_look_at_gcs_does_not_propose_again_what_was_rolled_back(stand, cloud, released):
    model, _ = released
    before = stand.admin.runs(model.dag_id)
    source = {"type": "gcs", "url": f"gs://{cloud.models}/raw/minilm", "connection": CONNECTION}
    followed = {"source": source, **cloud.keys, "refresh": {"paused": False}}
    stand.catalog(NAME, model.source, SERVICE, followed)
    run = stand.admin.trigger("refresh_models")
    stand.admin.wait_finished(run)
    assert "it was rolled back: start the release by hand" in stand.admin.log(run, "compare"), stand.story(run)
    assert stand.admin.runs(model.dag_id) == before


def test_a_forged_receipt_in_gcs_is_found(stand, cloud, released):
    name = next(name for name in cloud.names(cloud.receipts, f"receipts/{NAME}/") if "02-upload" in name)
    blob = cloud.client.bucket(cloud.receipts).blob(name)
    genuine = blob.download_as_bytes()
    blob.upload_from_string(genuine.replace(b'"bytes', b'"byteZ'))
    try:
        assert "does not bear the signature" in audited(stand, cloud, 1)
    finally:
        blob.upload_from_string(genuine)


def test_prune_takes_from_gcs_what_nothing_uses_after_its_grace_and_nothing_else(
    stand, cloud, released, tmp_path, monkeypatch
):
    for name, value in (tasks_environment(stand) | {"MODELBERTH_CATALOG": str(stand.home / "catalog")}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "model.bin").write_bytes(b"weights of nobody")
    bucket = BucketUrl.parse(cloud.keys["bucket"]["url"])
    orphan = upload.upload(upload.Order(tmp_path, bucket, NAME, "orphan"), Stop())["revision"]
    assert prune()["condemned"] == "1"
    [mark] = [name for name in cloud.names(cloud.models, f"models/{NAME}/") if "condemned.json" in name]
    aged = {"schema": 1, "revision": orphan, "at": "2026-01-02T03:04:05Z"}
    body = json.dumps(aged, sort_keys=True, separators=(",", ":"))
    cloud.client.bucket(cloud.models).blob(mark).upload_from_string(body)
    before = cloud.names(cloud.models, f"models/{NAME}/data/")
    assert prune()["deleted"] == "1"
    after = cloud.names(cloud.models, f"models/{NAME}/data/")
    assert set(before) - set(after) == {f"models/{NAME}/data/orphan/model.bin"}


def prune() -> dict[str, str]:
    return PruneBucketOperator(task_id="t", model=NAME).execute({})


def tasks_environment(stand: Stand) -> dict[str, str]:
    """Return what makes this process see what the tasks of this Airflow see."""
    connections = json.loads((stand.home / "airflow/connections.json").read_text())
    env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(one) for name, one in connections.items()}
    return env | {"PYTHONPATH": str(PROJECT / "plugins"), "STORAGE_EMULATOR_HOST": os.environ["GCS_ENDPOINT_URL"]}


def audited(stand: Stand, cloud: Cloud, code: int) -> str:
    """Audit the receipts as `python -m modelberth.receipts` does, with this Airflow's connections."""
    env = tasks_environment(stand)
    words = ["-m", "modelberth.receipts", cloud.keys["receipts"]["url"], NAME, "--connection", CONNECTION]
    done = subprocess.run([sys.executable, *words], env=os.environ | env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout
