"""One Airflow, one namespace and two buckets of this test session, on the environment that `make test` brings up.

A test asks ``stand`` for a model: its source directory, its catalog files and its Deployment are made, and the Dag
is waited for. Every model has its own service, so tests do not meet.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import local_airflow
import machine
import pytest
import serving
import stores
import yaml
from airflow_client import Airflow, Run
from asking import ask
from demo import free_port
from kubernetes import client, config
from settings import Settings
from supervise import Supervisor, tail

from modelberth.core.release import release_id

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
GATE = "gate.approve"

LOOKS_OFTEN = {
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    # A Dag that is gone is known as such in seconds, not in two minutes.
    "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "15",
}
POLICY = """
def task_policy(task):
    if task.dag_id == "release_waits" and task.task_type == "ModelApprovalSensor":
        task.poke_interval = 8.0


def dag_policy(dag):
    if dag.dag_id == "audit_snapshots":
        dag.is_paused_upon_creation = True
"""
"""How an administrator changes how often a waiting gate looks: by Airflow's cluster policy.

An audit would start by itself, and read the snapshots of all models while their releases are tested.
"""


LISTENER = """
from airflow.sdk import DAG, Asset, task

with DAG("listens", schedule=[Asset("modelberth://rolled")], catchup=False, is_paused_upon_creation=False):
    @task
    def heard(triggering_asset_events=None):
        return [event.extra for event in triggering_asset_events[Asset("modelberth://rolled")]]

    heard()
