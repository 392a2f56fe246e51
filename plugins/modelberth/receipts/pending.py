"""What releases still need that have not ended: a plan that waits for an answer uses its snapshots."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from modelberth.core.mentions import mentions
from modelberth.core.prune import Use, is_pending
from modelberth.receipts import ledger, release_evidence

if TYPE_CHECKING:
    from datetime import datetime

    from modelberth.receipts import Evidence, ModelConfig

_AT_ONCE = 16


def pending(model: ModelConfig) -> list[Use]:
    """Return what the releases of *model* use that may still be rolled out: all that their receipts name.

    :raises EvidenceForgedError: A receipt or an entry of the ledger is not ours; then nothing is known for sure.
    """
    events: dict[str, dict[str, datetime]] = defaultdict(dict)
    for entry in ledger(model).entries():
        events[entry.release_id][entry.event] = entry.at
    releases = [release_evidence(model, one) for one, seen in sorted(events.items()) if is_pending(seen)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [use for uses in pool.map(_uses, releases) for use in uses]


def _uses(evidence: Evidence) -> list[Use]:
    who = f"release {evidence.release_id} of {evidence.model}, which has not ended"
    return [Use(who, one) for one in mentions(json.dumps(evidence.all()))]
