"""Leave nothing half done when a release's run ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from modelberth.catalog import load
from modelberth.core.ledger import End, verdict
from modelberth.core.plan import parse
from modelberth.kubernetes import preview
from modelberth.kubernetes.rollout import UNREACHABLE, Rollout
from modelberth.operators import proposed_version, release_of
from modelberth.operators.model import ModelOperator
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import ledger, release_evidence

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelberth.catalog import Model
    from modelberth.core.plan import Plan
    from modelberth.receipts import Evidence


class SettleModelOperator(ModelOperator):
    """
    Put back what was started and has no outcome, tell the ledger, and end as the release did.

    The last task of the run and its teardown, so that it runs even when a person marks the whole run. Since Airflow
    judges a run by its last tasks, and by a teardown with ``on_failure_fail_dagrun``, it fails when the release did not
    go live, and is skipped when a person rejected it. It goes by receipts, not by tasks' states.

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Settle every target of the plan, then say what became of the release."""
        with refusals_are_final():
            model, release_id = load().model(self.model), release_of(context)
            evidence, book = release_evidence(model, release_id), ledger(model)
            plan = _plan(evidence)
            outcomes = {one.name: self._settle(model, evidence, one.name) for one in plan.targets} if plan else {}
            _remove_previews(plan)
            found = verdict(book.events(release_id), outcomes)
            if found.event:
                resolve = evidence.find("resolve") or {}
                book.record(
                    found.event,
                    release_id,
                    source_version=resolve.get("source_version") or proposed_version(context),
                    revision=str(plan.own.revision) if plan else None,
                    reason=found.reason,
                )
            if plan and found.event == "put-back":
                _tell_others(plan, found.reason)
        if found.end is End.FAILED:
            raise AirflowFailException(f"Release {release_id} of {self.model}: {found.reason}.")
        if found.end is End.SKIPPED:
            raise AirflowSkipException(f"Release {release_id} of {self.model}: {found.reason}.")
        return {"release_id": release_id, "result": found.reason}

    def _settle(self, model: Model, evidence: Evidence, target: str) -> str | None:
        """Return the outcome at *target*, None if nothing was ever started there."""
        if evidence.find("started", target) is None:
            return None
        receipts = (model.receipts.url, model.receipts.connection)
        rollout = Rollout(model=self.model, release_id=evidence.release_id, target=target, receipts=receipts)
        rollout.end("its run ended before it was decided")
        while not (step := rollout.step()).stop:
            time.sleep(step.pause)
        outcome = evidence.find("outcome", target)
        if outcome is None:
            kind = AirflowException if step.stop.status == UNREACHABLE else AirflowFailException
            raise kind(
                f"Target {target!r} is half done and could not be settled: {step.stop.reason.rstrip('.')}. Put right "
                "what this names, then clear the task 'settle' of this run: it puts back, or ends what was decided. "
                "Until then no other release changes the workload."
            )
        return str(outcome["result"])


def _tell_others(plan: Plan, reason: str) -> None:
    """Tell the ledgers of the models that were to be switched with it: it was their rollout as well."""
    for one in plan.models[1:]:
        about = {"revision": str(one.revision), "source_version": one.source_version}
        told = f"release {plan.release_id} of {plan.model}: {reason}"
        ledger(load().model(one.model)).record("put-back", one.release_id, **about, reason=told)


def _remove_previews(plan: Plan | None) -> None:
    """Delete the pods of previews: their task was perhaps ended in a way that let it do nothing more."""
    if plan is None:
        return
    for target in plan.targets:
        if target.preview:
            preview.remove(plan, target)


def _plan(evidence: Evidence) -> Plan | None:
    receipt = evidence.find("plan")
    return parse(receipt["plan"]) if receipt else None
