"""The ledger of one model: what became of its releases, one signed create-only file an event.

    <receipts prefix>/ledger/<model>/<release_id>-<event>.json

Its order is that of time; nothing is ever changed or taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelberth.core.ledger import EVENTS
from modelberth.receipts.evidence import now
from modelberth.receipts.signing import EvidenceForgedError

if TYPE_CHECKING:
    from modelberth.receipts.signing import SigningKey
    from modelberth.receipts.store import ObjectStore


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One event of one release."""

    event: str
    release_id: str
    source_version: str | None
    revision: str | None
    at: datetime
    reason: str | None = None


class Ledger:
    """The events of one model's releases."""

    def __init__(self, store: ObjectStore, key: SigningKey, model: str) -> None:
        self._store, self._key, self.model = store, key, model

    def record(self, event: str, release_id: str, **body: Any) -> None:
        """Note *event* of *release_id*; the first note of an event stands.

        :param body: ``source_version``, ``revision`` and ``reason``, where they are known.
        """
        if event not in EVENTS:
            raise ValueError(f"The ledger knows no event {event!r}; it knows {', '.join(EVENTS)}.")
        note = {"step": "ledger", "model": self.model, "release_id": release_id, "event": event, "at": now(), **body}
        self._store.create(self._path(release_id, event), self._key.seal(note))

    def entries(self) -> list[LedgerEntry]:
        """Return all events, verified, the oldest first.

        :raises EvidenceForgedError: One of them is not ours; then nothing is known for sure.
        """
        found = [self._entry(path) for path in self._store.keys(f"ledger/{self.model}/")]
        return sorted(found, key=lambda entry: (entry.at, entry.release_id, EVENTS.index(entry.event)))

    def events(self, release_id: str) -> set[str]:
        """Return the events of one release."""
        paths = self._store.keys(f"ledger/{self.model}/{release_id}-")
        return {self._entry(path).event for path in paths}

    def _entry(self, path: str) -> LedgerEntry:
        data = self._store.read(path)
        if data is None:
            raise EvidenceForgedError(f"Ledger entry {path} was there and is not any more; entries are never removed.")
        note = self._key.unseal(data, path)
        if (
            note["step"] != "ledger"
            or note["model"] != self.model
            or path != self._path(note["release_id"], note["event"])
        ):
            raise EvidenceForgedError(f"Ledger entry {path} is about something else: it was copied there.")
        return LedgerEntry(
            note["event"],
            note["release_id"],
            note.get("source_version"),
            note.get("revision"),
            datetime.fromisoformat(note["at"]),
            note.get("reason"),
        )

    def _path(self, release_id: str, event: str) -> str:
        return f"ledger/{self.model}/{release_id}-{event}.json"
