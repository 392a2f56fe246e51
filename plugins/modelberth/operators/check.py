"""Prove a snapshot once more, quickly, between the gate and the rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from modelberth.core import approval, plan
from modelberth.core.revision import Snapshot
from modelberth.operators.pod import CLAIM, ModelPodOperator
from modelberth.receipts import release_evidence
from modelberth.receipts.answers import approvals

if TYPE_CHECKING:
    from modelberth.catalog import Catalog, Service


class CheckModelOperator(ModelPodOperator):
    """
    Prove that the approved snapshot is still what verify read: a person may have taken days to answer.

    Files that look as verify left them (size, times, inode) are taken as such, others are read again. Without a plan,
    its approval and a verify of this very snapshot, nothing is checked and nothing goes on.
    """

    step = "check"

    def service_of(self, catalog: Catalog) -> Service:
        """Return the service of the target."""
        return catalog.target(self.model, self.target).service

    def basis(self) -> dict[str, Any]:
        """Return the receipt of the verify that the approved plan rests on."""
        planned = plan.parse(self.evidence.read("plan").get("plan"))
        if problems := approval.problems(approvals(self.evidence, planned), planned):
            raise AirflowFailException(
                f"The approval of release {self.release_id} does not hold: {'; '.join(problems)}."
            )
        target = planned.target(self.target)
        verified = release_evidence(self.config, planned.own.release_id).read("verify", target=target.service)
        snapshot = str(target.snapshot_of(self.model))
        if verified["snapshot"] != snapshot:
            raise AirflowFailException(
                f"Approved for target {self.target!r} is snapshot {snapshot}, but verify proved "
                f"{verified['snapshot']}. Start a new release."
            )
        if problem := approval.place_problem(approval.place(self.service), target):
            raise AirflowFailException(
                f"The catalog changed since the approval: target {self.target!r} is elsewhere, {problem}. "
                "Start a new release."
            )
        if problem := self.damage.problem(Snapshot.parse(snapshot)):
            raise AirflowFailException(problem)
        return verified

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth check``."""
        proven = ("--revision", basis["revision"], "--snapshot", basis["snapshot"], "--stats", basis["stats"])
        return ["check", CLAIM, *proven]
