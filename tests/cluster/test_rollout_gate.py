"""Plan, gate, record and settle: Airflow's side of a release, on real stores and a real cluster."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.context import OutletEventAccessors
from rollouts import drive

from modelberth.core.manifest import Entry, Manifest
from modelberth.core.plan import Capacity, parse
from modelberth.core.release import release_id
from modelberth.operators.plan import PlanModelOperator
from modelberth.operators.record import RecordModelOperator
from modelberth.operators.rollout import RolloutModelOperator
from modelberth.operators.settle import SettleModelOperator
from modelberth.receipts import ledger, open_store, release_evidence
from modelberth.sensors import approval, question

ALICE = {"id": "alice", "name": "Alice"}
ANSWER = {
    "chosen_options": ["Approve"],
    "params_input": {},
    "responded_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "responded_by_user": ALICE,
    "timedout": False,
}


class Run:
    """One run of a release's Dag, task by task; *asked* is what the gate has shown."""

    def __init__(
        self, stand: Any, name: str, day: int, monkeypatch: pytest.MonkeyPatch, service: str | None = None
    ) -> None:
        self.stand, self.name, self.service = stand, name, service or name
        self.pushed: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}
        due = datetime(2026, 1, day, tzinfo=UTC)
        self.context: Any = {
            "dag_run": SimpleNamespace(dag_id=f"release_{name}", run_id=f"run-{day}", run_after=due),
            "task": SimpleNamespace(outlets=[]),
            "outlet_events": OutletEventAccessors(),
            "ti": SimpleNamespace(id=uuid.uuid4(), xcom_push=lambda key, value: self.pushed.update({key: value})),
        }
        self.release_id = release_id(f"release_{name}", f"run-{day}", due)
        self.evidence = release_evidence(stand.config(name), self.release_id)
        self.ledger = ledger(stand.config(name))
        monkeypatch.setattr(question, "_sent", self._keep)

    def _keep(self, sent: Any) -> Any:
        """Stand where Airflow keeps questions."""
        self.asked = sent.model_dump()
        return sent

    def staged(self, digit: int) -> Run:
        """Leave what resolve, upload, sync and verify leave."""
        manifest = Manifest.of([Entry("weights.bin", 10, (bytes([digit]) * 32,))], [])
        revision, snapshot = f"{self.name}@{manifest.digest}", f"{manifest.digest.hex}.1"
        key = f"{self.name}/revisions/{manifest.digest.hex}/manifest.json"
        open_store(f"s3://{self.stand.bucket}/models", "test_receipts").create(key, manifest.dump())
        files = self.stand.claim / self.name / snapshot / "files"
        files.mkdir(parents=True)
        claim = {"connection": "test_kubernetes", "namespace": self.stand.namespace, "claim": "models"}
        about = {"revision": revision, "snapshot": snapshot, "bytes": 10, "files": 1, **claim}
        self.ledger.record("proposed", self.release_id, source_version=f"v{digit}")
        self.evidence.write("resolve", {"source_version": f"v{digit}", "requested_by": "bob"})
        self.evidence.write("upload", {"revision": revision, "bytes": 10, "files": 1})
        self.evidence.write("sync", about, target=self.service)
        self.evidence.write("verify", {**about, "how": "direct", "node": "node-1"}, target=self.service)
        return self

    def plan(self) -> dict[str, str]:
        return PlanModelOperator(task_id="plan", model=self.name).execute(self.context)

    def gate(self) -> Any:
        return approval.ModelApprovalSensor(task_id="approve", model=self.name)

    def park(self) -> dict[str, str]:
        """Ask, and return what travels to the answer."""
        with pytest.raises(TaskAwaitingInput) as parked:
            self.gate().execute(self.context)
        return parked.value.kwargs

    def answer(self, **changes: Any) -> Any:
        """Ask and be answered."""
        return self.gate().execute_complete(self.context, ANSWER | changes, **self.park())

    def check(self, *others: Run, target: str | None = None) -> None:
        """Leave what check leaves, with what it shows of the models of *others*."""
        verify = self.evidence.read("verify", self.service)
        about = ("revision", "snapshot", "connection", "namespace", "claim")
        also = [{key: one.evidence.read("verify", one.service)[key] for key in about[:2]} for one in others]
        body = {key: verify[key] for key in about} | {"also": also}
        self.evidence.write("check", body, target=target or self.service)

    def rollout(self, target: str | None = None) -> Any:
        from modelberth.kubernetes.rollout import Rollout

        receipts = (self.stand.config(self.name).receipts.url, "test_receipts")
        names = {"model": self.name, "release_id": self.release_id, "target": target or self.service}
        return Rollout(**names, receipts=receipts)

    def settle(self) -> Any:
        return SettleModelOperator(task_id="settle", model=self.name).execute(self.context)

    def record(self) -> Any:
        return RecordModelOperator(task_id="record", model=self.name).execute(self.context)

    def events(self) -> set[str]:
        return self.ledger.events(self.release_id)


