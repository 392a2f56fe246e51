"""A task that hands one target of a release over to a trigger, and judges by the receipt that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import BaseOperator

from modelberth.catalog import load
from modelberth.operators import release_of
from modelberth.receipts import evidence_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.receipts import Evidence
    from modelberth.triggers.stepping import SteppingTrigger


class HandOverOperator(BaseOperator):
    """
    What the operators have in common whose work is one trigger's; ``execute_complete`` is theirs.

    The task resumes with the names of what it handed over, as the catalog had them then: its files may be others by
    now, or broken.

    :param model: The model, as in the catalog.
    :param target: The target, as in the plan.
    """

    template_fields: Sequence[str] = ("model", "target")

    def __init__(self, *, model: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.target = target

    def names(self, context: Context) -> dict[str, str]:
        """Return what the release's evidence is found by."""
        receipts = load().model(self.model).receipts
        return {"url": receipts.url, "connection": receipts.connection, "release_id": release_of(context)}

    def evidence(self, names: dict[str, str]) -> Evidence:
        """Return the evidence that *names* are of."""
        return evidence_at(names["url"], names["connection"], self.model, names["release_id"])

    def hand_over(self, kind: type[SteppingTrigger], names: dict[str, str]) -> Never:
        """Defer to a trigger of *kind*."""
        trigger = kind(
            model=self.model,
            release_id=names["release_id"],
            target=self.target,
            receipts_url=names["url"],
            receipts_connection=names["connection"],
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"names": names})
