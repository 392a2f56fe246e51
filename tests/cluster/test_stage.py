"""Stage runs in a real cluster: real pods on a real claim bring what folders in a real bucket name."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import stores
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.catalog import load
from modelberth.core.prune import READY, Lying
from modelberth.core.revision import Snapshot
from modelberth.kubernetes.named import named
from modelberth.operators import release_of
from modelberth.operators.fetch import FetchModelOperator
from modelberth.operators.stage import ListNamedOperator, ReportStagedOperator
from modelberth.operators.stage_pods import PROBLEM, FetchStagedOperator, SyncStagedOperator, VerifyStagedOperator
from modelberth.operators.sync import SyncModelOperator
from modelberth.receipts import open_store, release_evidence, signing_key
from modelberth.receipts.audit import Auditor
from modelberth.sources import proposal, source_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rollouts import Stand

STEPS = {"fetch": FetchStagedOperator, "sync": SyncStagedOperator, "verify": VerifyStagedOperator}


@dataclass
class Run:
    """What one stage run did.

    :param asked: What *list* returned.
    :param failed: Why steps failed, by task and index.
    :param error: Why *report* failed.
    """

    asked: list[dict[str, str]] = field(default_factory=list)
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    table: str = ""
    error: str = ""

    def state(self, model: str, version: str = "") -> list[str]:
        """Return what the table says of one version, or of a model's snapshots that have none."""
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in self.table.splitlines() if "|" in line]
        return [state for about, which, state, *_ in rows if (about, which) == (model, version)]


@dataclass
class Chat:
    """A service of one test's own, on the session's claim, whose registry is a prefix in S3."""

    stand: Stand
    bucket: str
    name: str
    catalog: Path

    def put(self, at: str, *files: bytes) -> None:
        for number, data in enumerate(files):
            key = f"registry/{self.name}/{at}/{number}.bin"
            self.stand.s3.put_object(Bucket=self.stand.bucket, Key=key, Body=data)

    def remove(self, at: str) -> None:
        found = self.stand.s3.list_objects_v2(Bucket=self.stand.bucket, Prefix=f"registry/{self.name}/{at}/")
        for one in found["Contents"]:
            self.stand.s3.delete_object(Bucket=self.stand.bucket, Key=one["Key"])

    def write(self, model: str, **more: Any) -> None:
        """Write the catalog: the service binds *model*."""
        store = {"url": f"s3://{self.bucket}/models", "connection": "test_receipts"}
        receipts = {"url": f"s3://{self.stand.bucket}/receipts", "connection": "test_receipts"}
        source = {"type": "directory", "path": "nowhere"}
        stage = {
            "registry": {"type": "s3", "url": f"s3://{self.stand.bucket}/registry", "connection": "test_receipts"},
            "bucket": store,
            "receipts": receipts,
        }
        service = {
            "connection": "test_kubernetes",
            "namespace": self.stand.namespace,
            "claim": "models",
            "workload": {"kind": "Deployment", "name": "none"},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": model}],
            "pods": {
                "image": os.environ["MODELSYNC_IMAGE"],
                "service_account": "modelsync",
                "bucket_secret": "modelsync-bucket",
            },
            "confirm": {"level": "declared"},
            "approvers": [{"id": "alice", "name": "Alice"}],
            "stage": stage,
        }
        documents = {
            f"models/{model}.yaml": {"source": source, "bucket": store, "receipts": receipts} | more,
            f"services/{self.name}.yaml": service,
        }
        for path, document in documents.items():
            (self.catalog / path).parent.mkdir(exist_ok=True)
            (self.catalog / path).write_text(yaml.safe_dump(document))

    def run(self, only: tuple[str, ...] = tuple(STEPS)) -> Run:
        """Do what a run of ``stage_<service>`` does; *only* some of its steps, as if the others were interrupted."""
        run, context = Run(), context_of(f"stage_{self.name}")
        context["ti"].xcom_pull = lambda task_ids, key, map_indexes: run.failed.get((task_ids, map_indexes))
        run.asked = ListNamedOperator(task_id="list", service=self.name).execute(context)
        for index, row in enumerate(run.asked):
            self.bring(run, row, index, only)
        report = ReportStagedOperator(task_id="report", service=self.name, tried=run.asked)
        try:
            report.execute(context)
        except AirflowFailException as error:
            run.error = str(error)
        run.table = report.table
        return run

    def bring(self, run: Run, row: dict[str, str], index: int, only: tuple[str, ...]) -> None:
        for task in only:
            context = context_of(f"stage_{self.name}", f"version.{task}", index)
            step = STEPS[task](task_id=task, target=self.name, **row)
            try:
                step.execute(context)
            except AirflowException:
                run.failed[f"version.{task}", index] = context["ti"].pushed[PROBLEM]
                return

    def evidence(self, run: Run, model: str, version: str) -> dict[str, Any]:
        [row] = [one for one in run.asked if (one["model"], one["version"]) == (model, version)]
        return release_evidence(self.stand_in(model), row["release_id"]).all()

    def lying(self, run: Run, model: str, version: str) -> Lying:
        """Return the snapshot that a run has brought, as a prune would meet it."""
        snapshot = self.evidence(run, model, version)[f"03-sync-{self.name}"]["snapshot"]
        return Lying(model, Snapshot.parse(snapshot), READY)

    def stand_in(self, model: str) -> Any:
        place = SimpleNamespace(url=f"s3://{self.stand.bucket}/receipts", connection="test_receipts")
        return SimpleNamespace(name=model, receipts=place)


