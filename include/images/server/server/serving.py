"""What this process serves now, or why it does not."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from server.model import SentenceEncoder
from server.snapshot import NotServableError, Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory and the snapshot it came from."""

    snapshot: Snapshot
    encoder: SentenceEncoder


class Serving:
    """One model, loaded once: a process never serves a second, so that its pod is what was rolled out.

    | loaded | draining | ready               | answers |
    |--------|----------|---------------------|---------|
    | no     | any      | no: why not loaded  | no      |
    | yes    | no       | yes                 | yes     |
    | yes    | yes      | no: shutting down   | yes     |
    """

    def __init__(self) -> None:
        self.draining = False
        self._loaded: Loaded | None = None
        self._reason = "The model is being loaded."

    @property
    def unready(self) -> str | None:
        """Why no new request should come here; None when it may."""
        if self._loaded is None:
            return self._reason
        return "The server is shutting down." if self.draining else None

    @property
    def loaded(self) -> Loaded:
        """The model in memory.

        :raises NotServableError: There is none; the text says why.
        """
        if self._loaded is None:
            raise NotServableError(self._reason)
        return self._loaded

    def load(self, model_path: str) -> None:
        """Load the snapshot that *model_path* names; a failure is kept as the reason, for the probe to report.

        A failure neither ends the process nor is tried again: a snapshot never changes, and a pod that is up can tell.
        """
        started = time.monotonic()
        try:
            self._loaded = _load(Snapshot.parse(model_path))
        except NotServableError as error:
            self._reason = str(error)
        except Exception as error:
            # A broken model fails in as many ways as there are libraries that read it.
            log.exception("Model '%s': not loaded", model_path)
            self._reason = f"The model in '{model_path}' cannot be loaded: {type(error).__name__}: {error}"
        if self._loaded is None:
            log.error("Not ready: %s", self._reason)
        else:
            log.info("Revision %s: loaded in %.1f s", self._loaded.snapshot.revision, time.monotonic() - started)


def _load(snapshot: Snapshot) -> Loaded:
    snapshot.verify()
    encoder = SentenceEncoder(snapshot.path)
    encoder.embed("ready")  # weights that do not fit each other fail here, not in the first request
    return Loaded(snapshot, encoder)
