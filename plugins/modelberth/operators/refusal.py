"""Which errors end a task for good, and which may pass when Airflow tries again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

from modelberth.catalog import CatalogError
from modelberth.core.failure import Failure
from modelberth.core.plan import PlanRefusedError
from modelberth.kubernetes.client import ClusterRefusedError
from modelberth.receipts import EvidenceConflictError, EvidenceForgedError, EvidenceMissingError, StoreError
from modelberth.signatures.verifier import VerifierUnusableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINAL = (
    AirflowNotFoundException,  # a connection that is not there
    CatalogError,
    ClusterRefusedError,
    EvidenceConflictError,
    EvidenceForgedError,
    EvidenceMissingError,
    PlanRefusedError,
    StoreError,
    VerifierUnusableError,
)


@contextmanager
def refusals_are_final() -> Iterator[None]:
    """Turn what no retry changes into ``AirflowFailException``; everything else is tried again."""
    try:
        yield
    except _FINAL as error:
        raise AirflowFailException(str(error)) from error
    except Failure as failure:
        kind = AirflowException if failure.code.worth_retrying else AirflowFailException
        raise kind(str(failure)) from failure