@pytest.fixture
def catalog(stand, tmp_path, monkeypatch):
    """Return a writer of one model's two files."""
    monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path))

    def write(name: str, **service: Any) -> None:
        ours = {
            "source": {"type": "directory", "path": "."},
            "bucket": {"url": f"s3://{stand.bucket}/models", "connection": "test_receipts"},
            "receipts": {"url": f"s3://{stand.bucket}/receipts", "connection": "test_receipts"},
        }
        theirs = {
            "connection": "test_kubernetes",
            "namespace": stand.namespace,
            "claim": "models",
            "workload": {"kind": "Deployment", "name": name},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": name}],
            "pods": {"image": "x", "service_account": "x", "bucket_secret": "x"},
            "confirm": {"level": "reported", "port": 8000, "report": "/modelz"},
            "approvers": [{"id": "alice", "name": "Alice"}],
            "ready_within": 60,
        }
        for folder, document in (("models", ours), ("services", theirs | service)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.yaml").write_text(yaml.safe_dump(document))

    return write


@pytest.fixture
def run(stand, request, catalog, monkeypatch):
    """Return a maker of runs of one model, whose Deployment has no pods unless asked for."""
    name = f"g-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:6]}"
    made: list[Run] = []

    def make(replicas: int = 1, **service: Any) -> Run:
        if not made:
            stand.deploy(name, path="/models/none", replicas=replicas)
            catalog(name, **service)
        made.append(Run(stand, name, len(made) + 1, monkeypatch))
        return made[-1].staged(len(made))

    yield make
    stand.apps.delete_namespaced_deployment(name, stand.namespace)


# --- the plan -----------------------------------------------------------------------------------------------------


def test_a_plan_says_what_was_verified_what_is_live_and_what_will_be(run):
    one = run()
    shown = one.plan()
    receipt = one.evidence.read("plan")
    plan = parse(receipt["plan"])
    assert shown["plan_digest"] == receipt["plan_digest"] == str(plan.digest)
    [target] = plan.targets
    [binding], [served] = target.bindings, target.served
    assert (binding.from_, binding.to) == ("/models/none", f"/models/{one.name}/{target.snapshot_of(one.name)}/files")
    assert (served.difference.live, served.difference.added) == (None, 1)
    assert target.strategy["type"] == "RollingUpdate"
    assert [person.id for person in plan.gate.approvers] == ["alice"]


def test_a_plan_made_again_is_the_same_one(run):
    one = run()
    assert one.plan() == one.plan()


def test_a_plan_made_again_is_the_same_one_whatever_room_there_is_by_then(run, monkeypatch):
    one = run()
    first = one.plan()
    seen = Capacity("cannot know", ("pod x/y waits for a node as well and may take what an old pod leaves.",))
    monkeypatch.setattr("modelberth.kubernetes.capacity.judge", lambda cluster, document: seen)
    assert one.plan() == first


def test_a_plan_is_not_made_again_when_something_else_is_live(stand, run):
    one = run()
    one.plan()
    stand.set_path(one.name, "/models/by/hand")
    with pytest.raises(AirflowFailException, match="start a new release"):
        one.plan()


def test_of_two_releases_at_once_the_older_one_ends_before_anyone_is_asked(run):
    older, newer = run(), run()
    with pytest.raises(AirflowSkipException, match=f"release {newer.release_id} is a newer proposal"):
        older.plan()
    assert older.events() == {"proposed", "superseded"}
    with pytest.raises(AirflowSkipException):
        older.settle()
    newer.plan()


def test_what_a_person_set_by_hand_is_observed_and_taken_as_it_is(stand, run):
    one = run()
    one.plan()
    one.answer()
    one.check()
    drive(one.rollout())
    one.record()
    left = stand.bound(one.name)
    stand.set_path(one.name, "/models/by/hand")
    following = run()
    following.plan()
    receipt = following.evidence.read("plan")
    [target] = parse(receipt["plan"]).targets
    assert [binding.from_ for binding in target.bindings] == ["/models/by/hand"]
    [seen] = receipt["observed"]
    assert (seen["left"], seen["found"], seen["since"]) == (left, "/models/by/hand", one.release_id)
    assert "observed" in following.events()
    following.park()
    assert "somebody else changed" in following.asked["body"]
    assert stand.bound(one.name) == "/models/by/hand"


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        ({"spec": {"paused": True}}, "paused"),
        ({"spec": {"replicas": 0}}, "wants no pods"),
        ({"spec": {"progressDeadlineSeconds": 30}}, "progressDeadlineSeconds 30"),
    ],
)
def test_what_could_not_be_rolled_out_is_refused_before_anyone_is_asked(stand, run, deployment, said):
    one = run()
    stand.change(one.name, deployment)
    with pytest.raises(AirflowFailException, match=said):
        one.plan()
    assert one.evidence.find("plan") is None


