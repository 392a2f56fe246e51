"""An Airflow without a server: a catalog of one model and one service, receipts in memory, contexts of tasks."""

import base64
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml

from modelberth.receipts import Ledger, release_evidence
from modelberth.receipts import ledger as ledger_of

MODEL = {
    "source": {"type": "directory", "path": "..."},
    "bucket": {"url": "s3://modelberth/models", "connection": "modelberth_s3"},
    "receipts": {"url": "s3://receipts", "connection": "modelberth_receipts"},
}
SERVICE = {
    "connection": "modelberth_kubernetes",
    "namespace": "serving",
    "claim": "models",
    "workload": {"kind": "Deployment", "name": "embedder"},
    "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": "minilm"}],
    "pods": {
        "image": "modelberth/modelsync:local",
        "service_account": "modelsync",
        "bucket_secret": "modelsync-bucket",
    },
    "confirm": {"level": "declared"},
    "approvers": [{"id": "alice", "name": "Alice"}],
}
RUN_AFTER = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class MemoryStore:
    """Objects of all buckets; stands where the object store's client would."""

    objects: dict

    def __init__(self, bucket, prefix, connection):
        self._at = f"{bucket}/{prefix}".rstrip("/") + "/"

    def create(self, key, data):
        return self.objects.setdefault(self._at + key, data) is data

    def read(self, key, limit=1 << 20):
        return self.objects.get(self._at + key)

    def keys(self, prefix):
        found = (key.removeprefix(self._at) for key in self.objects if key.startswith(self._at + prefix))
        return sorted(found)


@pytest.fixture
def objects(monkeypatch):
    """Every object that was written, by bucket and key."""
    monkeypatch.setattr("modelberth.receipts.store._S3Store", MemoryStore)
    seed = base64.b64encode(bytes(32)).decode()
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_SIGNING", json.dumps({"conn_type": "generic", "password": seed}))
    MemoryStore.objects = {}
    return MemoryStore.objects


@pytest.fixture
def source(tmp_path):
    """The directory that the model comes from."""
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(b"weights")
    return directory


@pytest.fixture
def catalog(tmp_path, source, monkeypatch):
    """Writes catalog files; the good ones of model minilm and service embedder are there."""

    def write(name, document):
        path = tmp_path / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))

    write("models/minilm.yaml", MODEL | {"source": {"type": "directory", "path": str(source)}})
    write("services/embedder.yaml", SERVICE)
    monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path / "include"))
    return SimpleNamespace(write=write, root=tmp_path / "include", model=MODEL, service=SERVICE)


@pytest.fixture
def context():
    """The context of a task of the first try of one run; ``xcoms`` of its task instance are what it pushed."""
    xcoms = {}
    ti = SimpleNamespace(
        try_number=1,
        max_tries=2,
        xcoms=xcoms,
        xcom_push=lambda key, value: xcoms.update({key: value}),
        dag_id="release_minilm",
        task_id="t",
        map_index=-1,
    )
    run = SimpleNamespace(
        dag_id="release_minilm", run_id="manual__1", run_after=RUN_AFTER, triggering_user_name="bob", conf={}
    )
    return {"ti": ti, "dag_run": run, "run_id": run.run_id, "dag": SimpleNamespace()}


@pytest.fixture
def evidence(objects, catalog):
    """The receipts of the release of ``context``."""
    from modelberth.catalog import load
    from modelberth.core.release import release_id

    return release_evidence(load().model("minilm"), release_id("release_minilm", "manual__1", RUN_AFTER))


@pytest.fixture
def ledger(objects, catalog) -> Ledger:
    """The ledger of model minilm."""
    from modelberth.catalog import load

    return ledger_of(load().model("minilm"))
