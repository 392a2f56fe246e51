"""preview as Airflow sees it: it waits without a worker, and only its receipt counts."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from modelberth.operators.preview import PreviewModelOperator
from plans import a_plan, a_target


@pytest.fixture
def plan(evidence):
    """A plan whose one target asks for a preview, on record."""
    return recorded(evidence, preview=True)


def recorded(evidence, *, preview):
    made = a_plan(evidence.release_id, targets=(a_target(preview=preview),))
    evidence.write("plan", {"plan": made.document(), "plan_digest": str(made.digest)})
    return made


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
    recorded(evidence, preview=False)
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
