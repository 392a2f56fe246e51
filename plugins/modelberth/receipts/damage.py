"""What was found damaged on a claim: a snapshot is never changed, so the next sync stages a fresh copy beside it.

    <receipts prefix>/inventory/<connection>/<namespace>/<claim>/damaged/<model>/<64 hex>.<n>.json

Signed and create-only like all evidence; the first finding stands. Claims of two clusters may have the same
name, so the connection is part of the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelberth.core.revision import Revision, Snapshot
from modelberth.receipts.evidence import now
from modelberth.receipts.signing import EvidenceForgedError, signing_key
from modelberth.receipts.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.receipts import ModelConfig
    from modelberth.receipts.signing import SigningKey
    from modelberth.receipts.store import ObjectStore


class OnClaim(Protocol):
    """Whatever is on a claim: a service of the catalog, a target of a plan."""

    @property
    def connection(self) -> str:
        """The Airflow connection that leads to the cluster."""
        ...

    @property
    def namespace(self) -> str:
        """The claim's namespace."""
        ...

    @property
    def claim(self) -> str:
        """The claim's name."""
        ...


class DamageRecord:
    """The damaged snapshots of one model on one claim.

    :param where: A service or target on that claim.
    """

    def __init__(self, store: ObjectStore, key: SigningKey, model: str, where: OnClaim) -> None:
        self._store, self._key, self.model, self.where = store, key, model, where

    def add(self, snapshot: Snapshot, found_by: str, problems: Sequence[str]) -> None:
        """Note that *snapshot* is damaged.

        :param found_by: The step and release that found it.
        """
        note = {**self._about(str(snapshot)), "at": now(), "found_by": found_by, "problems": list(problems)}
        self._store.create(self._path(str(snapshot)), self._key.seal(note))

    def of(self, revision: Revision) -> list[Snapshot]:
        """Return the damaged snapshots of *revision*, the oldest first.

        :raises EvidenceForgedError: A note is not ours, or about something else than its key says.
        """
        paths = self._store.keys(self._path(f"{revision.digest.hex}.", end=""))
        return sorted(self._read(path) for path in paths)

    def problem(self, snapshot: Snapshot) -> str | None:
        """Return why *snapshot* may not go live, as whole sentences; None if nobody found it damaged."""
        path = self._path(str(snapshot))
        data = self._store.read(path)
        if data is None:
            return None
        self._read(path)
        found_by = self._key.unseal(data, path).get("found_by")
        return (
            f"Snapshot {snapshot} on claim {self.where.namespace}/{self.where.claim} is on record as damaged "
            f"(found by {found_by}). Start a new release: it stages a fresh copy beside it."
        )

    def _read(self, path: str) -> Snapshot:
        note = self._key.unseal(self._store.read(path) or b"", path)
        name = str(note.get("snapshot"))
        if path != self._path(name) or any(note.get(key) != value for key, value in self._about(name).items()):
            raise EvidenceForgedError(f"Damage record {path} is about something else: it was copied there.")
        return Snapshot.parse(name)

    def _about(self, snapshot: str) -> dict[str, str]:
        about = {"step": "damage", "model": self.model, "snapshot": snapshot}
        place = {"connection": self.where.connection, "namespace": self.where.namespace, "claim": self.where.claim}
        return {**about, **place}

    def _path(self, snapshot: str, end: str = ".json") -> str:
        claim = f"{self.where.connection}/{self.where.namespace}/{self.where.claim}"
        return f"inventory/{claim}/damaged/{self.model}/{snapshot}{end}"


def damage_record(model: ModelConfig, where: OnClaim) -> DamageRecord:
    """Return what was found damaged of *model* on the claim of *where*."""
    store = open_store(model.receipts.url, model.receipts.connection)
    return DamageRecord(store, signing_key(), model.name, where)
