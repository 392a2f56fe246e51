"""The name of a release: readable, sortable by time, and the same however often its tasks are cleared or retried."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

RELEASE_ID = re.compile(r"[0-9]{8}t[0-9]{6}z-[0-9a-f]{10}")


def release_id(dag_id: str, run_id: str, run_after: datetime) -> str:
    """Return the id of the release that the run *run_id* of *dag_id* makes.

    It is also the upload's name, so it is fixed before the first byte; the hash keeps two runs of one second apart.

        20260102t030405z-9f86d08188

    :param run_after: When the run was due, with its time zone; Airflow never changes it.
    """
    if run_after.tzinfo is None:
        raise ValueError(f"run_after {run_after.isoformat()} has no time zone: a release's time is UTC.")
    named = hashlib.sha256(f"{dag_id}/{run_id}".encode()).hexdigest()[:10]
    return f"{run_after.astimezone(UTC):%Y%m%dt%H%M%Sz}-{named}"
