"""What Airflow runs, one verb a file; each reads the evidence of the step before it and leaves its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core.digest import Digest
from modelberth.core.release import release_id

if TYPE_CHECKING:
    from airflow.sdk import Context


SOURCE_VERSION = "source_version"
"""The key of a run's conf under which refresh says what the source held when it proposed the run."""

WITH = "with"
"""The parameter of a run that names the models that are switched together with its own."""


def release_of(context: Context) -> str:
    """Return the id of the release that this task is part of."""
    run = context["dag_run"]
    return release_id(run.dag_id, run.run_id, run.run_after)


def proposed_version(context: Context) -> str | None:
    """Return what the source held when refresh proposed this run, None for a run of a person's.

    Whoever may start a run can write this: it only tells the ledger what a failed release was about.
    """
    try:
        return str(Digest.parse((context["dag_run"].conf or {})[SOURCE_VERSION]))
    except (KeyError, TypeError, ValueError):
        return None


def switched_with(context: Context) -> list[str]:
    """Return the models that this run is to switch together with its own."""
    return [str(name) for name in (context.get("params") or {}).get(WITH) or ()]
