"""Upload in a real pod, with Airflow's own rights: from a prefix that only Airflow's connection may read."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import stores
import yaml
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from kubernetes import client, config
from kubernetes.client import ApiException
from settings import Settings

from modelberth.catalog import load
from modelberth.kubernetes import preflight
from modelberth.kubernetes.client import Cluster
from modelberth.operators import release_of
from modelberth.operators.fetch import FetchModelOperator
from modelberth.receipts import release_evidence
from modelberth.sources import proposal, source_of
from web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollouts import Stand

    from modelberth.receipts import Evidence

PROJECT = Path(__file__).resolve().parents[2]
FILES = {"config.json": b"{}", "model.safetensors": os.urandom(10_000_000)}


@pytest.fixture(scope="module")
def models(stand: Stand) -> Iterator[str]:
    """A bucket that pods may use; the receipts' bucket, where the source lies, they may not even list."""
    name = f"modelberth-test-{uuid.uuid4().hex[:8]}"
    stand.s3.create_bucket(Bucket=name)
    for path, data in FILES.items():
        stand.s3.put_object(Bucket=stand.bucket, Key=f"source/{path}", Body=data)
    yield name
    stores.delete_bucket(stand.s3, name)


@pytest.fixture
def release(stand: Stand, models: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Evidence]:
    """Writes the catalog and proposes what the source holds; returns the release's evidence."""

    def propose(context: dict[str, Any], **source: Any) -> Evidence:
        where = {"type": "s3", "url": f"s3://{stand.bucket}/source", "connection": "test_receipts", **source}
        model = {
            "source": where,
            "bucket": {"url": f"s3://{models}/models", "connection": "test_receipts"},
            # Its own, so that nothing is known of the source: it is read by each test.
            "receipts": {"url": f"s3://{stand.bucket}/{uuid.uuid4().hex}", "connection": "test_receipts"},
        }
        service = {
            "connection": "test_kubernetes",
            "namespace": stand.namespace,
            "claim": "models",
            "workload": {"kind": "Deployment", "name": "none"},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": "minilm"}],
            "pods": {
                "image": os.environ["MODELSYNC_IMAGE"],
                "service_account": "modelsync",
                "bucket_secret": "modelsync-bucket",
            },
            "confirm": {"level": "declared"},
            "approvers": [{"id": "alice", "name": "Alice"}],
        }
        for path, document in {"models/minilm.yaml": model, "services/embedder.yaml": service}.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(yaml.safe_dump(document))
        monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path))
        config = load().model("minilm")
        evidence = release_evidence(config, release_of(context))
        evidence.write("resolve", proposal(source_of(config).resolve()))
        return evidence

    return propose


@pytest.fixture
def context() -> dict[str, Any]:
    """A task's context of a run of its own."""
    run_id = f"manual__{uuid.uuid4().hex}"
    ti = SimpleNamespace(
        try_number=1, max_tries=2, xcom_push=lambda key, value: None, dag_id="release_minilm", task_id="upload",
        map_index=-1, run_id=run_id,
    )  # fmt: skip
    due = datetime(2026, 1, 2, tzinfo=UTC)
    run = SimpleNamespace(dag_id="release_minilm", run_id=run_id, run_after=due, triggering_user_name="bob", conf={})
    return {"ti": ti, "dag_run": run, "run_id": run_id, "dag": SimpleNamespace()}


@pytest.fixture
def core() -> client.CoreV1Api:
    """The cluster with an administrator's rights."""
    return client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))


