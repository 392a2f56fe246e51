"""What was found of the signatures of what a release has uploaded: the receipt ``signature``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core import strict
from modelberth.core.signature import Signed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.core.digest import Digest
    from modelberth.core.revision import Revision
    from modelberth.receipts.evidence import Evidence

_STEP = "signature"


def write_signed(evidence: Evidence, revision: Revision, signed: Iterable[Signed]) -> Digest:
    """Put on record what was found of the signatures of *revision*."""
    return evidence.write(_STEP, {"revision": str(revision), "signed": [strict.dump(one) for one in signed]})


def read_signed(evidence: Evidence, revision: Revision) -> list[Signed]:
    """Return what is on record of the signatures of *revision*; of another one that was uploaded before, nothing."""
    receipt = evidence.find(_STEP)
    if receipt is None or receipt["revision"] != str(revision):
        return []
    return [strict.load(Signed, one, _STEP) for one in receipt["signed"]]