def test_a_target_that_was_not_verified_is_refused(run, catalog):
    one = run()
    catalog("later", bindings=[{"container": "server", "variable": "MODEL_PATH", "model": one.name}])
    with pytest.raises(AirflowFailException, match="04-verify-later"):
        one.plan()


def test_targets_without_a_common_approver_are_refused(run, catalog):
    one = run()
    keys = ("revision", "snapshot", "bytes", "files", "connection", "namespace", "claim")
    one.evidence.write("verify", {key: one.evidence.read("verify", one.name)[key] for key in keys}, target="later")
    workload = {"kind": "Deployment", "name": one.name}
    binding = {"container": "server", "variable": "MODEL_PATH", "model": one.name}
    catalog("later", bindings=[binding], workload=workload, approvers=[{"id": "carol", "name": "Carol"}])
    with pytest.raises(AirflowFailException, match="No person is an approver of all"):
        one.plan()


# --- the gate -----------------------------------------------------------------------------------------------------


def test_the_gate_shows_what_a_decision_needs_to_those_who_may_decide(run):
    one = run()
    digest = one.plan()["plan_digest"]
    assert one.park() == {"plan_digest": digest}
    assert one.asked["assigned_users"] == [ALICE]
    assert one.name in one.asked["subject"]
    shown = one.asked["body"]
    for part in (digest, "node-1", "direct", "bob", "v1", "/models/none", "RollingUpdate", "60 s"):
        assert part in shown


def test_an_approval_is_signed_and_told_to_the_ledger(run):
    one = run()
    digest = one.plan()["plan_digest"]
    assert one.answer()["responder"] == "alice"
    receipt = one.evidence.read("approve")
    assert (receipt["decision"], receipt["plan_digest"], receipt["responder"]) == ("approve", digest, ALICE)
    assert "approved" in one.events()


def test_a_gate_that_was_answered_does_not_ask_again(run):
    one = run()
    one.plan()
    one.answer()
    assert one.gate().execute(one.context)["decision"] == "approve"


def test_a_rejection_skips_what_follows_and_stands(run):
    one = run()
    one.plan()
    with pytest.raises(AirflowSkipException, match="rejected by alice"):
        one.answer(chosen_options=["Reject"])
    assert one.pushed["return_value"]["decision"] == "rejected"
    assert one.evidence.read("approve")["decision"] == "reject"
    with pytest.raises(AirflowSkipException, match="rejected by alice"):
        one.gate().execute(one.context)
    with pytest.raises(AirflowSkipException):
        one.settle()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"responded_by_user": None}, "anonymous"),
        ({"responded_by_user": {"id": "mallory", "name": "Alice"}}, "mallory"),
        ({"responded_by_user": {"id": "mallory", "name": "M"}, "chosen_options": ["Reject"]}, "mallory"),
        ({"timedout": True}, "no time-out decides anything"),
        ({"chosen_options": ["Approve", "Reject"]}, "Reject"),
        ({"chosen_options": []}, "it is"),
    ],
)
def test_an_answer_that_does_not_count_approves_and_rejects_nothing(run, changes, said):
    one = run()
    one.plan()
    with pytest.raises(AirflowFailException, match=said):
        one.answer(**changes)
    assert one.evidence.find("approve") is None
    assert one.events() == {"proposed"}


def test_an_answer_to_another_plan_does_not_count(run):
    one = run()
    one.plan()
    with pytest.raises(AirflowFailException, match="the plan that was shown"):
        one.gate().execute_complete(one.context, ANSWER, plan_digest="sha256:" + "0" * 64)


def test_an_answer_to_a_superseded_release_ends_it(run):
    one = run()
    one.plan()
    run()
    with pytest.raises(AirflowSkipException, match="newer proposal"):
        one.answer()
    assert "superseded" in one.events()
    assert one.evidence.find("approve") is None


def test_a_catalog_that_names_other_people_after_the_plan_does_not_change_who_may_answer(run, catalog):
    one = run()
    one.plan()
    catalog(one.name, approvers=[{"id": "mallory", "name": "Mallory"}])
    with pytest.raises(AirflowFailException, match="'mallory'; approvers are alice"):
        one.answer(responded_by_user={"id": "mallory", "name": "Mallory"})
    assert one.evidence.find("approve") is None


