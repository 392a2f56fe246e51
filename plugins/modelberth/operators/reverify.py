"""Re-read a snapshot that is served, long after its release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core.revision import Revision, Snapshot
from modelberth.operators.pod import CLAIM, ModelPodOperator
from modelberth.receipts.verified import verified_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.digest import Digest


class ReverifyModelOperator(ModelPodOperator):
    """
    Prove a snapshot by reading every byte of it, and put on record when it was found whole.

    What it finds damaged is put on record too, so that no rollout brings it and the next sync stages a fresh copy.

    :param model: The model, as in the catalog.
    :param target: The service on whose claim it is.
    :param snapshot: Which one, as ``<64 hex>.<n>``. (templated)
    :param rate: Bytes a second at most, as ``100MiB``: those who are served read from the same disks.
    """

    template_fields: Sequence[str] = (*ModelPodOperator.template_fields, "snapshot")
    step = "verify"

    def __init__(self, *, snapshot: str = "", rate: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.snapshot = snapshot
        self.rate = rate

    def basis(self) -> dict[str, Any]:
        """Return which snapshot, and of which revision."""
        snapshot = Snapshot.parse(self.snapshot)
        return {"revision": str(Revision(self.model, snapshot.digest)), "snapshot": str(snapshot)}

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth verify``."""
        limit = ("--bandwidth-limit", self.rate) if self.rate else ()
        return ["verify", CLAIM, "--revision", basis["revision"], "--snapshot", basis["snapshot"], *limit]

    def write(self, result: dict[str, Any]) -> Digest:
        """Put on record that it is whole, beside what is on record of the claim: it is no step of a release."""
        return verified_record(self.config, self.service).add(Snapshot.parse(result["snapshot"]), result)
