"""The demo: which answers it gives a gate, how it judges a release's end, and what it uses on a user's own cluster."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import demo
import demo_catalog
import pytest
import yaml
from airflow_client import AirflowError, Run
from env import write_env
from local_airflow import BUCKET_CONNECTIONS, PROJECT, LocalAirflow, clouds, connections
from problems import LocalError
from serving import bucket_secret
from settings import Settings

from modelberth.catalog import load

if TYPE_CHECKING:
    from pathlib import Path

RUN = Run("release_minilm", "manual__1")


class FakeAirflow:
    """An Airflow whose gate asks again after each of the first answers, *early* of them."""

    url = "http://127.0.0.1:8080"

    def __init__(self, early: int = 0, record: str = "success", ends: str = "success") -> None:
        self.early, self.record, self.ends = early, record, ends
        self.answers: list[str] = []

    @property
    def _over(self) -> bool:
        return len(self.answers) > self.early

    def answer(self, run: Run, task_id: str, option: str) -> None:
        self.answers.append(option)

    def state(self, run: Run) -> str:
        return self.ends if self._over else "running"

    def tasks(self, run: Run) -> dict[str, str | None]:
        return {demo.GATE: "success" if self._over else demo.PARKED, "record": self.record}

    def question(self, run: Run, task_id: str) -> dict[str, Any]:
        return {"response_received": self._over}

    def wait_parked(self, run: Run, task_id: str) -> None:
        assert not self._over

    def wait(self, what: str, condition: Any, seconds: float) -> Any:
        if not (value := condition()):
            raise AirflowError(f"{what} did not come.")
        return value

    def result(self, run: Run, task_id: str) -> dict[str, str]:
        return {"bytes": "7"}


def ship(airflow: FakeAirflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APPROVE", raising=False)
    monkeypatch.setattr(demo.Stage, "user", lambda *_: airflow)
    local = SimpleNamespace(url=airflow.url, passwords={})
    demo.Stage(Settings(tmp_path), local).ship(RUN)  # type: ignore[arg-type]


def test_a_release_that_is_recorded_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = FakeAirflow()
    ship(airflow, tmp_path, monkeypatch)
    assert airflow.answers == ["Approve"]


def test_a_rejected_release_is_not_taken_for_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalError, match="was rejected: nothing that serves has changed"):
        ship(FakeAirflow(record="skipped"), tmp_path, monkeypatch)


def test_a_failed_release_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalError, match="ended as failed"):
        ship(FakeAirflow(ends="failed"), tmp_path, monkeypatch)


@pytest.mark.parametrize("early", [1, 3])
def test_a_gate_that_asks_again_is_answered_again(early: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = FakeAirflow(early)
    ship(airflow, tmp_path, monkeypatch)
    assert airflow.answers == ["Approve"] * (early + 1)


def test_a_gate_that_asks_for_ever_is_not_answered_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = FakeAirflow(early=99)
    with pytest.raises(LocalError, match=r"was answered 4 times and asks again"):
        ship(airflow, tmp_path, monkeypatch)
    assert airflow.answers == ["Approve"] * 4


# --- what .local/env says -------------------------------------------------------------------------------------------

KEYS = {"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b", "S3_PODS_ACCESS_KEY": "c", "S3_PODS_SECRET_KEY": "d"}
LOCAL = {
    **KEYS,
    "BUCKET_URL": "s3://modelberth/models",
    "RECEIPTS_URL": "s3://modelberth-receipts/receipts",
    "S3_ENDPOINT_URL": "http://10.87.0.2:8333",
    "GCS_ENDPOINT_URL": "http://10.87.0.2:4443",
    "MODELSYNC_IMAGE": "modelberth/modelsync:1",
    "SERVER_IMAGE": "modelberth/server:1",
}
OWN = {
    "CLUSTER": "production",
    "MODELSYNC_IMAGE": "r.example/modelsync:1",
    "SERVER_IMAGE": "r.example/server:1",
}
AWS = {**OWN, **KEYS, "BUCKET_URL": "s3://models/prod", "RECEIPTS_URL": "s3://receipts/prod"}
GCS = {**OWN, "BUCKET_URL": "gs://models/prod", "RECEIPTS_URL": "gs://receipts/prod"}
MIXED = {**AWS, "RECEIPTS_URL": "gs://receipts/prod"}
EMULATOR = {"GCS_ENDPOINT_URL": "http://gcs:4443"}
NAMED = {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"}
AMAZON, GOOGLE = "aws", "google_cloud_platform"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path)
    settings.state.mkdir()
    settings.airflow_kubeconfig.write_text("apiVersion: v1")
    return settings


@pytest.mark.parametrize(
    ("env", "bucket", "receipts"),
    [
        (
            LOCAL,
            ("modelberth_s3", AMAZON, {"endpoint_url": "http://10.87.0.2:8333", "region_name": "us-east-1"}),
            (AMAZON, {"endpoint_url": "http://10.87.0.2:8333", "region_name": "us-east-1"}),
        ),
        (AWS, ("modelberth_s3", AMAZON, {"region_name": "us-east-1"}), (AMAZON, {"region_name": "us-east-1"})),
        (
            AWS | {"AWS_REGION": "eu-west-1"},
            ("modelberth_s3", AMAZON, {"region_name": "eu-west-1"}),
            (AMAZON, {"region_name": "eu-west-1"}),
        ),
        (GCS, ("modelberth_gcs", GOOGLE, {}), (GOOGLE, {})),
        (
            GCS | EMULATOR,
            ("modelberth_gcs", GOOGLE, {"is_anonymous": True, "project": "modelberth"}),
            (GOOGLE, {"is_anonymous": True, "project": "modelberth"}),
        ),
        (MIXED, ("modelberth_s3", AMAZON, {"region_name": "us-east-1"}), (GOOGLE, {})),
    ],
    ids=["local", "AWS", "AWS elsewhere", "GCS", "GCS emulator", "S3 and GCS"],
)
def test_connections_reach_the_stores_of_the_environment(
    settings: Settings, env: dict[str, str], bucket: tuple[str, str, Any], receipts: tuple[str, Any]
) -> None:
    made = connections(env | {"AIRFLOW_KUBECONFIG": str(settings.airflow_kubeconfig)}, bytes(32))
    name, *about = bucket
    assert set(made) == {name, "modelberth_receipts", "modelberth_kubernetes", "modelberth_signing"}
    for connection, (kind, extra) in ((made[name], about), (made["modelberth_receipts"], receipts)):
        assert (connection["conn_type"], json.loads(connection["extra"])) == (kind, extra)
        assert (connection.get("login"), connection.get("password")) == (("a", "b") if kind == AMAZON else (None, None))


@pytest.mark.parametrize(
    ("env", "added"),
    [
        (LOCAL, {}),
        (AWS, {}),
        (GCS, {}),
        (GCS | EMULATOR, {"STORAGE_EMULATOR_HOST": "http://gcs:4443"}),
        (MIXED | NAMED, NAMED),
    ],
    ids=["local", "AWS", "GCS", "GCS emulator", "a key file"],
)
def test_airflow_gets_of_the_environment_what_google_reads_and_nothing_else(
    env: dict[str, str], added: dict[str, str], tmp_path: Path
) -> None:
    assert clouds(env) == added
    assert added.items() <= LocalAirflow(tmp_path, 8080, tmp_path, clouds(env)).environment().items()


def test_the_local_demo_uses_the_projects_own_files(settings: Settings) -> None:
    assert demo_catalog.folder(settings) == PROJECT / "include"
    write_env(settings, LOCAL)
    demo_catalog.write(settings, LOCAL)
    assert demo_catalog.folder(settings) == demo.local_airflow(settings).catalog == PROJECT / "include"
    assert not (settings.state / "catalog").exists()
    assert demo.namespace(LOCAL) == "serving"


@pytest.mark.parametrize("env", [AWS, GCS, MIXED, GCS | EMULATOR | {"SERVING_NAMESPACE": "ml"}])
def test_on_a_users_own_cluster_the_catalog_is_what_the_environment_says(
    settings: Settings, env: dict[str, str]
) -> None:
    write_env(settings, env)
    demo_catalog.write(settings, env)
    folder = demo.local_airflow(settings).catalog
    catalog = load(folder)
    assert catalog.problems == {}
    model, service = catalog.model("minilm"), catalog.service("embedder")
    assert (model.bucket.url, model.receipts.url) == (env["BUCKET_URL"], env["RECEIPTS_URL"])
    assert model.bucket.connection == BUCKET_CONNECTIONS[model.bucket.scheme]
    assert model.source.directory == settings.state / "models/minilm"
    assert service.pods.image == "r.example/modelsync:1"
    assert service.namespace == demo.namespace(env)
    ours = yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text())
    theirs = yaml.safe_load((folder / "services/embedder.yaml").read_text())
    for document in (ours, theirs):
        document.pop("namespace")
        document["pods"].pop("image")
    assert theirs == ours


@pytest.mark.parametrize(
    ("env", "data"),
    [
        (AWS, {"AWS_ACCESS_KEY_ID": "c", "AWS_SECRET_ACCESS_KEY": "d", "AWS_REGION": "us-east-1"}),
        (GCS | {"AWS_REGION": "eu-west-1"}, {"AWS_REGION": "eu-west-1"}),
        (GCS | EMULATOR, {"STORAGE_EMULATOR_HOST": "http://gcs:4443", "AWS_REGION": "us-east-1"}),
    ],
)
def test_pods_get_the_pods_keys_and_no_others(env: dict[str, str], data: dict[str, str]) -> None:
    assert bucket_secret(env)["stringData"] == data
