"""What releases still need that have not ended: a plan that waits for an answer uses its snapshots."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelberth.core import approval, gate
from modelberth.core.mentions import mentions
from modelberth.core.plan import PlanRefusedError, parse
from modelberth.core.prune import Standing, Use, may_go_on, standing
from modelberth.receipts import ledger, release_evidence

if TYPE_CHECKING:
    from modelberth.receipts import Evidence, ModelConfig

_AT_ONCE = 16


def pending(model: ModelConfig) -> list[Use]:
    """Return what the releases of *model* use that may still be rolled out: all that their receipts name.

    :raises EvidenceForgedError: A receipt or an entry of the ledger is not ours; then nothing is known for sure.
    """
    pairs = [(entry.release_id, entry.event) for entry in ledger(model).entries()]
    events: dict[str, set[str]] = defaultdict(set)
    for release_id, event in pairs:
        events[release_id].add(event)
    newest = approval.superseding("", pairs) or ""
    stands = {one: standing(seen, newer=newest > one) for one, seen in sorted(events.items())}
    wanted = [one for one, how in stands.items() if how is not Standing.ENDED]

    def uses(one: str) -> list[Use]:
        return _uses(release_evidence(model, one), stands[one], "approved" in events[one])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [use for found in pool.map(uses, wanted) for use in found]


def _uses(evidence: Evidence, stands: Standing, approved: bool) -> list[Use]:
    who = f"release {evidence.release_id} of {evidence.model}, which "
    if stands is Standing.PENDING:
        who += "has not ended"
    elif stands is Standing.FAILED and _may_go_on(evidence, approved):
        who += "failed and goes on if its tasks are cleared"
    else:
        return []
    return [Use(who, one) for one in mentions(json.dumps(evidence.all()))]


def _may_go_on(evidence: Evidence, approved: bool) -> bool:
    receipt = evidence.find("plan")
    try:
        plan = parse(receipt["plan"]) if receipt else None
    except PlanRefusedError:  # of another version: no rollout takes it up
        return False
    if receipt is None or plan is None:  # what it staged waits out the grace
        return False
    outcomes = [(evidence.find("outcome", one.name) or {}).get("result") for one in plan.targets]
    until = gate.deadline(plan.gate, datetime.fromisoformat(receipt["at"]))
    return may_go_on(outcomes, approved, until, datetime.now(UTC))
