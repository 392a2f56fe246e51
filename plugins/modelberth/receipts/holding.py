"""Who holds a workload: its annotation names a release, and that release's receipts say whether it still may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.receipts import evidence_at

if TYPE_CHECKING:
    from modelberth.receipts import Evidence


def is_under_way(receipts: tuple[str, str], model: str, holder: str, uid: str) -> bool:
    """Return whether release *holder* of *model* has started at the workload *uid* and has no outcome there.

    :param receipts: Their URL and connection.
    :raises EvidenceForgedError: A receipt is not ours; then nothing is known for sure.
    """
    one = evidence_at(*receipts, model, holder)
    return any(one.find("started", name) and not one.find("outcome", name) for name in targets_at(one, uid))


def targets_at(evidence: Evidence, uid: str) -> list[str]:
    """Return what the plan of a release calls the workload *uid*: services that share one call it differently."""
    receipt = evidence.find("plan")
    targets = receipt["plan"].get("targets", ()) if receipt else ()
    return [one.get("name", "") for one in targets if one["workload"]["uid"] == uid]
