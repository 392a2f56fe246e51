"""Bring one target of an approved release into service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.kubernetes.diagnosis import lines
from modelberth.operators.handover import HandOverOperator
from modelberth.operators.refusal import refusals_are_final

if TYPE_CHECKING:
    from airflow.sdk import Context


class RolloutModelOperator(HandOverOperator):
    """
    Point a workload at the snapshot that was approved, wait until its pods confirm, put back if they do not.

    All of it happens in one trigger, which proves plan, approval and check before its first change. The claim is not
    touched. An approval is used by its outcome: afterwards, a new release is needed.

    :param model: The model, as in the catalog.
    :param target: The target, as in the plan.
    """

    def execute(self, context: Context) -> Never:
        """Hand over to the trigger."""
        from modelberth.triggers.rollout import RolloutTrigger  # Airflow's trigger classes are slow to import

        with refusals_are_final():
            names = self.names(context)
        self.hand_over(RolloutTrigger, names)

    def execute_complete(self, context: Context, event: dict[str, str], names: dict[str, str]) -> dict[str, str]:  # noqa: ARG002
        """Judge by the outcome's receipt; the event only says why there is none."""
        with refusals_are_final():
            evidence = self.evidence(names)
            outcome = evidence.find("outcome", self.target)
        if outcome is None:
            kind = AirflowException if event["status"] == "unreachable" else AirflowFailException
            raise kind(event["reason"])
        if outcome["result"] != "live":
            raise AirflowFailException(_not_live(self.target, outcome))
        return {"revision": outcome["revision"], "receipt": str(evidence.digest("outcome", self.target))}


def _not_live(target: str, outcome: dict[str, Any]) -> str:
    """Return what became of it instead, and what to do."""
    if outcome["result"] == "lost":
        what = "It was no longer this release's to change, and was left as it is: look at the workload."
    elif not outcome.get("changed", True):
        what = "Nothing was changed: it had this snapshot before. Look at its pods, which do not confirm it."
    elif outcome["complete"]:
        what = "The former revision was put back and is serving."
    else:
        what = "The former value was put back; its pods are not all ready: look at the workload."
    said = f"Target {target!r} did not go to {outcome['revision']}: {outcome['reason']}. {what} Start a new release."
    by_hand = [
        f"{title}: {line}"
        for title, key in (("to put back by hand", "put_back"), ("to look", "look"))
        for line in outcome["by_hand"].get(key, ())
    ]
    return "\n".join([said, *lines(outcome["found"]), *by_hand])
