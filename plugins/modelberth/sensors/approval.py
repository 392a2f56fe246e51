"""The gate: a person answers about one plan, and only this process, which receives the answer, signs it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from modelberth.catalog import load
from modelberth.core import approval
from modelberth.core.plan import Plan, parse
from modelberth.operators import release_of
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import StoreUnreachableError, ledger, release_evidence
from modelberth.sensors import request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.receipts import Evidence, Ledger

APPROVE, REJECT = "Approve", "Reject"

WAITS = timedelta(days=7)
"""How long a person may take."""

PATIENCE, PAUSE = 120.0, 5.0
"""Seconds in all, and between two tries, for a store that does not answer while a person's answer is in hand."""


class ModelApprovalSensor(BaseSensorOperator):
    """
    Ask the plan's approvers, and leave a signed approval of exactly the plan that they saw.

    It waits in ``awaiting_input``, without a worker or a trigger. An answer counts when the plan in the receipts is
    still the one that was shown and the responder is one of its approvers; no answer in time fails the task. Rejected
    or superseded, the task is skipped, and all that follows it. Retries ask again, since Airflow does not keep an
    answer for them: so a store that does not answer is asked again here. An answer that arrives while the task is
    being parked fails that try (Airflow's "state mismatch").

    :param model: The model, as in the catalog.
    """

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(**{"retries": 3, "retry_delay": timedelta(seconds=5), "timeout": WAITS, **kwargs})
        self.model = model

    def execute(self, context: Context) -> dict[str, str]:
        """Ask, unless this plan was answered already; ``execute_complete`` goes on from there."""
        with refusals_are_final():
            evidence, book, plan = self._read(context)
            self._require_unused(evidence, plan)
            if "rejected" in book.events(plan.release_id):
                raise AirflowSkipException(f"Release {plan.release_id} was rejected before: start a new one.")
            answered = evidence.find("approve")
            if answered is None:
                self._ask(context, evidence, plan)
            return self._approved(book, plan, answered)

    def execute_complete(self, context: Context, event: dict[str, Any], plan_digest: str) -> dict[str, str]:
        """Judge the answer, sign it if it is an approval.

        :param plan_digest: Of the plan that was shown; it travelled outside of anything that is rendered again.
        """
        while_silent = Retrying(
            retry=retry_if_exception_type(StoreUnreachableError),
            stop=stop_after_delay(PATIENCE),
            wait=wait_fixed(PAUSE),
            before_sleep=lambda attempt: self.log.warning("%s", attempt.outcome and attempt.outcome.exception()),
            reraise=True,
        )
        with refusals_are_final():
            try:
                return while_silent(self._judge, context, event, plan_digest)
            except StoreUnreachableError as error:
                raise AirflowException(
                    f"The answer about release {release_of(context)} could not be written down within "
                    f"{PATIENCE:.0f} s and does not count: {error} It is asked for again: answer once more."
                ) from error

    def _judge(self, context: Context, event: dict[str, Any], plan_digest: str) -> dict[str, str]:
        """Do what the answer in *event* says; all that it writes may be written twice."""
        evidence, book, plan = self._read(context)
        self._require_unused(evidence, plan)
        answer = _answer(event, plan_digest, plan)
        responder = answer["responder"]["id"]
        if answer["decision"] != approval.APPROVE:
            self._skip(context, book, plan, "rejected", f"rejected by {responder}")
        newer = approval.superseding(plan.release_id, ((one.release_id, one.event) for one in book.entries()))
        if newer:
            self._skip(context, book, plan, "superseded", f"release {newer} is a newer proposal")
        evidence.write("approve", answer)
        return self._approved(book, plan, evidence.read("approve"))

    def _read(self, context: Context) -> tuple[Evidence, Ledger, Plan]:
        """Return what the receipts say, whatever was rendered, stored or pushed meanwhile."""
        model = load().model(self.model)
        evidence = release_evidence(model, release_of(context))
        return evidence, ledger(model), parse(evidence.read("plan")["plan"])

    def _require_unused(self, evidence: Evidence, plan: Plan) -> None:
        """Refuse a gate whose rollout has ended: cleared after a put-back, its old answer must not count again."""
        used = [target.name for target in plan.targets if evidence.find("outcome", target.name)]
        if used:
            raise AirflowFailException(
                f"Release {plan.release_id} was rolled out to {', '.join(used)} and has ended there: start a new one."
            )

    def _ask(self, context: Context, evidence: Evidence, plan: Plan) -> Never:
        services = dict.fromkeys(target.service for target in plan.targets)
        verified = {service: evidence.read("verify", service) for service in services}
        resolve = evidence.find("resolve") or {}
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[APPROVE, REJECT],
            subject=request.subject(plan),
            body=request.body(plan, resolve.get("requested_by"), verified),
            params={},  # the API refuses None
            assigned_users=[{"id": one.id, "name": one.name} for one in plan.gate.approvers],
        )
        self.log.info("Release %s waits for %s", plan.release_id, ", ".join(one.id for one in plan.gate.approvers))
        raise TaskAwaitingInput(
            method_name="execute_complete",
            kwargs={"plan_digest": str(plan.digest)},
            timeout=timedelta(seconds=self.timeout),
        )

    def _approved(self, book: Ledger, plan: Plan, answer: dict[str, Any]) -> dict[str, str]:
        problems = approval.problems(answer, plan)
        if problems:
            raise AirflowFailException(f"The approval of release {plan.release_id} is no good: {'; '.join(problems)}.")
        responder = answer["responder"]["id"]
        book.record("approved", plan.release_id, **_about(plan), reason=f"approved by {responder}")
        return {"decision": approval.APPROVE, "responder": responder, "plan_digest": str(plan.digest)}

    def _skip(self, context: Context, book: Ledger, plan: Plan, event: str, reason: str) -> Never:
        """End the release here; the value first, since skipping raises."""
        book.record(event, plan.release_id, **_about(plan), reason=reason)
        context["ti"].xcom_push(key="return_value", value={"decision": event, "plan_digest": str(plan.digest)})
        raise AirflowSkipException(f"Release {plan.release_id}: {reason}.")


def _answer(event: dict[str, Any], plan_digest: str, plan: Plan) -> dict[str, Any]:
    """Return the answer in *event* as a receipt's body.

    event           | plan shown | responder        | then
    ----------------+------------+------------------+----------
    an answer       | this one   | one of its       | returned
    error, timedout | any        | any              | refused
    any             | another    | any              | refused
    any             | any        | none, not listed | refused
    """
    if "error" in event or event.get("timedout"):
        raise AirflowFailException(
            f"Nobody answered about release {plan.release_id} in time ({WAITS.days} days): nothing was approved and "
            "nothing changed. Clear the task 'approve' to ask again, or start a new release."
        )
    responder, options = event.get("responded_by_user"), event["chosen_options"]
    problems = approval.responder_problems(responder, plan)
    if plan_digest != str(plan.digest):
        problems.append(f"the plan that was shown is {plan_digest}, the one on record is {plan.digest}")
    if options not in ([APPROVE], [REJECT]):
        problems.append(f"it is {options!r}")
    if problems:
        raise AirflowFailException(f"The answer about release {plan.release_id} does not count: {'; '.join(problems)}.")
    return {
        "decision": approval.APPROVE if options == [APPROVE] else "reject",
        "plan_digest": plan_digest,
        "responder": dict(responder or {}),
        "responded_at": _text(event["responded_at"]),
    }


def _text(moment: datetime | str) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _about(plan: Plan) -> dict[str, str | None]:
    return {"revision": str(plan.own.revision), "source_version": plan.own.source_version}
