"""What was live at a service, by the outcomes of every release that was approved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from modelberth.core import approval
from modelberth.core.ledger import LIVE
from modelberth.core.plan import PlanRefusedError, parse
from modelberth.core.rollback import Lived
from modelberth.receipts import evidence_at, ledger, release_evidence

if TYPE_CHECKING:
    from modelberth.core.plan import Plan
    from modelberth.receipts import Evidence, ModelConfig
    from modelberth.receipts.damage import OnClaim

_AT_ONCE = 16


def lived(model: ModelConfig, service: str, where: OnClaim) -> list[Lived]:
    """Return every snapshot of *model* that was live at *service*, on the claim that it is on now, the oldest first.

    :param where: The service.
    :raises EvidenceForgedError: A receipt or an entry of the ledger is not ours; then nothing is known for sure.
    """
    releases = sorted({entry.release_id for entry in ledger(model).entries() if entry.event in ("approved", "live")})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda one: _lived(release_evidence(model, one), service, where), releases)
        return sorted((one for some in found for one in some), key=lambda one: (one.at, one.by))


def _lived(release: Evidence, service: str, where: OnClaim) -> list[Lived]:
    """Return what one release brought into service at *service*: nothing unless it is live at all its targets there."""
    evidence = switched_by(release)
    plan = _plan(evidence)
    targets = [one for one in plan.targets if one.service == service] if plan else []
    outcomes = [evidence.find("outcome", one.name) for one in targets]
    if plan is None or not targets or any(one is None or one["result"] != LIVE for one in outcomes):
        return []
    if approval.place_problem(approval.place(targets[0]), where):
        return []
    at = max(datetime.fromisoformat(one["at"]) for one in outcomes if one)
    return [
        Lived(targets[0].snapshot_of(one.model), one.release_id, release.release_id, at)
        for one in plan.models
        if one.model == release.model and targets[0].bindings_of(one.model)
    ]


def switched_by(release: Evidence) -> Evidence:
    """Return the receipts of the release whose plan brought *release* into service: its own, or one that took it along.

    :raises EvidenceForgedError: Its record is not ours.
    """
    by = (release.find("record") or {}).get("by")
    return evidence_at(by["url"], by["connection"], by["model"], by["release_id"]) if by else release


def _plan(evidence: Evidence) -> Plan | None:
    """Return the plan of the release; None if there is none, or one of a schema that this version does not know."""
    receipt = evidence.find("plan")
    try:
        return parse(receipt["plan"]) if receipt else None
    except PlanRefusedError:
        return None
