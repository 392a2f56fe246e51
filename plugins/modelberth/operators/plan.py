"""Freeze what a release will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from modelberth.catalog import load
from modelberth.kubernetes.planning import make_plan
from modelberth.operators import release_of
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import release_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class PlanModelOperator(BaseOperator):
    """
    Write down once what a release will change, from verified snapshots and from what is live now.

    Nothing is changed. What cannot work is refused here, before a person is asked. The plan of a release is made
    once: run again after something has changed, it fails, since an answer may already be under way.

    :param model: The model, as in the catalog.
    """

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def execute(self, context: Context) -> dict[str, str]:
        """Leave the plan's receipt and return its digest, for display."""
        with refusals_are_final():
            catalog = load()
            evidence = release_evidence(catalog.model(self.model), release_of(context))
            plan = make_plan(catalog, self.model, evidence)
            evidence.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)})
        return {"plan_digest": str(plan.digest), "revision": str(plan.own.revision)}
