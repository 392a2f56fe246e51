"""Re-read every byte of a snapshot."""

from __future__ import annotations

from typing import Any

from kubernetes.client import models as k8s

from modelberth.operators.pod import CLAIM, ModelPodOperator


class VerifyModelOperator(ModelPodOperator):
    """
    Prove a snapshot by reading it again, in a fresh pod that cannot write, if it can be on another node than sync.

    What it finds damaged is put on record, so that the next sync stages a fresh copy beside it.
    """

    step = "verify"

    def basis(self) -> dict[str, Any]:
        """Return the receipt of the sync to this target."""
        return self.evidence.read("sync", target=self.target)

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth verify``."""
        return ["verify", CLAIM, "--revision", basis["revision"], "--snapshot", basis["snapshot"]]

    def specify(self, basis: dict[str, Any]) -> None:
        """Fill in the pod, and where it would rather not run."""
        super().specify(basis)
        self.affinity = _rather_not_on(basis["node"])


def _rather_not_on(node: str) -> k8s.V1Affinity:
    """Prefer any other node: what one node's cache holds is no proof of what the claim does."""
    other = k8s.V1NodeSelectorRequirement(key="metadata.name", operator="NotIn", values=[node])
    term = k8s.V1PreferredSchedulingTerm(weight=1, preference=k8s.V1NodeSelectorTerm(match_fields=[other]))
    return k8s.V1Affinity(node_affinity=k8s.V1NodeAffinity(preferred_during_scheduling_ignored_during_execution=[term]))
