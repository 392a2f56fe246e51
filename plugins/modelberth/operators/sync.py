"""Stage the uploaded revision on a claim."""

from __future__ import annotations

from typing import Any

from modelberth.core.revision import Revision
from modelberth.operators.pod import CLAIM, ModelPodOperator


class SyncModelOperator(ModelPodOperator):
    """
    Bring the revision that was uploaded onto a service's claim, as a snapshot that nothing serves yet.

    What is there already is kept; a snapshot that a verify found damaged is followed by a fresh copy.
    """

    step = "sync"
    writes_claim = True
    reads_bucket = True

    def basis(self) -> dict[str, Any]:
        """Return the receipt of the upload."""
        return self.evidence.read("upload")

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth sync``."""
        damaged = self.damage.of(Revision.parse(basis["revision"]))
        return [
            *("sync", self.config.bucket.url, CLAIM, "--revision", basis["revision"]),
            *(part for snapshot in damaged for part in ("--damaged", str(snapshot))),
        ]

    def expected(self, basis: dict[str, Any]) -> dict[str, str]:
        """Return the revision: which snapshot holds it is for the program to say."""
        return {"revision": basis["revision"]}
