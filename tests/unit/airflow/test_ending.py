"""What rollout and settle say at the end: what became of the service, and what a person does next."""

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.kubernetes.rollout import Step, Stop
from modelberth.operators import settle
from modelberth.operators.rollout import RolloutModelOperator

REVISION = f"minilm@sha256:{'ab' * 32}"
BY_HAND = {"found": [], "by_hand": {"put_back": ["kubectl patch it"], "look": ["kubectl logs of it"]}}
PUT_BACK = {
    "result": "put back",
    "reason": "its pods did not confirm",
    "complete": True,
    "revision": REVISION,
    **BY_HAND,
}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (PUT_BACK | {"changed": True}, "The former revision was put back and is serving."),
        (PUT_BACK | {"changed": True, "complete": False}, "its pods are not all ready"),
        (PUT_BACK | {"changed": False}, "Nothing was changed"),
        (PUT_BACK | {"changed": False, "complete": False}, "Nothing was changed"),
        (PUT_BACK | {"changed": True, "result": "lost"}, "no longer this release's to change"),
    ],
)
def test_a_rollout_that_did_not_go_live_says_what_serves(evidence, context, outcome, said):
    evidence.write("outcome", outcome, target="embedder")
    names = {"url": "s3://receipts", "connection": "modelberth_receipts", "release_id": evidence.release_id}
    task = RolloutModelOperator(task_id="rollout", model="minilm", target="embedder")
    with pytest.raises(AirflowFailException) as caught:
        task.execute_complete(context, {"status": "put back", "reason": ""}, names)
    assert said in str(caught.value)
    assert str(caught.value).endswith("to put back by hand: kubectl patch it\nto look: kubectl logs of it")
    assert ("was put back" in str(caught.value)) == (outcome["changed"] and outcome["result"] == "put back")


@pytest.mark.parametrize(("status", "final"), [("refused", True), ("unreachable", False)])
def test_a_settle_that_cannot_settle_says_what_to_do(evidence, monkeypatch, status, final):
    evidence.write("started", {"complete": True}, target="embedder")
    stopped = SimpleNamespace(end=lambda _: None, step=lambda: Step(Stop(status, "No route.")))
    monkeypatch.setattr(settle, "Rollout", lambda **_: stopped)
    task = settle.SettleModelOperator(task_id="settle", model="minilm")
    model = SimpleNamespace(receipts=SimpleNamespace(url="s3://receipts", connection="c"))
    with pytest.raises(AirflowException, match=r"No route\. Put right .* clear the task 'settle'") as caught:
        task._settle(model, evidence, "embedder")
    assert isinstance(caught.value, AirflowFailException) == final
