"""prune_claims: take away from each claim, and from each model's bucket, what nothing uses any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, TaskGroup

from modelberth.catalog import load
from modelberth.operators.prune import PruneClaimOperator
from modelberth.operators.prune_bucket import PruneBucketOperator

EVERY = timedelta(days=1)
DRY_RUN = "{{ params.dry_run }}"

DOC = """
Takes away what nothing uses: snapshots on claims, what interrupted syncs left there, and revisions in buckets. One task
a claim and one a model; what it would do and why stands under *Rendered Templates* (and in the log and the XCom) of the
task as **plan**.

1. What nothing uses is **condemned**: a mark, which moves no byte. It serves on, and a release, a sync or a rollback
   that comes back to it lifts the mark.
2. What is condemned for `retention.grace` (a week, unless the model's file says otherwise) and still unused is renamed
   out of sight, looked for once more, and **deleted**; if somebody uses it after all, it is renamed back.

*Used* is what any workload names, with its history (a Deployment of no replicas, old ReplicaSets and
ControllerRevisions, CronJobs), on any claim of the same storage; what a release needs that has not ended; and the last
`retention.keep_live` that were live. What cannot be seen is **refused**, and the plan says which right is missing.

**Nothing is deleted before somebody unpauses this Dag.** A run with `dry_run` shows the plan and changes nothing.
*When a task fails*, clear it: each step goes on from what is there.
"""

with DAG(
    "prune_claims",
    schedule=EVERY,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,  # the only Dag that deletes begins when a person says so
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"dry_run": Param(False, type="boolean", description="Only show what would be done")},
    tags=["modelberth", "prune"],
    doc_md=DOC,
):
    catalog = load()
    places = {(one.connection, one.namespace, one.claim) for one in catalog.services.values()}
    with TaskGroup("claims"):
        for connection, namespace, claim in sorted(places):
            PruneClaimOperator(
                task_id=f"{connection}_{namespace}_{claim}",  # of these only a connection's id may have a _
                connection=connection,
                namespace=namespace,
                claim=claim,
                dry_run=DRY_RUN,
            )
    with TaskGroup("buckets"):
        for model in catalog.models:
            PruneBucketOperator(task_id=model, model=model, dry_run=DRY_RUN)
