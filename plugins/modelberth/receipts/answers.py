"""The answers at the gate of one release: ``06-approve``, and ``06-approve-2`` and so on where it needs several."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core import approval, gate, preview
from modelberth.core.plan import Plan, parse
from modelberth.receipts.evidence import EvidenceMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelberth.receipts.evidence import Evidence
    from modelberth.receipts.ledger import Ledger

Answer = dict[str, Any]


def approvals(evidence: Evidence, plan: Plan) -> list[Answer]:
    """Return every answer that *plan* needs.

    :raises EvidenceMissingError: One is not on record.
    """
    return [evidence.read("approve", name) for name in gate.receipt_names(plan.gate)]


def digests(evidence: Evidence, plan: Plan) -> list[str]:
    """Return the digest of every answer that *plan* needs.

    :raises EvidenceMissingError: One is not on record.
    """
    return [str(evidence.digest("approve", name)) for name in gate.receipt_names(plan.gate)]


@dataclass(frozen=True)
class GateRecord:
    """What is on record about answer *number* of a release.

    :param book: Returns the ledger of a model.
    :param asked_at: When the plan was made.
    """

    evidence: Evidence
    book: Callable[[str], Ledger]
    plan: Plan
    asked_at: datetime
    number: int

    @classmethod
    def read(cls, evidence: Evidence, book: Callable[[str], Ledger], number: int) -> GateRecord:
        """Return the record.

        :raises EvidenceMissingError: There is no plan.
        """
        receipt = evidence.read("plan")
        return cls(evidence, book, parse(receipt["plan"]), datetime.fromisoformat(receipt["at"]), number)

    @property
    def needed(self) -> bool:
        """Whether the plan asks for as many answers."""
        return self.number <= gate.needed(self.plan.gate)

    @cached_property
    def earlier(self) -> list[Answer]:
        """The answers before this one."""
        names = gate.receipt_names(self.plan.gate)[: self.number - 1]
        return [self.evidence.read("approve", name) for name in names]

    def answer(self) -> Answer | None:
        """Return the answer, None if there is none yet."""
        return self.evidence.find("approve", gate.receipt_name(self.number))

    def write(self, answer: Answer) -> None:
        """Keep *answer*, once and for all.

        :raises EvidenceConflictError: Another one was faster.
        """
        self.evidence.write("approve", answer, target=gate.receipt_name(self.number))

    def used(self) -> list[str]:
        """Return the targets where the release has ended: its answers are used."""
        return [target.name for target in self.plan.targets if self.evidence.find("outcome", target.name)]

    def previews(self) -> dict[str, Answer]:
        """Return the receipt of its preview by target, where the plan asks for one.

        :raises EvidenceMissingError: One is not there, or shows something else than that the plan was confirmed.
        """
        found = {one.name: self.evidence.find("preview", one.name) for one in self.plan.targets if one.preview}
        if problems := {name: said for name, one in found.items() if (said := preview.problem(one, self.plan))}:
            said = "; ".join(f"of the preview's receipt at {name} {problem}" for name, problem in problems.items())
            raise EvidenceMissingError(
                f"Nobody can be asked about release {self.plan.release_id}: {said}. Clear the task 'preview'."
            )
        return {name: receipt for name, receipt in found.items() if receipt}

    def ending(self, at: datetime) -> gate.Ending | None:
        """Return how the gate has ended by itself *at* that time, None if it has not."""
        pairs = {one.model: self._pairs(one.model) for one in self.plan.models}
        own = {event for release_id, event in pairs[self.plan.model] if release_id == self.plan.release_id}
        # What is proposed meanwhile stops no rollback: it is no offer to serve anything else.
        others = () if self.plan.rollback else pairs.values()
        newer = (approval.superseding(self.plan.release_id, some) for some in others)
        return gate.ending(self.plan.gate, self.asked_at, at, own, next(filter(None, newer), None))

    def _pairs(self, model: str) -> list[tuple[str, str]]:
        return [(entry.release_id, entry.event) for entry in self.book(model).entries()]