def test_a_catalog_that_names_another_variable_or_workload_after_the_answer_does_not_change_what_is_done(
    stand, run, catalog
):
    one = run()
    one.plan()
    one.answer()
    bindings = [{"container": "server", "variable": "OTHER", "model": one.name}]
    catalog(one.name, bindings=bindings, workload={"kind": "Deployment", "name": "another"})
    one.check()
    assert drive(one.rollout()).status == "live"
    env = stand.read(one.name)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {entry["name"]: entry["value"] for entry in env} == {
        "OTHER": "kept",
        "MODEL_PATH": parse(one.evidence.read("plan")["plan"]).targets[0].bindings[0].to,
    }


def test_other_bytes_under_the_old_approval_are_neither_planned_nor_rolled_out(stand, run):
    one = run()
    one.plan()
    one.answer()
    one.staged(7)  # what a run leaves that was cleared after its source had changed
    with pytest.raises(AirflowFailException, match="start a new release"):
        one.plan()
    one.check()
    stop = drive(one.rollout())
    assert stop.status == "refused"
    assert "its snapshot is" in stop.reason
    assert stand.bound(one.name) == "/models/none"


def test_a_release_that_was_put_back_has_used_its_approval(stand, run):
    one = run()
    one.plan()
    one.answer()
    one.check()
    rollout = one.rollout()
    drive(rollout, until=lambda: stand.bound(one.name) != "/models/none")
    rollout.end("somebody pulled the plug")
    assert drive(rollout).status == "put back"
    with pytest.raises(AirflowFailException, match="its approval is used"):
        one.gate().execute(one.context)
    one.check()
    assert drive(one.rollout()).status == "put back"
    assert stand.bound(one.name) == "/models/none"


def test_a_gate_without_a_plan_asks_nobody(run):
    with pytest.raises(AirflowFailException, match="05-plan"):
        run().gate().execute({**run().context})


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_release_that_went_live_is_recorded_and_settled(stand, run):
    one = run()
    one.plan()
    one.answer()
    one.check()
    assert drive(one.rollout()).status == "live"
    task = RolloutModelOperator(task_id="rollout", model=one.name, target=one.name)
    names = {"url": stand.config(one.name).receipts.url, "connection": "test_receipts", "release_id": one.release_id}
    assert task.execute_complete(one.context, {"status": "forged"}, names)["revision"].startswith(one.name)
    one.record()
    assert "live" in one.events()
    assert list(one.evidence.read("record")["previous"]) == ["06-approve", f"09-outcome-{one.name}"]
    assert one.settle()["result"] == "it is live"
    with pytest.raises(AirflowFailException, match="has ended there"):
        one.gate().execute(one.context)
    following = run()
    following.plan()
    difference = parse(following.evidence.read("plan")["plan"]).targets[0].served[0].difference
    assert (difference.live, difference.changed) == (str(one.evidence.read("upload")["revision"]), 1)


def test_a_release_that_was_marked_a_success_is_not_recorded(run):
    one = run()
    one.plan()
    with pytest.raises(AirflowFailException, match="09-outcome"):
        one.record()
    with pytest.raises(AirflowFailException, match="did not go live"):
        one.settle()
    assert one.events() == {"proposed", "failed"}


def test_an_event_without_an_outcome_is_no_success(stand, run):
    one = run()
    one.plan()
    task = RolloutModelOperator(task_id="rollout", model=one.name, target=one.name)
    names = {"url": stand.config(one.name).receipts.url, "connection": "test_receipts", "release_id": one.release_id}
    with pytest.raises(AirflowFailException, match="forged"):
        task.execute_complete(one.context, {"status": "live", "reason": "forged"}, names)
    with pytest.raises(AirflowException, match="nobody") as caught:
        task.execute_complete(one.context, {"status": "unreachable", "reason": "nobody"}, names)
    assert not isinstance(caught.value, AirflowFailException)


def test_what_a_run_left_half_done_is_put_back_and_the_run_is_not_green(stand, run):
    one = run()
    one.plan()
    one.answer()
    one.check()
    drive(one.rollout(), until=lambda: stand.bound(one.name) != "/models/none")
    with pytest.raises(AirflowFailException, match="put back"):
        one.settle()
    assert stand.bound(one.name) == "/models/none"
    assert "put-back" in one.events()


def test_a_release_that_failed_early_has_failed(run):
    one = run()
    with pytest.raises(AirflowFailException, match="no plan yet"):
        one.settle()
    assert [entry.source_version for entry in one.ledger.entries() if entry.event == "failed"] == ["v1"]
