"""A rollback with all of Airflow, its bucket and its source gone, a freeze on; and who hears of it."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import minilm
import pytest
from airflow_client import AirflowError

if TYPE_CHECKING:
    from airflow_client import Run
    from conftest import Model, Stand

GATE = "approve"
SERVICE = {"ready_within": 60, "break_glass": ["admin"]}
GONE = {"url": "s3://modelberth-nowhere/models", "connection": "nobody"}


@pytest.fixture(scope="module")
def rolled(stand: Stand) -> Model:
    """A model of which two releases went live; since then its bucket and its source are gone, and releases frozen."""
    model = stand.model("rolled", {}, SERVICE)
    stand.dag(model.dag_id)
    for form in ("fp32", "int8"):
        minilm.put_model(model.source, form)
        model.released()
    shutil.rmtree(model.source)
    stand.catalog(model.name, model.source, SERVICE, {"bucket": GONE})
    stand.admin.send("POST", "variables", {"key": "modelberth_freeze", "value": "true"})
    yield model
    stand.admin._call("DELETE", "/api/v2/variables/modelberth_freeze")


def start(user: Any, model: Model, **conf: Any) -> Run:
    return user.trigger("rollback_model", {"model": model.name, "service": model.name, **conf})


def snapshots(model: Model) -> list[str]:
    """Return the snapshots on the claim, the one that was staged first first."""
    return [path.name for path in sorted(model.snapshots(), key=lambda path: (path / "READY.json").stat().st_mtime)]


def own_start(model: Model) -> float:
    """Return the seconds from the making of the newest serving pod to its being ready."""
    selector = ",".join(f"{key}={value}" for key, value in model.deployment().spec.selector.match_labels.items())
    pods = model.stand.core.list_namespaced_pod(model.stand.namespace, label_selector=selector).items
    pod = max(pods, key=lambda one: one.metadata.creation_timestamp)
    (ready,) = [one for one in pod.status.conditions if one.type == "Ready"]
    return (ready.last_transition_time - pod.metadata.creation_timestamp).total_seconds()


def heard(stand: Stand) -> list[dict[str, Any]]:
    """Return what the Dag that listens was told, run by run."""
    runs = stand.admin.runs("listens")
    return [extra for run in runs if stand.admin.wait_finished(run) for extra in stand.admin.result(run, "heard")]


def test_started_without_a_name_it_says_what_can_be_served_again_and_changes_nothing(stand, rolled):
    first, second = snapshots(rolled)
    before = rolled.deployment().spec
    run = start(stand.bob, rolled)
    rolled.ended(run, "success")
    assert stand.admin.tasks(run)["plan"] == "skipped", stand.story(run)
    table = stand.admin.get(f"{run.path}/taskInstances/plan/xcomEntries/candidates")["value"]
    assert [first in line for line in table.splitlines() if "| yes |" in line] == [True]
    assert [second in line for line in table.splitlines() if "served now" in line] == [True]
    assert rolled.deployment().spec == before


def test_an_approved_rollback_serves_the_earlier_snapshot_soon_and_others_hear_of_it(stand, rolled, capsys):
    first, _ = snapshots(rolled)
    run = start(stand.bob, rolled, to=first, reason="worse answers")
    stand.admin.wait_parked(run, GATE)
    asked = stand.admin.question(run, GATE)
    assert "worse answers" in asked["body"]
    assert first in asked["body"]
    began = datetime.now(UTC)
    stand.alice.answer(run, GATE, "Approve")
    rolled.ended(run, "success")
    assert rolled.ask("/modelz")["snapshot"] == first
    release = rolled.release_id(run)
    outcome = rolled.receipt(run, f"09-outcome-{rolled.name}")
    seconds, pod = (datetime.fromisoformat(outcome["at"]) - began).total_seconds(), own_start(rolled)
    with capsys.disabled():
        print(f"rollback: {seconds:.1f} s from the answer to the outcome, of which {pod:.1f} s the pod's own start")
    assert seconds < pod + 60, "an idle machine takes 10 s: docs/benchmarks.md"
    assert rolled.events(run)["rollback"] == "worse answers"
    told = [one for one in heard(stand) if one["release_id"] == release]
    assert [one["revision"] for one in told] == [outcome["revision"]]
    assert told[0]["targets"] == [rolled.name]
    assert told[0]["receipt"].startswith("sha256:")
    assert stand.admin.tasks(run)["verify"] == "skipped", "it was verified less than a week ago"


def test_the_glass_is_broken_only_by_whom_the_service_names(stand, rolled):
    _, second = snapshots(rolled)
    before = rolled.deployment().spec
    run = start(stand.bob, rolled, to=second, reason="now", break_glass=True)
    rolled.ended(run, "failed")
    assert "bob may not" in stand.admin.log(run, "plan")
    assert rolled.deployment().spec == before
    began = time.monotonic()
    run = start(stand.admin, rolled, to=second, reason="now", break_glass=True)
    rolled.ended(run, "success")
    assert rolled.ask("/modelz")["snapshot"] == second
    assert time.monotonic() - began < 120
    answer = rolled.receipt(run, "06-approve")
    assert (answer["responder"]["id"], answer["break_glass"], answer["note"]) == ("admin", True, "now")


def test_a_choice_that_is_none_is_refused_before_anything_runs(stand, rolled):
    with pytest.raises(AirflowError, match="400"):
        stand.bob.trigger("rollback_model", {"model": "nobody", "service": rolled.name})


def test_an_audit_reads_again_what_is_served_and_finds_all_on_record(stand, rolled):
    stand.admin.send("PATCH", "dags/audit_snapshots", {"is_paused": False})
    run = stand.admin.trigger("audit_snapshots")
    stand.admin.wait_finished(run)
    rows = stand.admin.get(f"{run.path}/taskInstances", limit=100)["task_instances"]
    assert [row["state"] for row in rows if row["task_id"] == "verify"][:1] == ["success"], stand.story(run)
    assert f"{rolled.name} at" not in stand.admin.log(run, "compare")
    assert f"{rolled.name}/" not in stand.admin.log(run, "receipts")
