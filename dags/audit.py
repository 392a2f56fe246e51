"""audit_snapshots: say whether what is served is still what was released, and whether what is on record holds."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, TriggerRule

from modelberth.operators.audit import PROBLEMS, AuditReceiptsOperator, CompareServedOperator, ReportDriftOperator
from modelberth.operators.reverify import ReverifyModelOperator

EVERY = "30 3 * * *"
RATE = "100MiB"
"""Bytes a second that reading again takes from the claims at most, one snapshot after the other. Change both here."""

DOC = """
Looks whether what is served is still what was released. It changes nothing and puts nothing right.

* **receipts** audits all that is on record: every signature, digest and step, and the ledger. It fails with what is
  missing, forged or out of order; `python -m modelberth.receipts` says the same without Airflow.
* **compare** compares the live variables and annotations with the last receipts. What somebody else changed goes into
  the ledger as *observed*.
* **verify** reads every byte of what is served again, one snapshot after the other, at a limited rate. *When it fails*,
  it names the damage; a release stages a fresh copy.
* **report** fails with what **compare** found. A release or a rollback makes it right; so does undoing the change.
"""

with DAG(
    "audit_snapshots",
    schedule=EVERY,  # without a start_date: a new Airflow waits for the first night
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    tags=["modelberth", "audit"],
    doc_md=DOC,
):
    AuditReceiptsOperator(task_id="receipts")
    compare = CompareServedOperator(task_id="compare")
    verify = ReverifyModelOperator.partial(task_id="verify", rate=RATE, max_active_tis_per_dag=1).expand_kwargs(
        compare.output
    )
    report = ReportDriftOperator(task_id="report", problems=compare.output[PROBLEMS], trigger_rule=TriggerRule.ALL_DONE)
    verify >> report
