"""check_catalog: say what would stop a release of each model, before anybody starts one."""

from __future__ import annotations

from airflow.sdk import DAG

from modelberth.operators.survey import SurveyCatalogOperator

DOC = """
Looks at everything that the catalog names, as the first step of a release does, and changes nothing: sources, buckets,
receipts, connections, claims, rights, workloads, their variables, room for a rollout. The table is in the task's log.

Run it after a change of the catalog, of a cluster's rights or of a connection. The same at a terminal, where Airflow is
installed: `PYTHONPATH=plugins python -m modelberth check`.
"""

with DAG(
    "check_catalog",
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["modelberth", "catalog"],
    doc_md=DOC,
):
    SurveyCatalogOperator(task_id="check", retries=0)