def fetch(context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the task without being deferred: there is no triggerer here."""
    monkeypatch.setattr("modelberth.operators.pod.STAYS", 120.0)
    FetchModelOperator(task_id="upload", model="minilm").execute(context)


def secrets_of(core: client.CoreV1Api, namespace: str) -> list[Any]:
    return [one for one in core.list_namespaced_secret(namespace).items if one.metadata.name.startswith("upload-")]


def test_a_prefix_that_pods_may_not_read_is_uploaded_by_a_pod_with_what_the_connection_lends(
    stand, models, release, context, core, monkeypatch
):
    evidence = release(context)
    seen = watched(core, monkeypatch)
    fetch(context, monkeypatch)
    receipt = evidence.read("upload")
    assert (receipt["files"], receipt["bytes"]) == (2, sum(map(len, FILES.values())))
    for path, data in FILES.items():
        key = f"models/minilm/data/{evidence.release_id}/{path}"
        assert stand.s3.get_object(Bucket=models, Key=key)["Body"].read() == data
    ((pod, secret),) = seen
    assert secret.metadata.owner_references[0].uid == pod.metadata.uid
    assert os.environ["S3_SECRET_KEY"] not in json.dumps(client.ApiClient().sanitize_for_serialization(pod))
    until(lambda: not secrets_of(core, stand.namespace))


def watched(core: client.CoreV1Api, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Return where each pod that is given a Secret will be, with that Secret, as the cluster has them."""
    from modelberth.operators import fetch

    seen, give = [], fetch.give_secret

    def looking(api: Any, metadata: Any, data: Any) -> None:
        give(api, metadata, data)
        at = (metadata.name, metadata.namespace)
        seen.append((core.read_namespaced_pod(*at), core.read_namespaced_secret(*at)))

    monkeypatch.setattr(fetch, "give_secret", looking)
    return seen


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_pod_as_itself_may_only_read_what_its_own_identity_may(stand, release, context, monkeypatch):
    release(context, identity=True)
    with pytest.raises(AirflowFailException, match="was denied"):
        fetch(context, monkeypatch)


def test_a_named_secret_is_what_the_pod_reads_the_source_with(stand, release, context, core, monkeypatch):
    keys = {
        "MODELBERTH_FETCH_AWS_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"],
        "MODELBERTH_FETCH_AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"],
        "MODELBERTH_FETCH_AWS_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
    }
    metadata = client.V1ObjectMeta(name="raw-reader")
    core.create_namespaced_secret(stand.namespace, client.V1Secret(metadata=metadata, string_data=keys))
    evidence = release(context, secret="raw-reader")
    (problem,) = asked_before_a_byte_is_moved()
    assert f"Secret {stand.namespace}/raw-reader may not be given to our pods: " in problem
    assert "allowed are modelsync-bucket" in problem
    rights = {"data": {"secrets": "modelsync-bucket\nraw-reader"}}
    core.patch_namespaced_config_map("modelberth-rights", stand.namespace, rights)
    until(lambda: not asked_before_a_byte_is_moved())
    assert not core.list_namespaced_pod(stand.namespace, label_selector="modelberth.dev/step").items
    fetch(context, monkeypatch)
    assert evidence.read("upload")["files"] == 2


def test_a_fetch_that_a_person_ends_leaves_no_pod_and_the_next_try_sends_only_the_rest(
    stand, models, release, context, core, monkeypatch
):
    web, hold = WebServer(Settings(PROJECT).here), threading.Event()
    web.files = {f"{number}.bin": os.urandom(300_000) for number in range(3)} | {"slow.bin": os.urandom(500_000)}
    monkeypatch.setenv("AIRFLOW_CONN_TEST_WEB", json.dumps({"conn_type": "http"}))
    source = {"type": "http", "url": web.url, "files": sorted(web.files), "connection": "test_web"}
    evidence = release(context, **source)

    def slowly(path: str, headers: Any) -> None:
        if path == "slow.bin" and "If-Match" in headers:  # as the pod asks, which knows the version
            hold.wait(60)

    web.refuse = slowly
    monkeypatch.setattr("modelberth.operators.pod.STAYS", 0.0)
    task = FetchModelOperator(task_id="upload", model="minilm")
    with pytest.raises(TaskDeferred):
        task.execute(context)
    prefix = f"models/minilm/data/{evidence.release_id}/"
    until(lambda: stand.s3.list_objects_v2(Bucket=models, Prefix=prefix)["KeyCount"] == 3)
    task.on_kill()
    ours = f"modelberth.dev/release={evidence.release_id}"
    until(lambda: not core.list_namespaced_pod(stand.namespace, label_selector=ours).items)
    hold.set()
    fetch(context, monkeypatch)
    receipt = evidence.read("upload")
    assert (receipt["bytes_uploaded"], receipt["bytes"]) == (500_000, 1_400_000)
    web.close()


def asked_before_a_byte_is_moved() -> list[str]:
    service = load().service("embedder")
    return preflight.secret_problems(Cluster(service.connection), service, ["raw-reader"])


def test_airflow_may_make_such_secrets_and_read_none(stand):
    airflow = client.CoreV1Api(config.new_client_from_config(os.environ["AIRFLOW_KUBECONFIG"]))
    for look in (
        lambda: airflow.read_namespaced_secret("modelsync-bucket", stand.namespace),
        lambda: airflow.list_namespaced_secret(stand.namespace),
    ):
        with pytest.raises(ApiException) as refused:
            look()
        assert refused.value.status == 403
