"""rollback_model: serve a snapshot again that was live before; no byte is moved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, chain, task_group

from modelberth.catalog import load
from modelberth.operators.assets import LIVE
from modelberth.operators.check import CheckModelOperator
from modelberth.operators.record import RecordModelOperator
from modelberth.operators.rollback import (
    ListSnapshotsOperator,
    PlanRollbackOperator,
    SettleRollbackOperator,
    VerifyBesideOperator,
)
from modelberth.operators.rollout import RolloutModelOperator
from modelberth.sensors.rollback import RollbackApprovalSensor

MODEL, SERVICE = "{{ params.model }}", "{{ params.service }}"

DEFAULTS = {"retries": 3, "retry_delay": timedelta(seconds=2)}

DOC = """
Serves a snapshot of a model again that was live at a service before and is still on its claim. No byte is moved, and
neither the model's bucket nor its source is asked: both may be down.

1. Start it with **model** and **service** only: `plan` says in its log what can be served again, and changes nothing.
2. Start it with **to** (a snapshot or a revision of that table) and a **reason**. One approver of the service says yes
   at `approve`; who is named in the service's `break_glass` may tick **break_glass** instead: then nobody is asked, and
   who did it and why is signed and on record.

`list` looks what is on the claim. `check` proves the snapshot, `rollout` points the workload at it, waits until its
pods confirm and puts back if they do not. `record` tells the ledger, so that refresh does not propose again what was
rolled back. `verify` reads the snapshot again, if nobody did for a week; nothing waits for it. `settle` always runs and
ends as the rollback did. `modelberth_freeze` does not stop a rollback.

*When `list` fails because the receipts cannot be reached*, its error is the kubectl line that does it by hand.
"""

catalog = load()


def one_of(names: Any, what: str) -> Param:
    """Return a choice among *names*."""
    known = sorted(names)
    return Param(known[0] if known else "", type="string", description=what, **({"enum": known} if known else {}))


@task_group(group_id="serving")
def serve(target: str) -> None:
    """Bring what was approved into service at one workload of the service."""
    check = CheckModelOperator(task_id="check", model=MODEL, target=target)
    check >> RolloutModelOperator(task_id="rollout", model=MODEL, target=target, max_active_tis_per_dagrun=1)


with DAG(
    "rollback_model",
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,  # paused, it would be of no use when it is needed
    default_args=DEFAULTS,
    params={
        "model": one_of(catalog.models, "Which model."),
        "service": one_of(catalog.services, "Where."),
        "to": Param("", type="string", description="A snapshot or a revision; empty: only say what there is."),
        "reason": Param("", type="string", description="Why; it stays on record."),
        "break_glass": Param(False, type="boolean", description="Ask nobody: only for those whom the service names."),
    },
    tags=["modelberth", "rollback"],
    doc_md=DOC,
):
    plan = PlanRollbackOperator(task_id="plan", retries=1)
    chain(
        ListSnapshotsOperator(task_id="list", model=MODEL, target=SERVICE),
        plan,
        RollbackApprovalSensor(task_id="approve", model=MODEL),
        serve.expand(target=plan.output),
        RecordModelOperator(task_id="record", model=MODEL, outlets=[LIVE]),
        SettleRollbackOperator(task_id="settle", model=MODEL).as_teardown(on_failure_fail_dagrun=True),
    )
    plan >> VerifyBesideOperator(task_id="verify", model=MODEL, target=SERVICE)
