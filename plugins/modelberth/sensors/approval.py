"""The gate: a person answers about one plan, and only this process, which receives the answer, signs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskAwaitingInput
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from modelberth.catalog import CatalogError, load
from modelberth.core import approval, gate
from modelberth.operators import release_of
from modelberth.operators.people import known_people
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import StoreUnreachableError, ledger, release_evidence
from modelberth.receipts.answers import GateRecord
from modelberth.sensors import question, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.core.plan import Plan

LOOKS = timedelta(minutes=30)
"""How often a gate that waits looks whether it has ended by itself: a superseded one is to end within the hour."""

RETRIES = 10
"""A worker may be lost in any look of a week, and an answer that meets the parking of the task fails that try."""

PATIENCE, PAUSE = 120.0, 5.0
"""Seconds in all, and between two tries, for a store that does not answer while a person's answer is in hand."""


class ModelApprovalSensor(BaseSensorOperator):
    """
    Ask the plan's approvers, and leave a signed answer about exactly the plan that they saw.

    It waits in ``awaiting_input``, without a worker or a trigger, and wakes every ``poke_interval`` seconds: a
    superseded release and one that nobody answered in time (``answer_within``) end here, skipped, as a rejected one
    does. Waking is Airflow's time-out of the wait; the question stays as it is, an answer that comes meanwhile counts,
    and no try is used up.

    An answer counts when the plan in the receipts is still the one that was shown and the responder is one of its
    approvers, has not answered before and, under four eyes, is not who requested it. Retries ask again, since Airflow
    does not keep an answer for them: so a store that does not answer is asked again here. An answer that arrives while
    the task is being parked may fail that try (Airflow's "state mismatch"); then the person is asked again.

    :param model: The model, as in the catalog.
    :param number: Which of several answers this is, counted from 1; one that the plan does not ask for is not asked.
    """

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, number: int = 1, **kwargs: Any) -> None:
        ours = {"retries": RETRIES, "retry_delay": timedelta(seconds=5), "poke_interval": LOOKS}
        super().__init__(**{**ours, **kwargs})
        self.model = model
        self.number = number

    def execute(self, context: Context) -> dict[str, str]:
        """Ask, unless this plan was answered already; ``execute_complete`` goes on from there."""
        with refusals_are_final():
            record = self._record(context)
            if not record.needed:
                return {"decision": "not needed", "plan_digest": str(record.plan.digest)}
            if record.answer() is None:
                self._end_if_over(context, record, datetime.now(UTC))
                self._ask(context, record)
            return self._go_on(context, record)

    def execute_complete(self, context: Context, event: dict[str, Any], plan_digest: str) -> dict[str, str]:
        """Look whether the gate has ended, or judge the answer and sign it.

        :param event: An answer, or that nobody answered until now.
        :param plan_digest: Of the plan that was shown; it travelled outside of anything that is rendered again.
        """
        with refusals_are_final():
            if "error" in event:
                return self._look(context, plan_digest)
            return self._while_silent(context, event, plan_digest)

    def _look(self, context: Context, plan_digest: str) -> dict[str, str]:
        """End if there is a reason to, else wait on: neither a silent store nor a broken catalog file is one."""
        now = datetime.now(UTC)
        try:
            record = self._record(context)
            _require_shown(record, plan_digest)
            if record.answer() is not None:
                return self._go_on(context, record)
            self._end_if_over(context, record, now)
        except (StoreUnreachableError, CatalogError) as error:
            self.log.warning("Release %s could not be looked after: %s", release_of(context), error)
            raise self._parked(plan_digest, timedelta(seconds=self.poke_interval)) from error
        self.log.info("Release %s: nobody has answered yet", record.plan.release_id)
        raise self._parked(plan_digest, gate.deadline(record.plan.gate, record.asked_at) - now)

    def _while_silent(self, context: Context, event: dict[str, Any], plan_digest: str) -> dict[str, str]:
        """Judge the answer, again while the store is silent; all that this writes may be written twice."""
        silent = Retrying(
            retry=retry_if_exception_type(StoreUnreachableError),
            stop=stop_after_delay(PATIENCE),
            wait=wait_fixed(PAUSE),
            before_sleep=lambda attempt: self.log.warning("%s", attempt.outcome and attempt.outcome.exception()),
            reraise=True,
        )
        try:
            return silent(self._judge, context, event, plan_digest)
        except StoreUnreachableError as error:
            raise AirflowException(
                f"The answer about release {release_of(context)} could not be written down within "
                f"{PATIENCE:.0f} s and does not count: {error} It is asked for again: answer once more."
            ) from error

    def _judge(self, context: Context, event: dict[str, Any], plan_digest: str) -> dict[str, str]:
        record = self._record(context)
        _require_shown(record, plan_digest)
        answer = _answer(event, record)
        if record.answer() is None:
            self._end_if_over(context, record, datetime.fromisoformat(answer["responded_at"]))
        record.write(answer)
        return self._go_on(context, record)

    def _record(self, context: Context) -> GateRecord:
        """Return what the receipts say, whatever was rendered, stored or pushed meanwhile."""
        catalog = load()
        evidence = release_evidence(catalog.model(self.model), release_of(context))
        record = GateRecord.read(evidence, lambda name: ledger(catalog.model(name)), self.number)
        if used := record.used():
            raise AirflowFailException(
                f"Release {evidence.release_id} was rolled out to {', '.join(used)} and has ended there: its approval "
                "is used. Start a new release."
            )
        if found := approval.answer_problems(record.earlier, record.plan):
            raise AirflowFailException(f"Answer {self.number} is not asked for: {'; '.join(found)}.")
        return record

    def _ask(self, context: Context, record: GateRecord) -> Never:
        plan, people, answered = record.plan, known_people(), gate.ids(record.earlier)
        if problem := gate.problem(plan.gate, people, answered):
            raise AirflowFailException(f"Release {plan.release_id} cannot be approved. {problem}")
        until = gate.deadline(plan.gate, record.asked_at)
        asked = request.Request(
            plan, self.number, record.earlier, self._verified(plan), record.previews(), people, until
        )
        who = gate.askable(plan.gate, answered)
        body = "\n\n".join(filter(None, (request.body(asked), self.also_shown(record))))
        question.put(context, request.subject(asked), body, who, str(plan.digest))
        self.log.info("Release %s waits for %s", plan.release_id, ", ".join(one.id for one in who))
        raise self._parked(str(plan.digest), until - datetime.now(UTC))

    def also_shown(self, record: GateRecord) -> str:
        """Return what is shown below the plan, in Markdown."""
        return request.observed(record.evidence.read("plan").get("observed", ()))

    def _verified(self, plan: Plan) -> list[request.Verified]:
        """Return the proof of every model at every service; that of a model that comes along is in its own release."""
        catalog = load()
        evidence = {one.model: release_evidence(catalog.model(one.model), one.release_id) for one in plan.models}
        pairs = dict.fromkeys((target.service, one.model) for target in plan.targets for one in target.served)
        return [request.Verified(service, model, evidence[model].read("verify", service)) for service, model in pairs]

    def _parked(self, plan_digest: str, wait: timedelta) -> TaskAwaitingInput:
        """Return what makes the task wait for an answer, but not longer than until the next look."""
        wait = min(wait, timedelta(seconds=self.poke_interval))
        return TaskAwaitingInput(
            method_name="execute_complete",
            kwargs={"plan_digest": plan_digest},
            timeout=max(wait, timedelta(seconds=1)),
        )

    def _end_if_over(self, context: Context, record: GateRecord, at: datetime) -> None:
        """End the release if the gate has ended *at* that time, whatever was answered later."""
        ending = record.ending(at)
        if ending is None:
            return
        if ending.event == "rejected":
            record.write(_nobodys(record.plan))
        self._skip(context, record, ending)

    def _go_on(self, context: Context, record: GateRecord) -> dict[str, str]:
        """Do what the answer on record says: the one that was written first, whoever wrote it."""
        answer = record.answer() or {}
        if answer.get("decision") == approval.REJECT:
            self._skip(context, record, gate.Ending("rejected", f"rejected by {gate.said(answer)}"))
        answers, plan = [*record.earlier, answer], record.plan
        if found := approval.answer_problems(answers, plan):
            raise AirflowFailException(f"The approval of release {plan.release_id} is no good: {'; '.join(found)}.")
        if len(answers) == gate.needed(plan.gate):
            self._tell(record, "approved", "approved by " + "; ".join(gate.said(one) for one in answers))
            self._take_along(record)
        return {"decision": approval.APPROVE, "responder": gate.ids([answer])[0], "plan_digest": str(plan.digest)}

    def _skip(self, context: Context, record: GateRecord, ending: gate.Ending) -> Never:
        """End the release here; the value first, since skipping raises."""
        self._tell(record, ending.event, ending.reason)
        value = {"decision": ending.event, "plan_digest": str(record.plan.digest)}
        context["ti"].xcom_push(key="return_value", value=value)
        raise AirflowSkipException(f"Release {record.plan.release_id}: {ending.reason}.")

    def _take_along(self, record: GateRecord) -> None:
        """End the gates of the releases that this one switches: they are decided here."""
        plan = record.plan
        for one in plan.models[1:]:
            reason = f"switched by release {plan.release_id} of {plan.model}"
            about = {"revision": str(one.revision), "source_version": one.source_version}
            record.book(one.model).record("superseded", one.release_id, **about, reason=reason)

    def _tell(self, record: GateRecord, event: str, reason: str) -> None:
        own = record.plan.own
        about = {"revision": str(own.revision), "source_version": own.source_version}
        record.book(self.model).record(event, record.plan.release_id, **about, reason=reason)


