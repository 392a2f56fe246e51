"""Prove a snapshot once more, quickly, between the gate and the rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from modelberth.core import approval, plan
from modelberth.core.revision import Snapshot
from modelberth.operators.pod import CLAIM, ModelPodOperator
from modelberth.receipts import release_evidence
from modelberth.receipts.answers import approvals
from modelberth.receipts.damage import damage_record
from modelberth.receipts.proof import turn_problems

if TYPE_CHECKING:
    from modelberth.catalog import Catalog, Service
    from modelberth.core.plan import Released, Target


class CheckModelOperator(ModelPodOperator):
    """
    Prove that the approved snapshots are still what verify read: a person may have taken days to answer.

    Files that look as verify left them (size, times, inode) are taken as such, others are read again. Without a plan,
    its approval and a verify of each of these very snapshots, nothing is checked and nothing goes on.
    """

    step = "check"
    writes_claim = True
    """Only to lift the mark of a snapshot that a prune has condemned: what is about to be served must not go."""

    def service_of(self, catalog: Catalog) -> Service:
        """Return the service of the target."""
        return catalog.target(self.model, self.target).service

    def basis(self) -> dict[str, Any]:
        """Return the receipt of the verify that the approved plan rests on; ``also`` are those of the other models."""
        planned = plan.parse(self.evidence.read("plan").get("plan"))
        if problems := approval.problems(approvals(self.evidence, planned), planned):
            raise AirflowFailException(
                f"The approval of release {self.release_id} does not hold: {'; '.join(problems)}."
            )
        target = planned.target(self.target)
        if problems := turn_problems(self.evidence, planned, self.target):
            raise AirflowFailException(
                f"It is not the turn of target {self.target!r} of release {self.release_id}: {'; '.join(problems)}. "
                "Bring those into service first; after a put-back, start a new release."
            )
        if problem := approval.place_problem(approval.place(self.service), target):
            raise AirflowFailException(
                f"The catalog changed since the approval: target {self.target!r} is elsewhere, {problem}. "
                "Start a new release."
            )
        own, *others = (self._verified(one, target) for one in planned.models if target.bindings_of(one.model))
        return {**own, "also": others}

    def _verified(self, released: Released, target: Target) -> dict[str, Any]:
        """Return the receipt of the verify of the snapshot that is to be served of one model."""
        model = self.catalog.model(released.model)
        verified = release_evidence(model, released.release_id).read("verify", target=target.service)
        snapshot = target.snapshot_of(released.model)
        if verified["snapshot"] != str(snapshot):
            raise AirflowFailException(
                f"Approved for target {self.target!r} is snapshot {snapshot}, but verify proved "
                f"{verified['snapshot']}. Start a new release."
            )
        if problem := damage_record(model, self.service).problem(snapshot):
            raise AirflowFailException(problem)
        return verified

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth check``."""
        proven = ("--revision", basis["revision"], "--snapshot", basis["snapshot"], "--stats", basis["stats"])
        also = (f"{one['revision']}.{Snapshot.parse(one['snapshot']).copy}={one['stats']}" for one in basis["also"])
        return ["check", CLAIM, *proven, *(part for text in also for part in ("--also", text))]

    def damaged(self, basis: dict[str, Any], report: dict[str, Any]) -> tuple[str, Snapshot]:
        """Return the model and the snapshot that *report* says are damaged, of those that were to be proven."""
        for one in basis["also"]:
            if (report.get("revision"), report.get("snapshot")) == (one["revision"], one["snapshot"]):
                return one["model"], Snapshot.parse(one["snapshot"])
        return super().damaged(basis, report)
