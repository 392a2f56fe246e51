"""Airflow's pools, one a claim: how many pods of stage runs may work on it at the same time.

Airflow schedules no task whose pool does not exist, and neither a Dag nor a task can make one. The scheduler can: when
a run begins, it makes the pools that the run's tasks name and that are not there. How many slots a pool has, a person
changes in the UI; nothing of ours changes it again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from modelberth.catalog import Service

log = logging.getLogger(__name__)

_OURS = "claim_"
SLOTS = 2
"""Of a new pool. One pod fills a usual network file system; a second one keeps it busy while the first starts."""


def pool_of(service: Service) -> str:
    """Return the name of the pool of the service's claim."""
    return f"{_OURS}{service.connection}_{service.namespace}_{service.claim}"


@hookimpl
def on_dag_run_running(dag_run: Any, msg: str) -> None:  # noqa: ARG001 - the hook's names
    """Make the pools that the run needs; called by the scheduler, inside its own transaction."""
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session, dag = object_session(dag_run), getattr(dag_run, "dag", None)
    names = {task.pool for task in dag.tasks if task.pool.startswith(_OURS)} if dag else set()
    if not names or session is None:
        return
    from airflow.models.pool import Pool

    known = set(session.scalars(select(Pool.pool).where(Pool.pool.in_(names))))
    for name in sorted(names - known):
        # Our tasks wait without a worker: a pool that did not count them would bound nothing.
        session.add(Pool(pool=name, slots=SLOTS, description="Pods on one claim at a time", include_deferred=True))
        log.info("Pool %s: made, with %s slots.", name, SLOTS)
