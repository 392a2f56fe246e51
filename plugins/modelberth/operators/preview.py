"""Try what a release brings in one pod, before anybody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.core.plan import parse
from modelberth.core.preview import problem
from modelberth.operators.handover import HandOverOperator
from modelberth.operators.refusal import refusals_are_final

if TYPE_CHECKING:
    from airflow.sdk import Context


class PreviewModelOperator(HandOverOperator):
    """
    Run one pod of a workload's template with the snapshots to come, without traffic, and let it confirm.

    All of it happens in one trigger, which deletes the pod whatever comes of it. What it has found is a receipt,
    without which the gate asks nobody: marking this task as success moves nothing.

    :param model: The model, as in the catalog.
    :param target: The target, as in the plan.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Hand over to the trigger, if the plan asks for it: it was made when the catalog may have been another."""
        with refusals_are_final():
            names = self.names(context)
            asked = parse(self.evidence(names).read("plan")["plan"]).target(self.target).preview
        if asked:
            from modelberth.triggers.preview import PreviewTrigger  # Airflow's trigger classes are slow to import

            self.hand_over(PreviewTrigger, names)
        return {"result": "not asked for"}

    def execute_complete(self, context: Context, event: dict[str, str], names: dict[str, str]) -> dict[str, str]:  # noqa: ARG002
        """Judge by the receipt; the event only says why it is not good."""
        with refusals_are_final():
            evidence = self.evidence(names)
            plan, receipt = parse(evidence.read("plan")["plan"]), evidence.find("preview", self.target)
        if event["status"] == "unreachable":
            raise AirflowException(event["reason"])
        if receipt is None or problem(receipt, plan):
            raise AirflowFailException(
                f"The preview of {self.target!r} did not confirm: {event['reason']}\nNobody is asked, and what serves "
                "was not touched. Put right what this names and clear this task, or start a new release."
            )
        return {"result": receipt["result"], "node": receipt["node"]}
