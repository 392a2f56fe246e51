"""Rollbacks and the audit on a real cluster and a real receipts store, with a bucket and a source that are down."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.context import OutletEventAccessors
from rollouts import Release, Releases, Stand, drive

from modelberth.core import refresh
from modelberth.core.approval import place
from modelberth.core.release import release_id
from modelberth.kubernetes import preflight, workload
from modelberth.kubernetes.rollout import Rollout
from modelberth.operators.assets import LIVE, asset_of
from modelberth.operators.audit import PROBLEMS, AuditReceiptsOperator, CompareServedOperator, ReportDriftOperator
from modelberth.operators.record import RecordModelOperator
from modelberth.operators.rollback import PlanRollbackOperator, SettleRollbackOperator, by_hand
from modelberth.receipts import StoreUnreachableError, ledger, open_store, release_evidence, signing_key
from modelberth.receipts.audit import Auditor
from modelberth.sensors import question
from modelberth.sensors.rollback import RollbackApprovalSensor

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.core.revision import Snapshot

DEAD = {"url": "s3://bucket/models", "connection": "test_silent"}
"""A bucket that does not answer: what a rollback reads of it takes minutes, and fails."""

decide = partial(refresh.decide, answer_within=timedelta(days=7))


@dataclass
class Lab:
    """One model of one service, and what is done with it."""

    stand: Stand
    releases: Releases
    catalog: Path
    shown: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.releases.name

    def write(self, **service: Any) -> None:
        """Write the two files of the catalog; neither the source nor the bucket can be read."""
        receipts = {"url": f"s3://{self.stand.bucket}/receipts", "connection": "test_receipts"}
        source = {"type": "directory", "path": "/nowhere"}
        ours = {"source": source, "bucket": DEAD, "receipts": receipts}
        theirs = {
            "connection": "test_kubernetes",
            "namespace": self.stand.namespace,
            "claim": "models",
            "workload": {"kind": "Deployment", "name": self.name},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": self.name}],
            "pods": {"image": "x", "service_account": "x", "bucket_secret": "x"},
            "confirm": {"level": "reported", "port": 8000, "report": "/modelz"},
            "approvers": [{"id": "alice", "name": "Alice"}],
            "ready_within": 60,
        }
        for folder, document in (("models", ours), ("services", theirs | service)):
            (self.catalog / folder).mkdir(exist_ok=True)
            (self.catalog / folder / f"{self.name}.yaml").write_text(yaml.safe_dump(document))

    def live(self) -> Release:
        """Release another snapshot, to its good end."""
        one = self._approved()
        stop = drive(one.rollout())
        assert stop
        assert stop.status == "live", stop
        return self._recorded(one)

    def was_live(self) -> Release:
        """Leave what a release leaves that went live, without waiting for its pods."""
        one = self._approved()
        digest = {"plan_digest": str(one.plan.digest)}
        about = {"revision": str(one.plan.own.revision), "snapshot": str(one.snapshot)}
        one.evidence.write("started", digest, target=one.name)
        one.evidence.write("decided", {"decision": "keep"}, target=one.name)
        one.evidence.write("outcome", {"result": "live", **digest, **about}, target=one.name)
        self.stand.set_path(self.name, one.to)
        return self._recorded(one)

    def _approved(self) -> Release:
        one = self.releases().staged().planned().approved().checked()
        about = {"revision": str(one.plan.own.revision), "source_version": "v1"}
        one.ledger.record("approved", one.plan.release_id, **about)
        return one

    def _recorded(self, one: Release) -> Release:
        about = {"revision": str(one.plan.own.revision), "source_version": "v1"}
        record = {**about, "plan_digest": str(one.plan.digest), "targets": [one.name]}
        one.evidence.write("record", record)
        one.ledger.record("live", one.plan.release_id, **about)
        return one

    def audit(self) -> list[str]:
        """Return what is wrong with all that is on record of the model."""
        store = open_store(f"s3://{self.stand.bucket}/receipts", "test_receipts")
        report = Auditor(store, signing_key()).audit(self.name, None, datetime.now(UTC) + timedelta(days=2))
        return [str(problem) for problem in report.problems]

    @property
    def ledger(self) -> Any:
        return ledger(self.stand.config(self.name))


@dataclass
class Back:
    """One run of rollback_model, task by task."""

    lab: Lab
    to: str = ""
    reason: str = ""
    break_glass: bool = False
    by: str | None = "bob"
    age: timedelta = timedelta(0)
    pushed: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        due, run_id = datetime.now(UTC) - self.age, uuid.uuid4().hex
        run = SimpleNamespace(
            dag_id="rollback_model", run_id=run_id, run_after=due, triggering_user_name=self.by, conf={}
        )
        self.release_id = release_id("rollback_model", run_id, due)
        name = self.lab.name
        said = {"model": name, "service": name, "to": self.to, "reason": self.reason, "break_glass": self.break_glass}
        self.context: Any = {
            "dag_run": run,
            "params": said,
            "ti": SimpleNamespace(id="ti", xcom_push=lambda key, value: self.pushed.update({key: value})),
            "outlet_events": OutletEventAccessors(),
        }
        self.evidence = release_evidence(self.lab.stand.config(name), self.release_id)

    def listed(self, *gone: Snapshot) -> Back:
        """Leave what a pod finds on the claim: all that was staged, but what is *gone*."""
        there = sorted(path.name for path in (self.lab.stand.claim / self.lab.name).iterdir())
        rows = [{"snapshot": one, "state": "ready", "bytes": 1} for one in there if one not in map(str, gone)]
        models = [{"model": self.lab.name, "snapshots": rows}]
        self.evidence.write("list", {"models": models}, target=self.lab.name)
        return self

    def plan(self) -> list[str]:
        return PlanRollbackOperator(task_id="plan").execute(self.context)

    def gate(self) -> Any:
        return RollbackApprovalSensor(task_id="approve", model=self.lab.name)

    def answered(self, option: str = "Approve") -> Any:
        """Ask, and let Alice answer."""
        with pytest.raises(TaskAwaitingInput) as parked:
            self.gate().execute(self.context)
        event = {
            "chosen_options": [option],
            "params_input": {},
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": "alice", "name": "Alice"},
            "timedout": False,
        }
        return self.gate().execute_complete(self.context, event, **parked.value.kwargs)

    def served(self) -> str:
        """Check, roll out, record and settle; return the outcome."""
        name, receipts = self.lab.name, self.lab.stand.config(self.lab.name).receipts
        planned = self.evidence.read("plan")["plan"]
        target = planned["targets"][0]
        about = {"revision": planned["models"][0]["revision"], "snapshot": target["served"][0]["snapshot"]}
        where = {key: target[key] for key in ("connection", "namespace", "claim")}
        self.evidence.write("check", about | where, target=name)
        rollout = Rollout(
            model=name, release_id=self.release_id, target=name, receipts=(receipts.url, receipts.connection)
        )
        stop = drive(rollout)
        assert stop
        if stop.status == "live":
            record = RecordModelOperator(task_id="record", model=name, outlets=[LIVE])
            record.execute({**self.context, "task": record})
        return stop.status

    def settle(self) -> Any:
        return SettleRollbackOperator(task_id="settle", model=self.lab.name).execute(self.context)

    def events(self) -> set[str]:
        return self.lab.ledger.events(self.release_id)


@pytest.fixture
def lab(stand, release, tmp_path, monkeypatch) -> Lab:
    """Two releases that went live, one after the other."""
    monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path))
    lab = Lab(stand, release, tmp_path)
    monkeypatch.setattr(question, "put", lambda *asked: lab.shown.update(subject=asked[1], body=asked[2]))
    lab.write(break_glass=["carol"])
    return lab


def test_an_approved_rollback_serves_the_earlier_snapshot_and_neither_bucket_nor_source_is_asked(lab):
    first, second = lab.was_live(), lab.was_live()
    lab.releases().staged().planned()  # a newer proposal that waits for its gate stops no rollback
    back = Back(lab, to=str(first.snapshot), reason="answers nonsense").listed()
    assert back.plan() == [lab.name]
    assert back.answered()["responder"] == "alice"
    assert back.served() == "live"
    assert back.settle()["result"] == "it is live"
    assert lab.stand.bound(lab.name) == first.to
    assert str(first.snapshot) in lab.shown["body"]
    assert "answers nonsense" in lab.shown["body"]
    assert lab.shown["subject"].startswith("Roll back to")
    assert back.events() == {"rollback", "approved", "live"}
    assert "rolled-back" in lab.ledger.events(second.plan.release_id)
    assert lab.audit() == []


def test_refresh_does_not_propose_again_what_was_rolled_back(lab):
    first, second = lab.was_live(), lab.live()
    assert decide(lab.ledger.entries(), "v1", now=datetime.now(UTC)).reason == "it is live"
    back = Back(lab, to=str(first.snapshot)).listed()
    back.plan()
    back.answered()
    back.served()
    for version, propose in (("v1", False), ("v2", True)):
        decision = decide(lab.ledger.entries(), version, now=datetime.now(UTC))
        assert decision.propose is propose, decision
    again = Back(lab, to=str(second.snapshot)).listed()
    again.plan()
    again.answered()
    assert again.served() == "live", "what was rolled back can be served again"
    assert "rolled-back" in back.events()
    assert not decide(lab.ledger.entries(), "v1", now=datetime.now(UTC)).propose


def test_the_head_of_the_chain_is_on_the_workload_and_in_the_assets_event(lab):
    first, second = lab.was_live(), lab.live()
    notes = workload.notes(lab.stand.read(lab.name))
    assert notes[workload.RECEIPT] == str(second.evidence.digest("decided", lab.name))
    back = Back(lab, to=str(first.plan.own.revision)).listed()
    back.plan()
    back.answered()
    back.served()
    notes = workload.notes(lab.stand.read(lab.name))
    assert notes[workload.RECEIPT] == str(back.evidence.digest("decided", lab.name))
    (event,) = back.context["outlet_events"][LIVE].asset_alias_events
    assert event.dest_asset_key.uri == asset_of(lab.name).uri
    assert event.extra["revision"] == str(first.plan.own.revision)
    assert event.extra["targets"] == [lab.name]
    assert event.extra["receipt"] == str(back.evidence.digest("record"))


def test_a_put_back_rollback_leaves_head_and_ledger_as_they_were(lab):
    first, second = lab.was_live(), lab.live()
    (lab.stand.claim / lab.name / str(first.snapshot) / "files" / "liar").touch()
    back = Back(lab, to=str(first.snapshot)).listed()
    back.plan()
    back.answered()
    assert back.served() == "put back"
    with pytest.raises(AirflowFailException):
        back.settle()
    notes = workload.notes(lab.stand.read(lab.name))
    assert notes[workload.RECEIPT] == str(second.evidence.digest("decided", lab.name))
    assert "rolled-back" not in lab.ledger.events(second.plan.release_id)
    assert lab.audit() == []


def test_without_a_name_it_only_says_what_there_is(lab):
    first, second = lab.was_live(), lab.was_live()
    third = lab.was_live()
    back = Back(lab).listed(first.snapshot)
    with pytest.raises(AirflowSkipException):
        back.plan()
    with pytest.raises(AirflowSkipException):
        back.settle()
    lines = {line.split("|")[1].strip(" `"): line for line in back.pushed["candidates"].splitlines()[2:]}
    assert list(lines) == [str(third.snapshot), str(second.snapshot), str(first.snapshot)]
    assert "no: served now" in lines[str(third.snapshot)]
    assert "| yes |" in lines[str(second.snapshot)]
    assert "no: not on the claim any more" in lines[str(first.snapshot)]
    assert back.events() == set()


@pytest.mark.parametrize("to", ["third", "gone", "nonsense"])
def test_what_cannot_be_served_again_is_refused_with_what_can(lab, to):
    first, second, third = lab.was_live(), lab.was_live(), lab.was_live()
    named = {"third": str(third.snapshot), "gone": str(first.snapshot), "nonsense": "v3"}[to]
    with pytest.raises(AirflowFailException, match=f"that can: {second.snapshot}"):
        Back(lab, to=named).listed(first.snapshot).plan()


def refused(back: Back, said: str) -> None:
    with pytest.raises(AirflowFailException, match=said):
        back.listed().plan()
    assert back.evidence.find("plan") is None
    assert back.events() == set(), "nobody is asked"


def test_what_the_api_server_would_refuse_is_said_before_anyone_is_asked(lab):
    first, _ = lab.was_live(), lab.was_live()
    names = ("MODEL_PATH", "SECRET_PATH")
    lab.write(bindings=[{"container": "server", "variable": one, "model": lab.name} for one in names])
    refused(Back(lab, to=str(first.snapshot)), "may not be changed as planned: .*only these variables may change")


def test_rights_that_a_rollback_needs_and_airflow_lost_are_said_before_anyone_is_asked(lab, monkeypatch):
    first, _ = lab.was_live(), lab.was_live()
    monkeypatch.setattr(preflight, "RIGHTS", (*preflight.RIGHTS, ("", "secrets", ("list",))))
    refused(Back(lab, to=str(first.snapshot)), "may not list secrets in namespace")


def test_a_rejected_rollback_changes_nothing(lab):
    first, second = lab.was_live(), lab.was_live()
    back = Back(lab, to=str(first.snapshot)).listed()
    back.plan()
    with pytest.raises(AirflowSkipException):
        back.answered("Reject")
    with pytest.raises(AirflowSkipException):
        back.settle()
    assert back.events() == {"rollback", "rejected"}
    assert lab.stand.bound(lab.name) == second.to
    assert lab.audit() == []


def test_breaking_the_glass_waits_for_nobody_and_is_on_record(lab):
    first, _ = lab.was_live(), lab.was_live()
    back = Back(lab, to=str(first.snapshot), reason="all answers are wrong", break_glass=True, by="carol").listed()
    back.plan()
    assert back.gate().execute(back.context)["responder"] == "carol"
    assert back.served() == "live"
    receipt = back.evidence.read("approve")
    assert (receipt["break_glass"], receipt["note"]) == (True, "all answers are wrong")
    assert receipt["responder"] == {"id": "carol", "name": "carol"}
    assert lab.audit() == []


@pytest.mark.parametrize(
    ("by", "reason", "said"),
    [
        ("carol", " ", "reason"),
        ("bob", "now", "bob may not"),
        ("alice", "now", "alice may not"),
        (None, "now", "may not"),
    ],
)
def test_the_glass_is_broken_only_by_whom_the_service_names_and_with_a_reason(lab, by, reason, said):
    first, second = lab.was_live(), lab.was_live()
    back = Back(lab, to=str(first.snapshot), reason=reason, break_glass=True, by=by).listed()
    with pytest.raises(AirflowFailException, match=said):
        back.plan()
    assert lab.stand.bound(lab.name) == second.to


def test_who_clears_an_old_run_or_starts_it_for_another_breaks_no_glass(lab):
    first, _ = lab.was_live(), lab.was_live()
    old = Back(lab, to=str(first.snapshot), reason="x", break_glass=True, by="carol", age=timedelta(hours=2)).listed()
    old.plan()
    with pytest.raises(AirflowFailException, match="counts for an hour"):
        old.gate().execute(old.context)
    another = Back(lab, to=str(first.snapshot), reason="x", break_glass=True, by="carol").listed()
    another.plan()
    another.context["dag_run"].triggering_user_name = "bob"
    with pytest.raises(AirflowFailException, match="somebody else"):
        another.gate().execute(another.context)


def test_what_the_old_answer_allowed_is_used_up(lab):
    first, second = lab.was_live(), lab.was_live()
    back = Back(lab, to=str(first.snapshot)).listed()
    back.plan()
    back.answered()
    back.served()
    lab.stand.set_path(lab.name, second.to)
    with pytest.raises(AirflowFailException, match="is used"):
        back.gate().execute(back.context)
    assert lab.stand.bound(lab.name) == second.to


def test_when_the_receipts_cannot_be_reached_the_error_is_what_a_person_types(lab):
    first, second = lab.was_live(), lab.was_live()
    rows = [
        {"model": lab.name, "snapshots": [{"snapshot": str(one.snapshot), "state": "ready"} for one in (first, second)]}
    ]
    said = by_hand(lab.name, lab.name, rows, StoreUnreachableError("the store is silent."))
    (line,) = [line.strip() for line in said.splitlines() if "kubectl" in line]
    assert line == (
        f"kubectl --namespace {lab.stand.namespace} set env deployment/{lab.name} --containers=server "
        f"MODEL_PATH={first.to}"
    )
    assert json.dumps(place(first.target))  # the line is about the claim that the service is on


# --- the audit ------------------------------------------------------------------------------------------------------


def compared(lab: Lab) -> tuple[list[str], list[dict[str, str]]]:
    """Return what an audit finds changed, and what it has verified."""
    one = Back(lab)
    served = CompareServedOperator(task_id="compare").execute(one.context)
    return one.pushed[PROBLEMS], served


def observed(lab: Lab) -> list[str | None]:
    return [entry.reason for entry in lab.ledger.entries() if entry.event == "observed"]


def test_an_audit_finds_nothing_where_nobody_changed_anything(lab):
    assert compared_before_any_release(lab) == []
    one = lab.live()
    problems, served = compared(lab)
    assert problems == []
    assert served == [{"model": lab.name, "target": lab.name, "snapshot": str(one.snapshot)}]
    assert observed(lab) == []
    ReportDriftOperator(task_id="report", problems=problems).execute({})


def compared_before_any_release(lab: Lab) -> list[str]:
    """A variable that is not set and a model that was never released are no drift."""
    lab.stand.deploy(lab.name, path=None)
    problems, _ = compared(lab)
    lab.stand.apps.delete_namespaced_deployment(lab.name, lab.stand.namespace)
    return problems


def test_an_audit_names_what_somebody_else_changed_puts_it_on_record_once_and_leaves_it(lab):
    first, second = lab.was_live(), lab.live()
    lab.stand.set_path(lab.name, first.to)
    lab.stand.change(lab.name, {"metadata": {"annotations": {workload.RECEIPT: "sha256:0"}}})
    for _ in range(2):
        problems, served = compared(lab)
        said = "\n".join(problems)
        assert f"'{first.to}', but release {second.plan.release_id} left '{second.to}'" in said
        assert "receipt sha256:0" in said
        assert [one["snapshot"] for one in served] == [str(first.snapshot)], (
            "what is served is verified, whoever set it"
        )
        assert len(observed(lab)) == 1
        with pytest.raises(AirflowFailException, match="Somebody else"):
            ReportDriftOperator(task_id="report", problems=problems).execute({})
    assert lab.stand.bound(lab.name) == first.to
    decision = decide(lab.ledger.entries(), "v1", now=datetime.now(UTC))
    assert decision.reason == "it is live", "refresh takes no observation for a proposal"


def test_an_annotation_that_no_release_stands_behind_silences_no_audit(lab):
    first, _ = lab.was_live(), lab.live()
    lab.stand.set_path(lab.name, first.to)
    lab.stand.change(lab.name, {"metadata": {"annotations": {workload.LOCK: "for-good"}}})
    assert f"'{first.to}'" in "\n".join(compared(lab)[0])


def test_an_audit_says_nothing_of_a_workload_while_a_release_changes_it(lab):
    lab.was_live()
    one = lab.releases("unready", ready_within=300).ready()
    rollout = one.rollout()
    drive(rollout, until=lambda: lab.stand.bound(lab.name) == one.to)
    assert compared(lab)[0] == []
    settling = one.rollout()
    settling.end("enough seen")
    assert drive(settling).status == "put back"


def test_an_audit_misses_the_evidence_of_the_only_live_release_by_what_the_workload_names(lab):
    one = lab.live()
    receipt = workload.notes(lab.stand.read(lab.name))[workload.RECEIPT]
    for folder in (lab.name, f"ledger/{lab.name}"):
        listed = lab.stand.s3.list_objects_v2(Bucket=lab.stand.bucket, Prefix=f"receipts/{folder}/")["Contents"]
        for key in (found["Key"] for found in listed):
            lab.stand.s3.delete_object(Bucket=lab.stand.bucket, Key=key)
    assert lab.audit() == [], "nothing is on record that could be missed"
    problems, served = compared(lab)
    assert problems == [
        f"{lab.name} at {lab.name}: its annotation names receipt {receipt}, of which nothing is on record"
    ]
    assert [found["snapshot"] for found in served] == [str(one.snapshot)]


def test_a_service_that_cannot_be_looked_at_is_said(lab):
    lab.was_live()
    lab.write(workload={"kind": "Deployment", "name": "ghost"})
    problems, served = compared(lab)
    assert "ghost" in problems[0]
    assert served == []


def test_evidence_that_was_taken_away_fails_the_audit_by_name(lab):
    one = lab.was_live()
    AuditReceiptsOperator(task_id="receipts").execute({})
    key = f"{lab.name}/{one.plan.release_id}/06-approve.json"
    lab.stand.s3.delete_object(Bucket=lab.stand.bucket, Key=f"receipts/{key}")
    with pytest.raises(AirflowFailException, match=key):
        AuditReceiptsOperator(task_id="receipts").execute({})
