"""The question as Airflow keeps it: one per task instance, shown under *Required Actions*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.core.plan import Approver

APPROVE, REJECT = "Approve", "Reject"

LONGEST_NOTE = 2000
"""Characters of a responder's note that are kept."""

_FORM = {
    "note": Param(
        "",
        type=["string", "null"],
        title="Note",
        description="Why, if that should be on record (not needed).",
        maxLength=LONGEST_NOTE,
    ).serialize()
}


def put(context: Context, subject: str, body: str, people: Sequence[Approver], plan_digest: str) -> None:
    """Ask *people*.

    Airflow keeps the texts of a task's first question, also when the task is cleared and asks again. An answer is
    bound to *plan_digest*, so that has to be what is shown.

    :raises AirflowFailException: What Airflow shows is a question about another plan.
    """
    shown = _sent(
        CreateHITLDetailPayload(
            ti_id=context["ti"].id,
            options=[APPROVE, REJECT],
            subject=subject,
            body=body,
            params=_FORM,
            assigned_users=[{"id": one.id, "name": one.name} for one in people],
        )
    )
    if plan_digest not in (shown.body or ""):
        raise AirflowFailException(
            f"Airflow still shows the question about another plan than {plan_digest}: an answer to it would be about "
            "something else. Start a new release."
        )


def _sent(question: CreateHITLDetailPayload) -> Any:
    """Return the question as Airflow has it now."""
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # it exists in a running task only

    return SUPERVISOR_COMMS.send(msg=question)


def note(event: dict[str, Any]) -> str | None:
    """Return what the responder wrote, None if nothing; Airflow does not check what the API is sent."""
    text = (event.get("params_input") or {}).get("note")
    return text.strip()[:LONGEST_NOTE] or None if isinstance(text, str) else None
