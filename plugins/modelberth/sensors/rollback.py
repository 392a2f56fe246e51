"""The gate of a rollback: one yes is enough, and in need the name of who may do without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from modelberth.core import approval
from modelberth.core.rollback import wants_verify
from modelberth.kubernetes.rollback import BREAK_GLASS_LASTS
from modelberth.operators.refusal import refusals_are_final
from modelberth.sensors.approval import ModelApprovalSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelberth.receipts.answers import GateRecord


class RollbackApprovalSensor(ModelApprovalSensor):
    """
    Ask as for a release; where the glass was broken, sign who did it and why, and wait for nobody.

    Breaking the glass is an answer like any other: signed, about exactly the plan, given by the only one whom the plan
    lets answer. Its plan names who started the run, as Airflow noted it, and was made only since the service allows
    that person. It counts for an hour from the start of the run: who clears an old run's tasks answers for nobody.

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Answer in the name of who broke the glass; else ask."""
        with refusals_are_final():
            record = self._record(context)
            said = record.evidence.read("plan")["rollback"]
            if said["break_glass"] and record.answer() is None:
                record.write(_broken(context, record, said["reason"]))
                self.log.warning(
                    "Release %s: %s broke the glass: %s", record.plan.release_id, said["requested_by"], said["reason"]
                )
        return super().execute(context)

    def also_shown(self, record: GateRecord) -> str:
        """Return why it is asked for, and what else could be served again."""
        said = record.evidence.read("plan")["rollback"]
        at = datetime.fromisoformat(said["verified_at"])
        old = wants_verify(at, datetime.now(UTC))
        verified = f"It was verified last on {at:%Y-%m-%d}" + (
            ", more than a week ago: it is read again beside the rollback, which does not wait for that."
            if old
            else "."
        )
        return "\n\n".join(
            [
                "**This is a rollback**: no byte is moved, and neither bucket nor source is asked.",
                f"Reason: {said['reason'] or 'none was given'}",
                verified,
                "**What was live before**",
                said["candidates"],
            ]
        )


def _broken(context: Context, record: GateRecord, reason: str) -> dict[str, Any]:
    """Return the answer of who started this run.

    :raises AirflowFailException: The plan is another's, or the run is too old.
    """
    run, now = context["dag_run"], datetime.now(UTC)
    who = run.triggering_user_name
    if [one.id for one in record.plan.gate.approvers] != [who]:
        raise AirflowFailException(f"The plan of {record.plan.release_id} was made for somebody else than {who!r}.")
    if now - run.run_after > timedelta(seconds=BREAK_GLASS_LASTS):
        raise AirflowFailException(
            f"Run {run.run_id} was started on {run.run_after:%Y-%m-%d %H:%M} UTC, and breaking the glass counts for an "
            "hour. Nothing was changed: start another."
        )
    return {
        "decision": approval.APPROVE,
        "plan_digest": str(record.plan.digest),
        "responder": {"id": who, "name": who},
        "responded_at": now.isoformat(timespec="seconds"),
        "note": reason,
        "break_glass": True,
    }
