"""The gate when the store that keeps the answer fails: a person's word is not lost to a blip."""

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskAwaitingInput

from modelberth.core.digest import Digest
from modelberth.core.plan import (
    Approver,
    Binding,
    Capacity,
    Confirm,
    Gate,
    Plan,
    Released,
    Served,
    Target,
    Workload,
)
from modelberth.core.revision import Revision, Snapshot
from modelberth.receipts import StoreError, StoreUnreachableError
from modelberth.receipts import store as stores
from modelberth.sensors import approval

DIGEST = Digest("ab" * 32)
TARGET = Target(
    name="embedder",
    service="embedder",
    connection="modelberth_kubernetes",
    namespace="serving",
    claim="models",
    workload=Workload("Deployment", "embedder", "u"),
    replicas=1,
    strategy={},
    served=(Served("minilm", Snapshot(DIGEST, 1), None, None),),
    bindings=(Binding("minilm", "server", "MODEL_PATH", None, "/models/x"),),
    ready_within=120,
    confirm=Confirm("declared", None, None),
    capacity=Capacity("fits"),
    canary=None,
)
ANSWER = {
    "chosen_options": ["Approve"],
    "responded_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "responded_by_user": {"id": "alice", "name": "Alice"},
    "timedout": False,
}


@pytest.fixture
def plan(evidence):
    """The plan that is on record and was shown."""
    one = Plan(
        model="minilm",
        release_id=evidence.release_id,
        models=(Released("minilm", evidence.release_id, Revision("minilm", DIGEST), "v1", 1, 7),),
        gate=Gate((Approver("alice", "Alice"),), 1, False, "bob", 604_800),
        targets=(TARGET,),
    )
    evidence.write("plan", {"plan": one.document(), "plan_digest": str(one.digest)})
    return one


@pytest.fixture
def failing(monkeypatch):
    """Makes every call of the store fail in turn with the errors that are given; then it answers."""
    monkeypatch.setattr(approval, "PAUSE", 0.0)

    def fail(*errors):
        left = list(errors)

        def before(method):
            def call(*args, **kwargs):
                if left:
                    raise left.pop(0)
                return method(*args, **kwargs)

            return call

        for name in ("create", "read", "keys"):
            monkeypatch.setattr(stores._S3Store, name, before(getattr(stores._S3Store, name)))

    return fail


def answer(plan, context, **changes):
    gate = approval.ModelApprovalSensor(task_id="approve", model="minilm")
    return gate.execute_complete(context, ANSWER | changes, plan_digest=str(plan.digest))


SILENT = StoreUnreachableError("Store failed: ReadTimeoutError.")


def test_an_approval_outlives_a_store_that_does_not_answer_at_once(plan, context, evidence, failing):
    failing(SILENT, SILENT, SILENT)
    assert answer(plan, context)["decision"] == "approve"
    assert evidence.read("approve")["responder"] == {"id": "alice", "name": "Alice"}


def test_a_rejection_outlives_it_too(plan, context, ledger, failing):
    failing(SILENT, SILENT)
    with pytest.raises(AirflowSkipException, match="rejected by alice"):
        answer(plan, context, chosen_options=["Reject"])
    assert ledger.events(plan.release_id) == {"rejected"}


def test_a_store_that_stays_silent_is_given_up_and_the_person_asked_again(plan, context, failing, monkeypatch):
    monkeypatch.setattr(approval, "PATIENCE", 0.05)
    failing(*[SILENT] * 100_000)
    with pytest.raises(AirflowException, match="answer once more") as caught:
        answer(plan, context)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_store_that_says_no_ends_the_task_at_once(plan, context, failing):
    failing(StoreError("Store refused: 403."), StoreError("asked again"))
    with pytest.raises(AirflowFailException, match="403"):
        answer(plan, context)


def test_evidence_that_is_not_ours_ends_the_task_at_once(plan, context, objects):
    (key,) = [key for key in objects if key.endswith("05-plan.json")]
    objects[key] = objects[key].replace(b"alice", b"mallo")
    with pytest.raises(AirflowFailException, match="signature"):
        answer(plan, context)


def test_the_gate_waits_for_a_week_and_then_says_what_to_do(plan, context, evidence, monkeypatch):
    evidence.write("verify", {"bytes": 7, "how": "direct", "node": "n"}, target="embedder")
    monkeypatch.setattr(approval, "upsert_hitl_detail", lambda **_: None)
    context["ti"].id = "ti"
    with pytest.raises(TaskAwaitingInput) as parked:
        approval.ModelApprovalSensor(task_id="approve", model="minilm").execute(context)
    assert parked.value.timeout == timedelta(days=7)
    with pytest.raises(AirflowFailException, match=r"7 days.*Clear the task 'approve' to ask again"):
        answer(plan, context, timedout=True)