def context_of(dag_id: str, task_id: str = "task", index: int = -1) -> dict[str, Any]:
    """Return a task's context of a run of its own."""
    run_id, pushed = f"manual__{uuid.uuid4().hex}", {}
    ti = SimpleNamespace(
        try_number=1, max_tries=0, pushed=pushed, dag_id=dag_id, task_id=task_id,
        map_index=index, run_id=run_id,
    )  # fmt: skip
    ti.xcom_push = lambda *, key, value: pushed.update({key: value})
    run = SimpleNamespace(
        dag_id=dag_id, run_id=run_id, run_after=datetime.now(UTC), triggering_user_name="bob", conf={}
    )
    return {"ti": ti, "dag_run": run, "run_id": run_id, "dag": SimpleNamespace()}


@pytest.fixture(scope="module")
def models(stand: Stand) -> Iterator[str]:
    """A bucket that pods may use; the receipts' bucket, where the registry lies, they may not even list."""
    name = f"modelberth-test-{uuid.uuid4().hex[:8]}"
    stand.s3.create_bucket(Bucket=name)
    yield name
    stores.delete_bucket(stand.s3, name)


@pytest.fixture
def chat(stand: Stand, models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chat:
    monkeypatch.setattr("modelberth.operators.pod.STAYS", 120.0)  # there is no triggerer here
    monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path))
    return Chat(stand, models, f"chat-{uuid.uuid4().hex[:6]}", tmp_path)


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:6]}"


def test_all_that_the_registry_names_is_staged_once_and_what_is_broken_disturbs_no_other(chat):
    minilm, adapter = unique("minilm"), unique("adapter")
    chat.write(minilm)
    chat.put(f"{minilm}/v1", os.urandom(100_000), b"{}")
    chat.put(f"{adapter}/2026.1", os.urandom(9_000_000))
    chat.put("Not_A_Label/v1", b"x")
    [doubt] = named(load().services.values()).unknown
    assert f"run stage_{chat.name}" in doubt.why
    first = chat.run()
    assert [(row["model"], row["version"]) for row in first.asked] == [(adapter, "2026.1"), (minilm, "v1")]
    assert first.state(minilm, "v1") == first.state(adapter, "2026.1") == ["fetched"]
    assert first.state("Not_A_Label", "v1") == ["failed"]
    assert "is no DNS label" in first.error
    receipts = chat.evidence(first, adapter, "2026.1")
    assert list(receipts) == ["01-resolve", "02-upload", f"03-sync-{chat.name}", f"04-verify-{chat.name}"]
    place = chat.stand_in(adapter).receipts
    auditor = Auditor(open_store(place.url, place.connection), signing_key())
    assert auditor.audit(adapter, None, datetime(2100, 1, 1, tzinfo=UTC)).problems == []

    seen, lying = named(load().services.values()), chat.lying(first, minilm, "v1")
    assert seen.users(lying) == [f"the registry of service {chat.name}"]
    assert not seen.unknown

    again = chat.run()
    assert again.asked == []
    assert again.state(minilm, "v1") == again.state(adapter, "2026.1") == ["present"]

    chat.remove(f"{minilm}/v1")
    chat.put(f"{minilm}/v2", b"new")
    third = chat.run()
    assert [row["version"] for row in third.asked] == ["v2"]
    assert third.state(minilm, "v2") == ["fetched"]
    assert third.state(minilm) == ["unreferenced"]
    assert named(load().services.values()).users(lying) == []
    assert third.state(adapter, "2026.1") == ["present"]


