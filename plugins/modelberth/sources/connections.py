"""Airflow connections, by their ids only: what is in them goes to a hook, or to the pod that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowNotFoundException

from modelberth import clients
from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from airflow.sdk import Connection


def connection(name: str) -> Connection:
    """Return the connection called *name*; some hooks take a missing one for 'use the worker's own rights'.

    :raises Failure: There is none.
    """
    try:
        return clients.connection(name)
    except AirflowNotFoundException as error:
        text = f"Airflow has no connection {name!r}: create it, or correct the source in the catalog."
        raise Failure(ExitCode.REFUSED, text) from error
