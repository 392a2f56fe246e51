"""Re-read every byte of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from kubernetes.client import models as k8s

from modelberth.core.content import asked, judge
from modelberth.operators.pod import CLAIM, ModelPodOperator

if TYPE_CHECKING:
    from modelberth.core.digest import Digest


class VerifyModelOperator(ModelPodOperator):
    """
    Prove a snapshot by reading it again, in a fresh pod that cannot write, if it can be on another node than sync.

    What it finds damaged is put on record, so that the next sync stages a fresh copy beside it. The content is looked
    at in the same pod: what the model's file requires, and is not so, ends the release here.
    """

    step = "verify"

    def basis(self) -> dict[str, Any]:
        """Return the receipt of the sync to this target."""
        return self.evidence.read("sync", target=self.target)

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth verify``."""
        checks = [word for check in asked(self.policies) for word in ("--content", check)]
        return ["verify", CLAIM, "--revision", basis["revision"], "--snapshot", basis["snapshot"], *checks]

    def write(self, result: dict[str, Any]) -> Digest:
        """Keep the result, if the content is what the model's file requires.

        :raises AirflowFailException: It is not; nothing is proven then.
        """
        if refused := judge(self.policies, result.get("content")).refused:
            raise AirflowFailException(
                f"Model {self.model!r} is not released: {'; '.join(refused)}; its file requires that there is none. "
                + " ".join(result.get("findings", ()))
                + " Put the model right at its source, or change 'content' in its file; then start a new release."
            )
        return super().write(result)

    @property
    def policies(self) -> dict[str, str]:
        """What the model's file says about its content."""
        return self.config.content.model_dump()

    def specify(self, basis: dict[str, Any]) -> None:
        """Fill in the pod, and where it would rather not run."""
        super().specify(basis)
        self.affinity = _rather_not_on(basis["node"])


def _rather_not_on(node: str) -> k8s.V1Affinity:
    """Prefer any other node: what one node's cache holds is no proof of what the claim does."""
    other = k8s.V1NodeSelectorRequirement(key="metadata.name", operator="NotIn", values=[node])
    term = k8s.V1PreferredSchedulingTerm(weight=1, preference=k8s.V1NodeSelectorTerm(match_fields=[other]))
    return k8s.V1Affinity(node_affinity=k8s.V1NodeAffinity(preferred_during_scheduling_ignored_during_execution=[term]))
