"""Compare every source with its ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from modelberth.catalog import load
from modelberth.core.failure import Failure
from modelberth.core.refresh import Decision, decide, due
from modelberth.operators import SOURCE_VERSION
from modelberth.receipts import EvidenceForgedError, StoreError, StoreUnreachableError, ledger
from modelberth.sources import source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Model
    from modelberth.core.digest import Digest

AT_ONCE = 16
"""Sources and ledgers that are asked at the same time: they are waited for, not computed."""

PROBLEMS = "problems"
"""The XCom under which the models that could not be compared are found."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one model."""

    model: str
    version: Digest
    decision: Decision

    @property
    def proposal(self) -> dict[str, Any]:
        """Which run of which Dag is to be; the same one however often it is asked for.

        Its conf tells the run what it is about, for when it fails before it could see that itself.
        """
        run_id = f"refresh-{self.version.short}-{self.decision.attempt}"
        conf = {SOURCE_VERSION: str(self.version)}
        return {"trigger_dag_id": f"release_{self.model}", "trigger_run_id": run_id, "conf": conf}


class CompareSourcesOperator(BaseOperator):
    """
    Compare all sources with the ledgers, at once, and return the runs that are to be triggered.

    A source or ledger that cannot be read disturbs no other: the task succeeds, so that what is new is proposed, and
    leaves the problem for :class:`ReportProblemsOperator`, which fails for all to see. A paused release Dag gets no
    runs, which would all start when somebody resumes it: that it is paused is said instead.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Look at each model and say of each what was decided and why."""
        catalog, before = load(), context.get("prev_start_date_success")
        models = [one for one in catalog.models.values() if _due(one, before)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            looks = [_unless_paused(seen) for seen in pool.map(lambda model: _look(catalog, model), models)]
        for seen in looks:
            self._say(seen)
        problems = [seen for seen in looks if isinstance(seen, str)]
        context["ti"].xcom_push(key=PROBLEMS, value=problems)
        return [seen.proposal for seen in looks if isinstance(seen, Look) and seen.decision.propose]

    def _say(self, seen: Look | str) -> None:
        if isinstance(seen, str):
            self.log.error("%s", seen)
        else:
            verb = "propose" if seen.decision.propose else "leave"
            self.log.info("%s: %s source version %s: %s", seen.model, verb, seen.version, seen.decision.reason)


class ReportProblemsOperator(BaseOperator):
    """
    Fail when a model could not be compared, after all others were served.

    :param problems: One sentence a model. (templated)
    """

    template_fields: Sequence[str] = ("problems",)

    def __init__(self, *, problems: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow passes it by name
        """Fail with all problems."""
        if self.problems:
            raise AirflowException("Not compared with their sources:\n- " + "\n- ".join(self.problems))


def _due(model: Model, before: datetime | None) -> bool:
    every = model.refresh.every
    return due(timedelta(seconds=every) if every else None, before, datetime.now(UTC))


def _unless_paused(seen: Look | str) -> Look | str:
    """Return *seen*, without a proposal if the release Dag is paused."""
    if isinstance(seen, str) or not seen.decision.propose or not dag_is_paused(f"release_{seen.model}"):
        return seen
    said = f"{seen.decision.reason}, but Dag release_{seen.model} is paused: resume it"
    return replace(seen, decision=Decision(False, said))


def dag_is_paused(dag_id: str) -> bool:
    """Return whether Airflow would let a run of *dag_id* wait; a Dag that it does not know yet is none of ours."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import GetDag
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        return bool(SUPERVISOR_COMMS.send(GetDag(dag_id=dag_id)).is_paused)
    except AirflowRuntimeError:
        return False


def _look(catalog: Catalog, model: Model) -> Look | str:
    """Return what was seen of *model*, or why nothing could be."""
    try:
        version = source_of(model).resolve().name
        entries = ledger(model).entries()
    except (Failure, StoreError, StoreUnreachableError, EvidenceForgedError, AirflowException, ValueError) as error:
        return f"Model {model.name!r}: {error}"
    waits = timedelta(seconds=max((one.answer_within for one in catalog.services_of(model.name)), default=0))
    now = datetime.now(UTC)
    decision = decide(entries, str(version), paused=model.refresh.paused, answer_within=waits, now=now)
    return Look(model.name, version, decision)
