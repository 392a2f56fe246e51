"""The rollout as a trigger: patch, wait, confirm, put back, all in one place that no worker's death interrupts."""

from __future__ import annotations

from modelberth.kubernetes.rollout import Rollout
from modelberth.triggers.freeze import frozen
from modelberth.triggers.stepping import SteppingTrigger, Steps


class RolloutTrigger(SteppingTrigger):
    """Bring one target of an approved release into service, or back: see ``modelberth.core.rollout``."""

    def steps(self) -> Steps:
        """Return the rollout; killed, it puts back."""
        receipts = (self.receipts_url, self.receipts_connection)
        names = {"model": self.model, "release_id": self.release_id, "target": self.target}
        return Rollout(**names, receipts=receipts, frozen=frozen)