def _require_shown(record: GateRecord, plan_digest: str) -> None:
    if plan_digest != str(record.plan.digest):
        raise AirflowFailException(
            f"The answer about release {record.plan.release_id} does not count: the plan that was shown is "
            f"{plan_digest}, the one on record is {record.plan.digest}. Start a new release."
        )


def _answer(event: dict[str, Any], record: GateRecord) -> dict[str, Any]:
    """Return the answer in *event* as a receipt's body.

    event      | responder        | then
    -----------+------------------+----------
    one option | may answer       | returned
    timed out  | any              | refused
    else       | any              | refused
    any        | none, another    | refused
    """
    responder, options = event.get("responded_by_user"), event.get("chosen_options")
    problems = gate.responder_problems(responder, record.plan.gate, gate.ids(record.earlier))
    if event.get("timedout"):
        problems.append("it is a time-out's, and no time-out decides anything")
    if options not in ([question.APPROVE], [question.REJECT]):
        problems.append(f"it is {options!r}")
    if problems:
        raise AirflowFailException(
            f"The answer about release {record.plan.release_id} does not count: {'; '.join(problems)}. "
            "Clear this task to ask again, or start a new release."
        )
    return {
        "decision": approval.APPROVE if options == [question.APPROVE] else approval.REJECT,
        "plan_digest": str(record.plan.digest),
        "responder": {"id": responder["id"], "name": responder.get("name")},
        "responded_at": _text(event["responded_at"]),
        "note": question.note(event),
    }


def _nobodys(plan: Plan) -> dict[str, Any]:
    """Return the answer of a gate that nobody answered in time: it says no."""
    nobody = {"responder": None, "responded_at": None, "note": None}
    return {"decision": approval.REJECT, "plan_digest": str(plan.digest), **nobody}


def _text(moment: datetime | str) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else moment
