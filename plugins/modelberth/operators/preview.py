"""Try what a release brings in one pod, before anybody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.catalog import load
from modelberth.core.plan import parse
from modelberth.core.preview import problem
from modelberth.operators import release_of
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import evidence_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Store


class PreviewModelOperator(BaseOperator):
    """
    Run one pod of a workload's template with the snapshots to come, without traffic, and let it confirm.

    All of it happens in one trigger, which deletes the pod whatever comes of it. What it has found is a receipt,
    without which the gate asks nobody: marking this task as success moves nothing.

    :param model: The model, as in the catalog.
    :param target: The target, as in the plan.
    """

    template_fields: Sequence[str] = ("model", "target")

    def __init__(self, *, model: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.target = target

    def execute(self, context: Context) -> dict[str, str]:
        """Hand over to the trigger, if the plan asks for it: it was made when the catalog may have been another."""
        with refusals_are_final():
            receipts, release_id = load().model(self.model).receipts, release_of(context)
            evidence = evidence_at(receipts.url, receipts.connection, self.model, release_id)
            asked = parse(evidence.read("plan")["plan"]).target(self.target).preview
        if asked:
            self._wait(receipts, release_id)
        return {"result": "not asked for"}

    def _wait(self, receipts: Store, release_id: str) -> Never:
        from modelberth.triggers.preview import PreviewTrigger  # Airflow's trigger classes are slow to import

        names = {"url": receipts.url, "connection": receipts.connection, "release_id": release_id}
        self.defer(
            trigger=PreviewTrigger(
                model=self.model,
                release_id=release_id,
                target=self.target,
                receipts_url=receipts.url,
                receipts_connection=receipts.connection,
            ),
            method_name="execute_complete",
            kwargs={"names": names},
        )

    def execute_complete(self, context: Context, event: dict[str, str], names: dict[str, str]) -> dict[str, str]:  # noqa: ARG002
        """Judge by the receipt; the event only says why it is not good."""
        with refusals_are_final():
            evidence = evidence_at(names["url"], names["connection"], self.model, names["release_id"])
            plan, receipt = parse(evidence.read("plan")["plan"]), evidence.find("preview", self.target)
        if event["status"] == "unreachable":
            raise AirflowException(event["reason"])
        if receipt is None or problem(receipt, plan):
            raise AirflowFailException(
                f"The preview of {self.target!r} did not confirm: {event['reason']}\nNobody is asked, and what serves "
                "was not touched. Put right what this names and clear this task, or start a new release."
            )
        return {"result": receipt["result"], "node": receipt["node"]}
