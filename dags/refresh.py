"""refresh_models: propose what is new at a source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TriggerRule

from modelberth.operators.refresh import PROBLEMS, CompareSourcesOperator, ReportProblemsOperator

EVERY = timedelta(minutes=15)
"""Change it here: this file is the project's, and a Variable would be asked for at every parse."""

DOC = """
Compares the source of every model with the model's ledger and triggers `release_<model>` where the source holds
something that was never proposed. Nothing goes live by that: each release waits for its approval.

* **compare** logs one line a model: what was decided, and why. `refresh: {paused: true}` in a model's file pauses it.
  More than 1,000 proposals are made at several looks.
* **propose** triggers a run named after the source's version and the number of the model's releases so far, so twice
  the same is once; *skipped* means that the run exists already.
* **report** fails when a source or a ledger could not be read. The other models have been served by then: put right
  what it names, the next run looks again.
"""

with DAG(
    "refresh_models",
    schedule=EVERY,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,  # paused, as Airflow has it by default, nothing new would ever be seen
    max_active_runs=1,
    tags=["modelberth", "refresh"],
    doc_md=DOC,
):
    compare = CompareSourcesOperator(task_id="compare", retries=1)
    propose = TriggerDagRunOperator.partial(
        task_id="propose", logical_date=None, skip_when_already_exists=True
    ).expand_kwargs(compare.output)
    report = ReportProblemsOperator(
        task_id="report", problems=compare.output[PROBLEMS], trigger_rule=TriggerRule.ALL_DONE
    )
    propose >> report
