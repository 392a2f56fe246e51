"""What becomes of an upload whose task is told to end: Airflow sends one signal for many reasons."""

from __future__ import annotations

GONE = "gone"
"""In the place of a task's state: the server has no such task, since a person deleted its run."""

_NOBODY_COMES = frozenset({"failed", "success", "skipped", "removed", "upstream_failed", "restarting", GONE})


def wanted(state: str | None) -> bool:
    """Say whether the upload goes on without its task, for the next try to join.

    :param state: What the server says of the task now; None where it says nothing.

    | state | because | goes on |
    |---|---|---|
    | failed, success, skipped, removed, upstream_failed | a person marked it, or its last try is lost | no |
    | restarting | a person cleared it, perhaps to have it start with something else | no |
    | gone | a person deleted the run | no |
    | up_for_retry, scheduled, queued, or running as another try | its heartbeats were lost: the next try comes | yes |
    | running, as this try | the worker is told to end | yes |
    | none, or one that we do not know | the API server is away, the token has expired, or this is too old | yes |
    """
    return state not in _NOBODY_COMES