"""
"""A Dag of somebody else, which runs whenever another snapshot of the model ``rolled`` went live."""


def more_dags(folder: Path) -> dict[str, str]:
    """Return what makes Airflow read the Dags of *folder* as well."""
    folder.mkdir()
    (folder / "listener.py").write_text(LISTENER)
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    ours = {"name": "dags-folder", "classpath": kind, "kwargs": {}}
    theirs = {"name": "others", "classpath": kind, "kwargs": {"path": str(folder)}}
    return {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([ours, theirs])}


@dataclass(frozen=True)
class Model:
    """A model of its own service, which has the same name."""

    stand: Stand
    name: str
    source: Path

    @property
    def dag_id(self) -> str:
        return f"release_{self.name}"

    @property
    def claim(self) -> Path:
        """The model's directory on the claim, as this machine sees it."""
        return self.stand.claim / self.name

    def snapshots(self) -> list[Path]:
        return sorted(path for path in self.claim.glob("*") if path.is_dir())

    def start(self, conf: dict[str, Any] | None = None) -> Run:
        return self.stand.admin.trigger(self.dag_id, conf)

    def parked(self, run: Run | None = None) -> Run:
        """Start a release and wait until its gate asks."""
        run = run or self.start()
        self.stand.admin.wait_parked(run, GATE)
        return run

    def released(self) -> Run:
        """Make a release that Alice approves, to its good end."""
        run = self.parked()
        self.stand.alice.answer(run, GATE, "Approve")
        self.ended(run, "success")
        assert self.stand.admin.tasks(run)["record"] == "success", self.stand.story(run)
        return run

    def ended(self, run: Run, state: str) -> None:
        """Wait for the end of *run*, which must be *state*."""
        got = self.stand.admin.wait_finished(run)
        assert got == state, self.stand.story(run)

    def task(self, run: Run, step: str) -> str:
        """Return the id of the task of *step* for this model's service."""
        group = {"sync": "claim", "verify": "claim", "check": "serving", "rollout": "serving"}[step]
        return f"{group}.{self.name}.{step}"

    def deployment(self) -> Any:
        return self.stand.apps.read_namespaced_deployment(self.name, self.stand.namespace)

    def bound(self) -> str:
        """Return what the Deployment's MODEL_PATH says."""
        (container,) = self.deployment().spec.template.spec.containers
        return str(next(one.value for one in container.env if one.name == "MODEL_PATH"))

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the serving pods answer through the Service, by way of the API server."""
        return ask(os.environ["KUBECONFIG"], self.stand.namespace, self.name, path, body)

    def objects(self) -> dict[str, str]:
        """Return key and ETag of everything of this model in the bucket."""
        return self.stand.listing(self.stand.bucket, f"models/{self.name}/")

    def receipt(self, run: Run, name: str) -> Any:
        """Return what the receipt *name* of *run* says."""
        key = f"receipts/{self.name}/{self.release_id(run)}/{name}.json"
        return json.loads(self.stand.s3.get_object(Bucket=self.stand.receipts, Key=key)["Body"].read())["receipt"]

    def events(self, run: Run) -> dict[str, str | None]:
        """Return what the ledger says of *run*: each event and its reason."""
        prefix = f"receipts/ledger/{self.name}/{self.release_id(run)}-"
        found = {}
        for key in self.stand.listing(self.stand.receipts, prefix):
            note = json.loads(self.stand.s3.get_object(Bucket=self.stand.receipts, Key=key)["Body"].read())["receipt"]
            found[note["event"]] = note.get("reason")
        return found

    def receipts(self, run: Run) -> list[str]:
        """Return the names of the receipts of *run*."""
        release = self.release_id(run)
        keys = self.stand.listing(self.stand.receipts, f"receipts/{self.name}/{release}/")
        return [key.rpartition("/")[2] for key in keys]

    def release_id(self, run: Run) -> str:
        due = datetime.fromisoformat(self.stand.admin.get(run.path)["run_after"])
        return release_id(run.dag_id, run.run_id, due)


@dataclass(frozen=True)
class Stand:
    """What the tests of one session share."""

    home: Path
    namespace: str
    bucket: str
    receipts: str
    claim: Path
    admin: Airflow
    alice: Airflow
    bob: Airflow
    apps: client.AppsV1Api
    core: client.CoreV1Api
    s3: Any
    supervisor: Supervisor

    def listing(self, bucket: str, prefix: str) -> dict[str, str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}

    def story(self, run: Run) -> str:
        """Return the states of the tasks of *run* and the end of the log of each that failed."""
        states = self.admin.tasks(run)
        failed = [task for task, state in states.items() if state == "failed"]
        return "\n".join([f"{run}: {states}", *(f"--- {task}\n{self.admin.log(run, task)[-3000:]}" for task in failed)])

    def write(self, kind: str, name: str, document: Any) -> Path:
        """Write one catalog file."""
        path = self.home / "catalog" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return path

    def model(self, name: str, files: dict[str, bytes], service: dict[str, Any] | None = None, **model: Any) -> Model:
        """Make a model whose source holds *files*, its service and its Deployment; its Dag comes soon.

        :param service: Keys of the service's file that differ.
        :param model: Keys of the model's file that differ.
        """
        source = self.home / "sources" / name
        for path, data in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        self.deploy(name)
        self.catalog(name, source, service or {}, model)
        return Model(self, name, source)

    def listed(self, name: str) -> Model:
        """Return a model that is in the catalog, and whose workload the test made."""
        return Model(self, name, self.home / "sources" / name)

    def catalog(self, name: str, source: Path, service: dict[str, Any], model: dict[str, Any]) -> None:
        """Write the two files of a model, made from those of the demo; the schedule leaves it alone."""
        ours = yaml.safe_load((PROJECT / "include/models/minilm.yaml").read_text())
        ours["refresh"] = {"paused": True}
        ours["source"]["path"] = str(source)
        ours["bucket"]["url"] = f"s3://{self.bucket}/models"
        ours["receipts"]["url"] = f"s3://{self.receipts}/receipts"
        theirs = yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text())
        theirs["namespace"] = self.namespace
        theirs["workload"]["name"] = name
        theirs["bindings"][0]["model"] = name
        self.write("models", name, ours | model)
        self.write("services", name, theirs | service)

    def deploy(self, name: str) -> None:
        """Make the reference server's Deployment and Service, called *name*."""
        for document in yaml.safe_load_all((PROJECT / "include/kubernetes/serving.yaml").read_text()):
            # They idle: what serving.yaml asks for each would fill the one node's two cores.
            text = json.dumps(document).replace('"embedder"', json.dumps(name)).replace('"100m"', '"20m"')
            body = json.loads(text)
            if body["kind"] == "Deployment":
                self.apps.create_namespaced_deployment(self.namespace, body)
            else:
                self.core.create_namespaced_service(self.namespace, body)

    def dag(self, dag_id: str) -> dict[str, Any]:
        """Wait until *dag_id* is there and return what Airflow says of it."""
        found: dict[str, Any] = self.admin.wait(f"The Dag {dag_id}", lambda: self._dag(dag_id), 90)
        return found

    def _dag(self, dag_id: str) -> dict[str, Any] | None:
        rows = self.admin.get("dags", dag_id_pattern=dag_id, limit=100)["dags"]
        return next((row for row in rows if row["dag_id"] == dag_id), None)


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Bring up what the tests share, and take all of it away again."""
    settings, env = Settings(PROJECT), dict(os.environ)
    name = f"e2e-{uuid.uuid4().hex[:6]}"
    home = tmp_path_factory.mktemp(name)
    (home / "catalog").mkdir()
    bucket, receipts = f"modelberth-test-{name}", f"modelberth-receipts-{name}"
    s3 = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        aws_access_key_id=env["S3_ACCESS_KEY"],
        aws_secret_access_key=env["S3_SECRET_KEY"],
        region_name="us-east-1",
    )
    for one in (bucket, receipts):
        s3.create_bucket(Bucket=one)
    serving.serving_namespace(settings, name)
    api = config.new_client_from_config(env["KUBECONFIG"])
    local = local_airflow.LocalAirflow(
        home / "airflow",
        free_port(0),
        home / "catalog",
        LOOKS_OFTEN | more_dags(home / "dags") | {"STORAGE_EMULATOR_HOST": env["GCS_ENDPOINT_URL"]},
    )
    google = {"modelberth_gcs": local_airflow.store_connection("gs://", env)}
    local.prepare(local_airflow.connections(env, os.urandom(32)) | google | bad_connections(env))
    (local.home / "config").mkdir()
    (local.home / "config/airflow_local_settings.py").write_text(POLICY)
    try:
        with running(settings, name, local) as supervisor:
            users = {user: Airflow(local.url, user, local.passwords[user]) for user in ("admin", "alice", "bob")}
            claim = serving.volume_folder(settings, name)
            yield Stand(
                home,
                name,
                bucket,
                receipts,
                claim,
                **users,
                apps=client.AppsV1Api(api),
                core=client.CoreV1Api(api),
                s3=s3,
                supervisor=supervisor,
            )
    finally:
        serving.delete_namespace(settings, name)
        for one in (bucket, receipts):
            stores.delete_bucket(s3, one)


@pytest.fixture(autouse=True)
def _airflow_lives(stand: Stand) -> None:
    """Say which part of Airflow died and why, before each test: what follows would only be refused connections.

    It is started again, so that one death is one failure.
    """
    dead = [state for state in stand.supervisor.states() if not state.running]
    for state in dead:
        stand.supervisor.call("startProcess", state.name)
    assert not dead, "\n".join(f"{state.name} {state.says}; its log ended:\n{tail(state.log)}" for state in dead)


@pytest.fixture(scope="module", autouse=True)
def _room(stand: Stand) -> Iterator[None]:
    """Take away what a module deployed: the one node would be full, and the next module's pods wait for ever."""
    yield
    stand.apps.delete_collection_namespaced_deployment(stand.namespace)


@contextmanager
def running(settings: Settings, name: str, local: local_airflow.LocalAirflow) -> Iterator[Supervisor]:
    """Run Airflow as a process tree that ends with this test session."""
    capsule = machine.capsule(settings, name)
    supervisor = Supervisor(capsule, local.home / "log")
    parts = local.parts()
    supervisor.configure(parts)
    capsule.start(supervisor.command, environment=machine.plain_environment())
    try:
        supervisor.ensure(parts)
        yield supervisor
        supervisor.demand([part.name for part in parts])
    finally:
        capsule.stop()
        capsule.config.unlink()


def bad_connections(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return connections that do not work, each in its own way."""
    wrong = {"endpoint_url": env["S3_ENDPOINT_URL"], "region_name": "us-east-1"}
    nowhere = yaml.safe_load(Path(env["AIRFLOW_KUBECONFIG"]).read_text())
    nowhere["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    return {
        "wrong_s3": {"conn_type": "aws", "login": "nobody", "password": "nothing", "extra": json.dumps(wrong)},
        "unreachable_kubernetes": {
            "conn_type": "kubernetes",
            "extra": json.dumps({"kube_config": json.dumps(nowhere)}),
        },
    }
