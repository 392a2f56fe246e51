"""stage_<service>: bring what a service's registries name onto its claim, verified; nothing that is served changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, TriggerRule, task_group

from modelberth.catalog import load
from modelberth.operators.pools import pool_of
from modelberth.operators.stage import ListNamedOperator, ReportStagedOperator
from modelberth.operators.stage_pods import FetchStagedOperator, SyncStagedOperator, VerifyStagedOperator

if TYPE_CHECKING:
    from modelberth.catalog import Service

DEFAULTS = {
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "weight_rule": "upstream",  # what is half there comes first: one version after the other is done
}

DOC = """
Brings every model and version that the registries of service **{service}** name onto claim
`{namespace}/{claim}`, verified. Nothing that is served changes: a release of what is staged moves no byte.

* **list** asks the registries and looks what is on the claim: what is there and was verified is left alone.
* **version**, for each that is not: `fetch` (its source to the bucket), `sync` (onto the claim), `verify` (every byte
  is read again). At most as many at once as pool `{pool}` has slots. What was interrupted goes on where it was.
* **report** shows the table: present, fetched, failed, unreferenced. It fails when something could not be brought:
  put right what it names, the next run brings it.
"""


def stage(service: Service, every: int) -> DAG:
    """Return the Dag that stages for *service*, every *every* seconds."""
    pool = pool_of(service)
    with DAG(
        f"stage_{service.name}",
        schedule=timedelta(seconds=every),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # paused, a registry's tag would bring nothing and nobody would be told
        default_args=DEFAULTS,
        tags=["modelberth", "stage", f"service:{service.name}"],
        doc_md=DOC.format(service=service.name, namespace=service.namespace, claim=service.claim, pool=pool),
    ) as dag:

        @task_group(group_id="version")
        def version(model: str, version: str, release_id: str) -> None:
            """Bring one version."""
            about = {"model": model, "version": version, "release_id": release_id, "target": service.name}
            shown = {"pool": pool, "map_index_template": "{{ task.model }} {{ task.version }}"}
            fetch = FetchStagedOperator(task_id="fetch", **about, **shown)
            sync = SyncStagedOperator(task_id="sync", **about, **shown)
            fetch >> sync >> VerifyStagedOperator(task_id="verify", **about, **shown)

        named = ListNamedOperator(task_id="list", service=service.name)
        report = ReportStagedOperator(
            task_id="report", service=service.name, tried=named.output, trigger_rule=TriggerRule.ALL_DONE
        )
        version.expand_kwargs(named.output) >> report
    return dag


globals().update(
    {
        dag.dag_id: dag
        for dag in (stage(one, one.stage.every) for one in load().services.values() if one.stage is not None)
    }
)
