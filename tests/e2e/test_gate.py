"""Ways round the gate that go through Airflow, and gates that end by themselves: docs/gate.md lists all ways.

Each model is on its way to its gate from the beginning, all at once; what a test does to one does not touch another.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from airflow_client import AirflowError

if TYPE_CHECKING:
    from airflow_client import Run
    from conftest import Model, Stand

GATE, SECOND = "gate.approve", "gate.approve_2"
TINY = {"weights.bin": os.urandom(100_000)}
ALICE, BOB = ({"id": name, "name": name} for name in ("alice", "bob"))

RULES: dict[str, dict[str, Any]] = {
    "waits": {},
    "late": {"answer_within": 60},
    "fewer": {"approvers": [ALICE, BOB], "approvals": 2},
    "eyes": {"approvers": [ALICE, BOB], "four_eyes": True},
    "recut": {},
}
CONF = {"late": {"revision": f"late@sha256:{'0' * 64}", "model": "waits", "plan_digest": f"sha256:{'0' * 64}"}}


@pytest.fixture(scope="module")
def gated(stand: Stand) -> dict[str, tuple[Model, Run, Any]]:
    """Models with their runs, and what was served before."""
    models = [stand.model(name, TINY, rules) for name, rules in RULES.items()]
    for model in models:
        stand.dag(model.dag_id)
    return {model.name: (model, started(stand, model), model.deployment().spec) for model in models}


def started(stand: Stand, model: Model) -> Run:
    """Start a release; the one under four eyes is Alice's."""
    user = stand.alice if model.name == "eyes" else stand.admin
    return user.trigger(model.dag_id, CONF.get(model.name))


def tries(stand: Stand, run: Run, task: str) -> int:
    return int(stand.admin.get(f"{run.path}/taskInstances/{task}")["try_number"])


def wait_looks(stand: Stand, run: Run, times: int) -> None:
    """Wait until the gate of *run* has looked *times* whether it has ended, and is parked again."""
    said = "nobody has answered yet"
    stand.admin.wait(f"Look {times} of {run}", lambda: stand.admin.log(run, GATE).count(said) >= times, 120)
    stand.admin.wait_parked(run, GATE)


# --- gates that wait ------------------------------------------------------------------------------------------------


def test_a_gate_that_a_newer_proposal_superseded_ends_by_itself(stand, gated):
    model, older, before = gated["waits"]
    model.parked(older)
    wait_looks(stand, older, 1)
    newer = model.start()
    model.ended(older, "success")
    assert stand.admin.tasks(older)[GATE] == "skipped"
    assert model.events(older)["superseded"] == f"release {model.release_id(newer)} is a newer proposal"
    stand.alice.answer(older, GATE, "Approve")  # Airflow takes it: nobody reads it any more
    assert "06-approve.json" not in model.receipts(older)
    assert model.deployment().spec == before


def test_a_gate_that_has_looked_takes_one_answer_with_its_note_and_has_used_no_try(stand, gated):
    model, _, before = gated["waits"]
    run = stand.admin.runs(model.dag_id)[-1]
    model.parked(run)
    wait_looks(stand, run, 2)
    notes = ("not on a Friday", "too large")
    with ThreadPoolExecutor() as pool:
        told = dict(zip(notes, pool.map(lambda note: refusal(stand, run, note), notes), strict=True))
    accepted = [note for note, refused in told.items() if not refused]
    assert accepted, told  # SQLite locks a table where other databases lock a row: two at once may both be heard
    model.ended(run, "success")
    answer = model.receipt(run, "06-approve")
    assert (answer["decision"], answer["responder"]["id"]) == ("reject", "alice")
    assert answer["note"] in accepted
    assert model.events(run)["rejected"] == f"rejected by alice: {answer['note']}"
    assert tries(stand, run, GATE) == 1
    assert model.deployment().spec == before


