"""What one rollout may rely on: its plan, proven to be approved, and its own records."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core import approval
from modelberth.core.observed import Decision
from modelberth.core.plan import Plan, Target, parse
from modelberth.core.receipt import Name
from modelberth.receipts import evidence_at, ledger_at, open_store
from modelberth.receipts.answers import approvals, digests
from modelberth.receipts.damage import DamageRecord
from modelberth.receipts.evidence import EvidenceMissingError
from modelberth.receipts.holding import targets_at
from modelberth.receipts.signing import EvidenceForgedError, signing_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.core.digest import Digest
    from modelberth.core.plan import Released
    from modelberth.receipts.evidence import Evidence

Record = dict[str, Any]


class RolloutRefusedError(Exception):
    """The evidence does not allow this rollout."""


def turn_problems(evidence: Evidence, plan: Plan, target: str) -> list[str]:
    """Return why it is not the turn of *target*, by the outcomes on record of what comes before it."""
    outcomes = {name: evidence.find("outcome", name) for name in plan.before(target)}
    return approval.turn_problems(outcomes, target, plan)


class Proof:
    """The evidence of one target of one release.

    :param name: The target's, as in the plan.
    :param receipts: URL and connection of the receipts, so that no catalog is needed half-way.
    """

    def __init__(self, model: str, release_id: str, name: str, receipts: tuple[str, str]) -> None:
        self.model, self.release_id, self.name = model, release_id, name
        self._receipts = receipts
        self._records: dict[str, Record] = {}
        self._ended_holders: set[str] = set()
        self.doubt: str | None = None
        """Why the approval cannot be proven any more, after the rollout has started by it."""

    @cached_property
    def evidence(self) -> Evidence:
        """The receipts of the release."""
        return evidence_at(*self._receipts, self.model, self.release_id)

    @cached_property
    def plan(self) -> Plan:
        """The plan that was approved, proven anew in every process.

        An approval that cannot be proven any more after the rollout has started is a reason to put back, which needs
        only the plan; before, nothing happens.

        :raises RolloutRefusedError: There is no valid approval of this plan, and nothing was started.
        """
        receipt = self.evidence.read("plan")
        plan = parse(receipt["plan"])
        if problems := self._problems(plan, receipt.get("plan_digest")):
            reason = f"Release {self.release_id} of {self.model} is not approved: {'; '.join(problems)}"
            started = self.record("started")
            if started is None or started["plan_digest"] != str(plan.digest):
                raise RolloutRefusedError(f"{reason}. Start a new release.")
            self.doubt = reason
        return plan

    def _problems(self, plan: Plan, digest: object) -> list[str]:
        try:
            problems = approval.problems(approvals(self.evidence, plan), plan)
        except (EvidenceMissingError, EvidenceForgedError) as error:
            problems = [str(error)]
        if digest != str(plan.digest):
            problems.append(f"the plan's receipt says digest {digest}, its plan has {plan.digest}")
        if (plan.model, plan.release_id) != (self.model, self.release_id):
            problems.append(f"the plan is of release {plan.release_id} of {plan.model}")
        return problems

    @cached_property
    def target(self) -> Target:
        """The target as the plan has it."""
        return self.plan.target(self.name)

    def require_unchanged(self) -> None:
        """Refuse what came between the answer and the first change.

        :raises RolloutRefusedError: What comes before is not live, the claim was not checked after the answer and
            within the hour, a snapshot was found damaged meanwhile, a newer release was proposed, or another release
            has taken this one along.
        """
        check, target = self.evidence.read("check", self.name), self.target
        given = digests(self.evidence, self.plan)
        problems = turn_problems(self.evidence, self.plan, self.name)
        problems += approval.check_problems(check, target, self.plan, given, datetime.now(UTC))
        for one in target.served:
            damage = DamageRecord(open_store(*self._receipts), signing_key(), one.model, target)
            if damaged := damage.problem(one.snapshot):
                problems.append(damaged.rstrip("."))
        if not self.plan.rollback:
            problems += [problem for one in self.plan.models if (problem := self._overtaken(one))]
        if problems:
            raise RolloutRefusedError(f"{self.target} was not changed: {'; '.join(problems)}.")

    def _overtaken(self, released: Released) -> str | None:
        """Return what came between for the release of one model, None if nothing did."""
        entries = ledger_at(*self._receipts, released.model).entries()
        pairs = [(entry.release_id, entry.event) for entry in entries]
        events = {event for release_id, event in pairs if release_id == released.release_id}
        return approval.overtaken(released, events, approval.superseding(released.release_id, pairs), self.model)

    def record(self, step: str) -> Record | None:
        """Return a record of this target, None if there is none; once it exists it never changes."""
        if step not in self._records:
            found = self.evidence.find(step, self.name)
            if found is None:
                return None
            self._records[step] = found
        return self._records[step]

    def kept(self) -> Digest | None:
        """Return the digest of the decision to keep the change, None if it is not kept."""
        decided = self.record("decided")
        kept = decided is not None and decided["decision"] == Decision.KEEP
        return self.evidence.digest("decided", self.name) if kept else None

    def start(self, body: Record) -> None:
        """Write that this target may be changed: it rests on the outcomes of what comes before it."""
        before = {
            Name("outcome", name).stem: self.evidence.digest("outcome", name) for name in self.plan.before(self.name)
        }
        self.evidence.write("started", body, target=self.name, rests_on=before)

    def write(self, step: str, body: Record) -> None:
        """Write a record of this target."""
        self.evidence.write(step, body, target=self.name)

    def has_ended(self, holder: str, models: Iterable[str]) -> bool:
        """Return whether release *holder*, of one of *models*, has ended at this workload, whatever it calls it."""
        if holder not in self._ended_holders:
            uid, receipts = self.target.workload.uid, self._receipts
            others = [evidence_at(*receipts, model, holder) for model in {*models, self.model}]
            if any(one.find("outcome", name) for one in others for name in (self.name, *targets_at(one, uid))):
                self._ended_holders.add(holder)
        return holder in self._ended_holders
