"""preview as Airflow sees it: it waits without a worker, and only its receipt counts."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from modelberth.core.binding import Binding
from modelberth.core.confirm import Confirm
from modelberth.core.digest import Digest
from modelberth.core.plan import Approver, Capacity, Gate, Plan, Released, Served, Target, Workload
from modelberth.core.revision import Revision, Snapshot
from modelberth.operators.preview import PreviewModelOperator

DIGEST = Digest("1f" * 32)


@pytest.fixture
def plan(evidence) -> Plan:
    """A plan whose one target asks for a preview, on record."""
    made = a_plan(evidence.release_id, preview=True)
    evidence.write("plan", {"plan": made.document(), "plan_digest": str(made.digest)})
    return made


def a_plan(release_id: str, *, preview: bool) -> Plan:
    target = Target(
        name="embedder",
        service="embedder",
        connection="c",
        namespace="serving",
        claim="models",
        workload=Workload("Deployment", "embedder", "uid"),
        replicas=1,
        strategy={},
        served=(Served("minilm", Snapshot(DIGEST, 1), None, None),),
        bindings=(Binding("minilm", "server", "MODEL_PATH", None, f"/models/minilm/{DIGEST.hex}.1/files"),),
        ready_within=60,
        confirm=Confirm("declared", None, None),
        capacity=Capacity("fits"),
        canary=None,
        preview=preview,
    )
    released = Released("minilm", release_id, Revision("minilm", DIGEST), None, 1, 1)
    return Plan("minilm", release_id, (released,), Gate((Approver("a", "A"),), 1, False, None, 60), (target,))


TASK = PreviewModelOperator(task_id="preview", model="minilm", target="embedder")


def names(evidence) -> dict[str, str]:
    return {"url": "s3://receipts", "connection": "modelberth_receipts", "release_id": evidence.release_id}


def complete(context, evidence, status="confirmed"):
    return TASK.execute_complete(context, {"status": status, "reason": "because"}, names(evidence))


def test_it_waits_in_a_trigger_that_has_names_only(plan, context, evidence):
    with pytest.raises(TaskDeferred) as deferred:
        TASK.execute(context)
    path, arguments = deferred.value.trigger.serialize()
    assert path == "modelberth.triggers.preview.PreviewTrigger"
    assert set(arguments) == {"model", "release_id", "target", "receipts_url", "receipts_connection"}
    assert deferred.value.kwargs == {"names": names(evidence)}


def test_a_plan_that_asks_for_none_has_none(context, evidence):
    made = a_plan(evidence.release_id, preview=False)
    evidence.write("plan", {"plan": made.document(), "plan_digest": str(made.digest)})
    assert TASK.execute(context) == {"result": "not asked for"}


def test_an_event_without_a_receipt_is_no_success(plan, context, evidence):
    with pytest.raises(AirflowFailException, match="because"):
        complete(context, evidence)
    with pytest.raises(AirflowException, match="because") as caught:
        complete(context, evidence, "unreachable")
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    ("changes", "good"), [({}, True), ({"result": "not confirmed"}, False), ({"plan_digest": "sha256:00"}, False)]
)
def test_only_a_receipt_that_confirms_this_plan_counts(plan, context, evidence, changes, good):
    receipt = {"result": "confirmed", "plan_digest": str(plan.digest), "node": "node-1"}
    evidence.write("preview", receipt | changes, target="embedder")
    if good:
        assert complete(context, evidence) == {"result": "confirmed", "node": "node-1"}
    else:
        with pytest.raises(AirflowFailException, match="did not confirm"):
            complete(context, evidence)
