"""Evidence: what each step of a release did, signed, create-only, in a place that no pod may write.

    <receipts prefix>/<model>/<release_id>/05-plan.json                what one step did
    <receipts prefix>/<model>/<release_id>/04-verify-embedder.2.json   ... and did again with another result
    <receipts prefix>/ledger/<model>/<release_id>-proposed.json        what became of a release

Every reader verifies the signature and that a receipt is about what its key says. Formats: docs/receipts.md.
"""

from __future__ import annotations

from typing import Protocol

from modelberth.core.offers import undecided
from modelberth.receipts.evidence import Evidence, EvidenceConflictError, EvidenceMissingError
from modelberth.receipts.ledger import Ledger, LedgerEntry
from modelberth.receipts.ledgers import Ledgers
from modelberth.receipts.signing import EvidenceForgedError, signing_key
from modelberth.receipts.store import ObjectStore, StoreError, StoreUnreachableError, TooLargeError, open_store

__all__ = [
    "Evidence",
    "EvidenceConflictError",
    "EvidenceForgedError",
    "EvidenceMissingError",
    "Ledger",
    "LedgerEntry",
    "Ledgers",
    "ObjectStore",
    "StoreError",
    "StoreUnreachableError",
    "TooLargeError",
    "evidence_at",
    "ledger",
    "ledger_at",
    "open_store",
    "release_evidence",
    "undecided_release",
]


class _Place(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def connection(self) -> str: ...


class ModelConfig(Protocol):
    """The part of a model's file that evidence needs."""

    @property
    def name(self) -> str: ...
    @property
    def receipts(self) -> _Place: ...


def release_evidence(model: ModelConfig, release_id: str) -> Evidence:
    """Return the evidence of one release of *model*."""
    return evidence_at(model.receipts.url, model.receipts.connection, model.name, release_id)


def ledger(model: ModelConfig) -> Ledger:
    """Return the ledger of *model*."""
    return ledger_at(model.receipts.url, model.receipts.connection, model.name)


def undecided_release(model: ModelConfig) -> str | None:
    """Return the release of *model* that may still be decided, None if none is on offer."""
    return undecided((entry.release_id, entry.event) for entry in ledger(model).entries())


def evidence_at(url: str, connection: str, model: str, release_id: str) -> Evidence:
    """Return the evidence of a release below *url*: for those who must not depend on the catalog as it is now."""
    return Evidence(open_store(url, connection), signing_key(), model, release_id)


def ledger_at(url: str, connection: str, model: str) -> Ledger:
    """Return the ledger of *model* below *url*."""
    return Ledger(open_store(url, connection), signing_key(), model)
