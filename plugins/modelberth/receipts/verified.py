"""When the snapshots on a claim were read again after their release, and found whole.

    <receipts prefix>/inventory/<connection>/<namespace>/<claim>/verified/<model>/<64 hex>.<n>/<time>.json

Signed and create-only like all evidence. What a release's own verify found is that release's receipt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelberth.core.approval import place
from modelberth.core.digest import Digest
from modelberth.receipts.signing import EvidenceForgedError, signing_key
from modelberth.receipts.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.core.revision import Snapshot
    from modelberth.receipts import ModelConfig
    from modelberth.receipts.damage import OnClaim
    from modelberth.receipts.signing import SigningKey
    from modelberth.receipts.store import ObjectStore

_TIME = "%Y%m%dt%H%M%Sz"


class VerifiedRecord:
    """The later verifications of one model's snapshots on one claim.

    :param where: A service or target on that claim.
    """

    def __init__(self, store: ObjectStore, key: SigningKey, model: str, where: OnClaim) -> None:
        self._store, self._key, self._model, self._where = store, key, model, where

    def add(self, snapshot: Snapshot, result: Mapping[str, Any]) -> Digest:
        """Note that *snapshot* was found whole just now, as *result* of the verify says; return the note's digest."""
        at = datetime.now(UTC).strftime(_TIME)
        data = self._key.seal({**result, **self._about(snapshot, at)})
        self._store.create(self._path(snapshot, at), data)
        return Digest.of(data)

    def last(self, snapshot: Snapshot) -> datetime | None:
        """Return when *snapshot* was last found whole, None if it never was since its release.

        :raises EvidenceForgedError: The newest note is not ours, or about something else than its key says.
        """
        folder = self._path(snapshot, "").removesuffix(".json")
        paths = self._store.keys(folder)
        if not paths:
            return None
        note = self._key.unseal(self._store.read(paths[-1]) or b"", paths[-1])
        at = paths[-1].removeprefix(folder).removesuffix(".json")
        if any(note.get(key) != value for key, value in self._about(snapshot, at).items()):
            raise EvidenceForgedError(f"Verification record {paths[-1]} is about something else: it was copied there.")
        return datetime.strptime(at, _TIME).replace(tzinfo=UTC)

    def _about(self, snapshot: Snapshot, at: str) -> dict[str, str]:
        about = {"step": "verified", "model": self._model, "snapshot": str(snapshot), "at": at}
        return {**about, **place(self._where)}

    def _path(self, snapshot: Snapshot, at: str) -> str:
        claim = f"{self._where.connection}/{self._where.namespace}/{self._where.claim}"
        return f"inventory/{claim}/verified/{self._model}/{snapshot}/{at}.json"


def verified_record(model: ModelConfig, where: OnClaim) -> VerifiedRecord:
    """Return what was read again of *model* on the claim of *where*."""
    store = open_store(model.receipts.url, model.receipts.connection)
    return VerifiedRecord(store, signing_key(), model.name, where)