def refusal(stand: Stand, run: Run, note: str) -> str:
    """Answer no with *note* as Alice; return the API's refusal, empty if there is none."""
    try:
        stand.alice.answer(run, GATE, "Reject", note)
    except AirflowError as error:
        return str(error).partition(": ")[2]
    return ""


def test_a_gate_that_nobody_answers_in_time_rejects_whatever_the_runs_conf_says(stand, gated):
    model, run, before = gated["late"]
    model.ended(run, "success")
    upload, plan = stand.admin.result(run, "bucket.upload"), model.receipt(run, "05-plan")["plan"]
    assert [one["revision"] for one in plan["models"]] == [upload["revision"]]
    assert upload["revision"] != CONF["late"]["revision"]
    assert stand.admin.tasks(run)[GATE] == "skipped"
    assert model.events(run)["rejected"] == "nobody answered within 60 s (answer_within)"
    answer = model.receipt(run, "06-approve")
    assert (answer["decision"], answer["responder"]) == ("reject", None)
    assert model.deployment().spec == before


# --- ways round it --------------------------------------------------------------------------------------------------


def test_who_requested_it_cannot_approve_it_nor_run_the_rollout_alone_on_forged_results(stand, gated):
    model, run, before = gated["eyes"]
    model.parked(run)
    question = stand.admin.question(run, GATE)
    assert [user["id"] for user in question["assigned_users"]] == ["bob"]
    assert "| Requested by | alice |" in question["body"]
    with pytest.raises(AirflowError, match="403"):
        stand.alice.answer(run, GATE, "Approve")
    plan = stand.admin.result(run, "gate.plan")["plan_digest"]
    forged = {"decision": "approve", "responder": "bob", "plan_digest": plan}
    body = {"key": "return_value", "value": json.dumps(forged)}
    stand.admin.send("POST", f"{run.path}/taskInstances/{GATE}/xcomEntries", body)
    for task in (model.task(run, "check"), SECOND, GATE):
        stand.alice.mark(run, task, "success")
    model.ended(run, "failed")
    assert "has no receipt 06-approve" in stand.admin.log(run, model.task(run, "rollout"))
    assert model.deployment().spec == before


def test_a_catalog_that_asks_for_less_while_the_gate_waits_does_not_change_what_the_plan_asks_for(stand, gated):
    model, run, before = gated["fewer"]
    model.parked(run)
    stand.alice.answer(run, GATE, "Approve", "the first")
    stand.admin.wait_parked(run, SECOND)
    question = stand.admin.question(run, SECOND)
    assert [user["id"] for user in question["assigned_users"]] == ["bob"]
    assert "has approved: the first" in question["body"]
    with pytest.raises(AirflowError, match="403"):
        stand.alice.answer(run, SECOND, "Approve")
    stand.catalog(model.name, model.source, {"approvers": [ALICE]}, {})
    stand.admin.wait("The Dag with one gate", lambda: SECOND not in tasks_of(stand, model), 60)
    stand.admin.clear(run, model.task(run, "check"))
    model.ended(run, "failed")
    assert "has no receipt 06-approve-2" in stand.admin.log(run, model.task(run, "check"))
    assert model.deployment().spec == before


def tasks_of(stand: Stand, model: Model) -> list[str]:
    return [task["task_id"] for task in stand.admin.get(f"dags/{model.dag_id}/tasks")["tasks"]]


def test_a_release_that_is_run_again_with_other_bytes_has_no_gate_any_more(stand, gated):
    model, run, before = gated["recut"]
    model.parked(run)
    (model.source / "weights.bin").write_bytes(os.urandom(100_000))
    stand.admin.clear(run, "bucket.resolve")
    model.ended(run, "failed")
    states = stand.admin.tasks(run)
    assert states[GATE] == "upstream_failed"
    (failed,) = [task for task, state in states.items() if state == "failed" and task != "settle"]
    assert "under another name" in stand.admin.log(run, failed)
    assert model.deployment().spec == before
