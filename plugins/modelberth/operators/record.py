"""Close a release: it is live everywhere, and can show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from modelberth.catalog import load
from modelberth.core.plan import parse
from modelberth.core.receipt import Name, elsewhere
from modelberth.kubernetes.planning import read_released
from modelberth.operators import assets, release_of
from modelberth.operators.model import ModelOperator
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import ledger, release_evidence

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelberth.catalog import Model
    from modelberth.core.digest import Digest
    from modelberth.core.plan import Plan
    from modelberth.receipts import Evidence


class RecordModelOperator(ModelOperator):
    """
    Write the release's last receipt, which names what it rests on, and tell the ledger, and Dags that wait for it.

    Each model that went live has an event of its asset (``modelberth.operators.assets``).

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Require a live outcome of every target, leave the receipt and return its digest."""
        with refusals_are_final():
            model, release_id = load().model(self.model), release_of(context)
            evidence = release_evidence(model, release_id)
            plan = parse(evidence.read("plan")["plan"])
            _require_live(evidence, plan)
            about = {"revision": str(plan.own.revision), "source_version": plan.own.source_version}
            targets = [target.name for target in plan.targets]
            digest = evidence.write("record", {**about, "plan_digest": str(plan.digest), "targets": targets})
            ledger(model).record("live", release_id, **about)
            _tell_others(plan, model, digest)
            _replaced(model, evidence)
            assets.tell(context, plan, digest)
        return {"revision": str(plan.own.revision), "receipt": str(digest)}


def _tell_others(plan: Plan, model: Model, record: Digest) -> None:
    """Close the releases of the models that were switched with it: their last receipts name this one's."""
    by = {"model": plan.model, "release_id": plan.release_id, **model.receipts.model_dump()}
    for one in plan.models[1:]:
        other = load().model(one.model)
        about = {"revision": str(one.revision), "source_version": one.source_version}
        targets = [target.name for target in plan.targets if target.bindings_of(one.model)]
        release_evidence(other, one.release_id).write(
            "record",
            {**about, "plan_digest": str(plan.digest), "targets": targets, "by": by},
            rests_on={elsewhere(plan.model, plan.release_id, Name("record").stem): record},
        )
        reason = f"switched by release {plan.release_id} of {plan.model}"
        ledger(other).record("live", one.release_id, **about, reason=reason)


def _replaced(model: Model, evidence: Evidence) -> None:
    """Tell the ledger which release a rollback took out of service: refresh does not propose its version again."""
    said = evidence.read("plan").get("rollback") or {"instead_of": []}
    for release_id in said["instead_of"]:
        about = _about(model, release_evidence(model, release_id))
        reason = f"rolled back by {evidence.release_id}" + (f": {said['reason']}" if said["reason"] else "")
        ledger(model).record("rolled-back", release_id, **about, reason=reason)


def _about(model: Model, evidence: Evidence) -> dict[str, str | None]:
    """Return what a release brought: what was taken along by another need not have a plan of its own."""
    receipt = evidence.find("plan")
    own = parse(receipt["plan"]).own if receipt else read_released(model, evidence)
    return {"revision": str(own.revision), "source_version": own.source_version}


def _require_live(evidence: Evidence, plan: Plan) -> None:
    problems = []
    for target in plan.targets:
        outcome = evidence.read("outcome", target.name)
        if (outcome["result"], outcome["plan_digest"]) != ("live", str(plan.digest)):
            problems.append(f"{target.name}: {outcome['result']} by plan {outcome['plan_digest']}")
    if problems:
        raise AirflowFailException(f"Release {plan.release_id} is not live: {'; '.join(problems)}.")