def test_what_a_run_was_interrupted_in_the_next_goes_on_with_and_moves_no_byte_again(chat):
    minilm = unique("minilm")
    chat.write(minilm)
    chat.put(f"{minilm}/v1", os.urandom(1_000_000))
    first = chat.run(only=("fetch", "sync"))
    assert first.state(minilm, "v1") == ["failed"]
    assert "Its verify has not ended well" in first.error
    second = chat.run()
    assert second.state(minilm, "v1") == ["fetched"]
    assert first.asked == second.asked
    receipts = chat.evidence(second, minilm, "v1")
    assert receipts["02-upload"]["bytes_uploaded"] == receipts["02-upload"]["bytes_copied"] == 0
    assert receipts[f"03-sync-{chat.name}"]["bytes_fetched"] == 0
    uploads = chat.stand.s3.list_objects_v2(Bucket=chat.bucket, Prefix=f"models/{minilm}/data/")["Contents"]
    assert len(uploads) == 1


def test_a_run_takes_on_no_more_than_airflow_maps_and_leaves_the_rest_to_the_next(chat, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "1")
    minilm = unique("minilm")
    chat.write(minilm)
    for version in ("v1", "v2"):
        chat.put(f"{minilm}/{version}", version.encode())
    run = chat.run(only=("fetch", "sync"))
    assert [row["version"] for row in run.asked] == ["v1"]
    assert (run.state(minilm, "v1"), run.state(minilm, "v2")) == (["failed"], ["waiting"])
    assert "v2" not in run.error


def test_a_release_of_what_is_staged_moves_no_byte(chat):
    minilm = unique("minilm")
    source = {"type": "s3", "url": f"s3://{chat.stand.bucket}/registry/{chat.name}/{minilm}/v1"}
    chat.write(minilm, source=source | {"connection": "test_receipts"})
    chat.put(f"{minilm}/v1", os.urandom(9_000_000), os.urandom(1_000))
    assert chat.run().state(minilm, "v1") == ["fetched"]
    context, config = context_of(f"release_{minilm}"), load().model(minilm)
    evidence = release_evidence(config, release_of(context))
    evidence.write("resolve", proposal(source_of(config).resolve()))
    FetchModelOperator(task_id="upload", model=minilm).execute(context)
    SyncModelOperator(task_id="sync", model=minilm, target=chat.name).execute(context)
    upload, sync = evidence.read("upload"), evidence.read("sync", chat.name)
    assert (upload["bytes_uploaded"], upload["bytes_copied"], upload["bytes"]) == (0, 0, 9_001_000)
    assert (sync["bytes_fetched"], sync["bytes_reused"]) == (0, 0)


def test_a_source_that_goes_away_during_the_run_fails_alone_and_says_so(chat, monkeypatch):
    minilm, other = unique("minilm"), unique("other")
    chat.write(minilm)
    chat.put(f"{minilm}/v1", b"1")
    chat.put(f"{other}/v1", b"2")
    bring = Chat.bring

    def without(self: Chat, run: Run, row: dict[str, str], *rest: Any) -> None:
        if row["model"] == other:
            chat.put(f"{other}/v1", b"3")
        bring(self, run, row, *rest)

    monkeypatch.setattr(Chat, "bring", without)
    run = chat.run()
    assert run.state(other, "v1") == ["failed"]
    assert "moved on during the release" in run.error
    assert run.state(minilm, "v1") == ["fetched"]


def test_nobody_can_have_another_thing_brought_by_changing_what_list_returned(chat):
    minilm, other = unique("minilm"), unique("other")
    chat.write(minilm)
    chat.put(f"{minilm}/v1", b"1")
    run, context = Run(), context_of(f"stage_{chat.name}")
    [row] = ListNamedOperator(task_id="list", service=chat.name).execute(context)
    for forged in (
        {"model": other},
        {"version": "v2"},
        {"release_id": "20260102t030405z-9f86d08188"},
        {"model": "../x"},
    ):
        run.failed = {}
        chat.bring(run, row | forged, 0, ("fetch",))
        assert run.failed, forged
