"""The preview as a trigger: its pod is waited for without a worker, and deleted by whoever ends it."""

from __future__ import annotations

from modelberth.kubernetes.preview import Preview
from modelberth.triggers.stepping import SteppingTrigger, Steps


class PreviewTrigger(SteppingTrigger):
    """Try one target of a release that nobody was asked about yet: see ``modelberth.core.preview``."""

    def steps(self) -> Steps:
        """Return the preview; killed, it deletes its pod."""
        receipts = (self.receipts_url, self.receipts_connection)
        return Preview(model=self.model, release_id=self.release_id, target=self.target, receipts=receipts)
