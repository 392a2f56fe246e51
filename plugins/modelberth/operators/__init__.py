"""What Airflow runs, one verb a file; each reads the evidence of the step before it and leaves its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core.release import release_id

if TYPE_CHECKING:
    from airflow.sdk import Context


def release_of(context: Context) -> str:
    """Return the id of the release that this task is part of."""
    run = context["dag_run"]
    return release_id(run.dag_id, run.run_id, run.run_after)
