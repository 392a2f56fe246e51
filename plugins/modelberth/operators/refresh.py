"""Compare every source with its ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TaskInstanceState
from airflow.sdk.exceptions import AirflowException

from modelberth.catalog import load
from modelberth.clients import AT_ONCE, kept
from modelberth.core.failure import Failure
from modelberth.core.refresh import Decision, decide, due, first
from modelberth.operators import SOURCE_VERSION
from modelberth.operators.mapping import widest
from modelberth.operators.places import Question, UnansweredError, ask_all
from modelberth.receipts import EvidenceForgedError, Ledgers, StoreError, StoreUnreachableError
from modelberth.sources import place_of, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Model
    from modelberth.core.digest import Digest

WITHIN = 240.0
"""Seconds in which all sources have to answer; the schedule's next look is no later than in 15 minutes."""

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
        catalog, before = load(), _last_look(context)
        models = [one for one in catalog.models.values() if self._followed(one) and _due(one, before)]
        with kept():
            looks = _looks(catalog, models)
        chosen = first(_proposed(looks), widest(), context["run_id"])
        looks = [_unless_held_up(seen, chosen) for seen in looks]
        for seen in looks:
            self._say(seen)
        problems = [seen for seen in looks if isinstance(seen, str)]
        context["ti"].xcom_push(key=PROBLEMS, value=problems)
        return [seen.proposal for seen in looks if isinstance(seen, Look) and seen.decision.propose]

    def _followed(self, model: Model) -> bool:
        if model.refresh.paused:
            self.log.info("%s: leave: paused in the model's file, its source is not asked", model.name)
        return not model.refresh.paused

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


def _last_look(context: Context) -> datetime | None:
    """Return when this task last compared, whatever became of its run, which fails for each source that is down."""
    before = context["ti"].get_previous_ti(state=TaskInstanceState.SUCCESS)
    return before.start_date if before else None


def _due(model: Model, before: datetime | None) -> bool:
    every = model.refresh.every
    return due(timedelta(seconds=every) if every else None, before, datetime.now(UTC))


def _looks(catalog: Catalog, models: Sequence[Model]) -> list[Look | str]:
    """Return what was seen of each of *models*, or why nothing could be."""
    ledgers = Ledgers(models)
    questions = [Question(_asked(model), partial(_look, catalog, ledgers, model)) for model in models]
    seen = ask_all(questions, AT_ONCE, WITHIN)
    return [_told(model, one) if isinstance(one, Exception) else one for model, one in zip(models, seen, strict=True)]


def _asked(model: Model) -> str:
    """Return who is asked about *model*: models of one source whose ledgers are apart do not wait for each other."""
    return f"{place_of(model)} or {model.receipts.url}"


def _proposed(looks: Sequence[Look | str]) -> list[str]:
    return [seen.model for seen in looks if isinstance(seen, Look) and seen.decision.propose]


def _unless_held_up(seen: Look | str, chosen: set[str]) -> Look | str:
    """Return *seen*, without a proposal if it is not among the *chosen*, or if the release Dag is paused."""
    if isinstance(seen, str) or not seen.decision.propose:
        return seen
    if seen.model not in chosen:
        said = f"{seen.decision.reason}; it waits for the next look, since one look proposes no more than {len(chosen)}"
    elif dag_is_paused(f"release_{seen.model}"):
        said = f"{seen.decision.reason}, but Dag release_{seen.model} is paused: resume it"
    else:
        return seen
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


def _look(catalog: Catalog, ledgers: Ledgers, model: Model) -> Look:
    """Return what was seen of *model*."""
    version, known = source_of(model).resolve().name, ledgers.recent(model)
    waits = timedelta(seconds=max((one.answer_within for one in catalog.services_of(model.name)), default=0))
    decision = decide(
        known.entries,
        str(version),
        answer_within=waits,
        now=datetime.now(UTC),
        earlier=known.earlier,
    )
    return Look(model.name, version, decision)


_EXPECTED = (
    Failure, StoreError, StoreUnreachableError, EvidenceForgedError, UnansweredError, AirflowException, ValueError,
)  # fmt: skip


def _told(model: Model, error: Exception) -> str:
    """Return why *model* could not be compared; a fault of ours is one of this model only, and named as such."""
    kind = "" if isinstance(error, _EXPECTED) else f"{type(error).__name__}: "
    return f"Model {model.name!r}: {kind}{error}"
