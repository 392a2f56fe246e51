"""A later target waits for the signed success of those before it: no task's state stands for a canary."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from modelberth.catalog import load
from modelberth.core.approval import place
from modelberth.operators.check import CheckModelOperator
from modelberth.receipts.proof import Proof, RolloutRefusedError
from plans import a_binding, a_plan, a_released, a_target

RECEIPTS = ("s3://receipts", "modelberth_receipts")


@pytest.fixture
def plan(evidence, catalog):
    """Leave everything that a rollout to canary and embedder asks for, but the canary's outcome."""
    main = catalog.service["bindings"][0]
    canary = {"workload": {"kind": "Deployment", "name": "canary"}}
    catalog.write("services/embedder.yaml", catalog.service | {"bindings": [main | canary, main]})
    names = [target.name for target in load().targets("minilm")]
    assert names == ["embedder-canary", "embedder"]
    plan = a_plan(
        release_id=evidence.release_id,
        models=(a_released(release_id=evidence.release_id),),
        targets=tuple(a_target(name=name, bindings=(a_binding(),)) for name in names),
    )
    about = {"revision": str(plan.own.revision), "snapshot": str(plan.targets[0].snapshot_of("minilm"))}
    evidence.write("verify", {**about, **place(plan.targets[0])}, target="embedder")
    evidence.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)})
    answer = {"decision": "approve", "responder": {"id": "alice", "name": "Alice"}, "plan_digest": str(plan.digest)}
    evidence.write("approve", answer | {"responded_at": "2026-01-02T03:04:05+00:00"})
    for target in plan.targets:
        evidence.write("check", {**about, **place(target)}, target=target.name)
    return plan


@pytest.fixture
def check(evidence, context):
    """The check of the second target, which has looked what it is about."""
    task = CheckModelOperator(task_id="check", model="minilm", target="embedder")
    task._connect(context)
    return task


def ended(evidence, plan, result):
    """Leave what the rollout to the canary leaves."""
    Proof("minilm", evidence.release_id, "embedder-canary", RECEIPTS).start({"plan_digest": str(plan.digest)})
    evidence.write("decided", {"decision": "keep" if result == "live" else "put back"}, target="embedder-canary")
    evidence.write("outcome", {"result": result, "plan_digest": str(plan.digest)}, target="embedder-canary")


@pytest.mark.parametrize("result", [None, "put back", "lost"])
def test_what_comes_after_a_canary_that_is_not_live_is_neither_checked_nor_rolled_out(evidence, plan, check, result):
    if result:
        ended(evidence, plan, result)
    said = f"'embedder-canary', which comes before 'embedder', is {result or 'not rolled out'}, not live"
    with pytest.raises(AirflowFailException, match=said):
        check.basis()
    with pytest.raises(RolloutRefusedError, match=said):
        Proof("minilm", evidence.release_id, "embedder", RECEIPTS).require_unchanged()


def test_what_comes_after_a_live_canary_is_and_its_start_rests_on_that(evidence, plan, check):
    ended(evidence, plan, "live")
    assert check.basis()["snapshot"] == str(plan.targets[1].snapshot_of("minilm"))
    proof = Proof("minilm", evidence.release_id, "embedder", RECEIPTS)
    proof.require_unchanged()
    proof.start({"plan_digest": str(plan.digest)})
    rests_on = evidence.read("started", "embedder")["previous"]
    assert rests_on["09-outcome-embedder-canary"] == str(evidence.digest("outcome", "embedder-canary"))
