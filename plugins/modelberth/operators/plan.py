"""Freeze what a release will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException

from modelberth.catalog import load
from modelberth.catalog.together import nothing_waits, together_problems
from modelberth.core.approval import superseding
from modelberth.core.outside import changes, newest_live
from modelberth.core.plan import SCHEMA, PlanRefusedError, parse
from modelberth.core.receipt import Name, elsewhere
from modelberth.kubernetes.planning import make_plan
from modelberth.operators import release_of, switched_with
from modelberth.operators.model import ModelOperator
from modelberth.operators.refusal import refusals_are_final
from modelberth.operators.signature import examine
from modelberth.receipts import ledger, release_evidence, undecided_release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog
    from modelberth.core.digest import Digest
    from modelberth.core.outside import Change
    from modelberth.core.plan import Plan
    from modelberth.receipts import Evidence


class PlanModelOperator(ModelOperator):
    """
    Write down once what a release will change, from verified snapshots and from what is live now.

    Nothing is changed. What cannot work is refused here, before a person is asked. What is live is taken as it is:
    where somebody else has changed it since the last release, the plan starts from there, and its receipt and the
    ledger say that it was observed. The plan of a release is made once: run again after something has changed, it
    fails, since an answer may already be under way. A release that a newer proposal supersedes ends here, skipped.

    The run parameter ``with`` names models whose newest undecided release is switched in the same plan; it must have
    been verified at all services of theirs.

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Leave the plan's receipt and return its digest, for display."""
        with refusals_are_final():
            catalog = load()
            evidence = release_evidence(catalog.model(self.model), release_of(context))
            _skip_if_superseded(catalog, evidence)
            others = _others(catalog, self.model, switched_with(context))
            if evidence.find("plan") is None:  # they may have been signed, or asked to be, since the tasks looked
                for one in (evidence, *others):
                    examine(catalog.model(one.model), one)
            plan = _as_on_record(evidence, make_plan(catalog, self.model, evidence, others))
            seen = _outside_changes(catalog, plan)
            body = {"plan": plan.document(), "plan_digest": str(plan.digest)}
            observed = {"observed": [one.document() for one in seen]} if seen else {}
            evidence.write("plan", body | observed, rests_on=_verified(plan, others))
            _tell(catalog, plan, seen)
        return {"plan_digest": str(plan.digest), "revision": str(plan.own.revision)}


def _as_on_record(evidence: Evidence, plan: Plan) -> Plan:
    """Return *plan* as it was made first, if it is the same but for the room that was seen."""
    known = evidence.find("plan")
    return plan.with_room_as_in(parse(known["plan"])) if known else plan


def _skip_if_superseded(catalog: Catalog, evidence: Evidence) -> None:
    """End a release that would ask a person in vain: of two at once, the newer proposal counts."""
    book = ledger(catalog.model(evidence.model))
    newer = superseding(evidence.release_id, ((entry.release_id, entry.event) for entry in book.entries()))
    if newer and evidence.find("plan") is None:
        reason = f"release {newer} is a newer proposal"
        version = evidence.read("resolve").get("source_version")
        book.record("superseded", evidence.release_id, source_version=version, reason=reason)
        raise AirflowSkipException(f"Release {evidence.release_id}: {reason}.")


def _others(catalog: Catalog, model: str, names: Sequence[str]) -> list[Evidence]:
    """Return the receipts of the releases that come along.

    :raises PlanRefusedError: One of *names* cannot be switched with *model*, or nothing of it waits for a decision.
    """
    problems = together_problems(catalog, model, names)
    found = {} if problems else {name: undecided_release(catalog.model(name)) for name in names}
    problems += [nothing_waits(name) for name, release_id in found.items() if release_id is None]
    if problems:
        raise PlanRefusedError(f"Model {model!r} cannot be released like this: {' '.join(problems)}")
    return [release_evidence(catalog.model(name), str(release_id)) for name, release_id in found.items()]


def _verified(plan: Plan, others: Sequence[Evidence]) -> dict[str, Digest]:
    """Return by which receipts of *others* the plan is proven."""
    found = {}
    for other in others:
        for target in plan.targets:
            if target.bindings_of(other.model):
                name = Name("verify", target.service)
                found[elsewhere(other.model, other.release_id, name.stem)] = other.digest(name.step, name.target)
        if {one.model: one.signed for one in plan.models}[other.model]:
            stem = Name("signature").stem
            found[elsewhere(other.model, other.release_id, stem)] = other.digest("signature")
    return found


def _outside_changes(catalog: Catalog, plan: Plan) -> list[Change]:
    """Return what somebody else has changed since the last release of each model."""
    last = {}
    for one in plan.models:
        model = catalog.model(one.model)
        before = newest_live((entry.at, entry.release_id, entry.event) for entry in ledger(model).entries())
        receipt = release_evidence(model, before).find("plan") if before else None
        if receipt and receipt["plan"].get("schema") == SCHEMA:
            last[one.model] = parse(receipt["plan"])
    return changes(plan, last)


def _tell(catalog: Catalog, plan: Plan, seen: Sequence[Change]) -> None:
    """Tell the ledger of each model what was observed of it."""
    for model in dict.fromkeys(one.model for one in seen):
        reason = "; ".join(str(one) for one in seen if one.model == model)
        ledger(catalog.model(model)).record("observed", plan.release_id, reason=reason)
