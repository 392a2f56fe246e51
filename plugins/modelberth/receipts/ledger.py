"""The ledger of one model: what became of its releases, one signed create-only file an event.

    <receipts prefix>/ledger/<model>/<release_id>-<event>.json

Its order is that of time; nothing is ever changed or taken away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelberth.core.ledger import EVENTS
from modelberth.receipts.evidence import now
from modelberth.receipts.signing import EvidenceForgedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

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


FOLDER = "ledger/"

_NAME = re.compile(rf"(.+?)-({'|'.join(EVENTS)})\.json")


@dataclass(frozen=True, slots=True)
class Recent:
    """The end of a ledger: what is needed to decide about the next release.

    :param entries: Of the releases since, and including, the newest that went live. Of that one, unless it was rolled
        back, only that it did.
    :param earlier: How many proposals there were before them.
    """

    entries: list[LedgerEntry]
    earlier: int


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
        return self._read(self.paths())

    def paths(self) -> list[str]:
        """Return where the entries are, all of them, which takes a request for each thousand."""
        return self._store.keys(f"{FOLDER}{self.model}/")

    def recent(self, paths: Sequence[str]) -> Recent:
        """Return the end of the ledger, verified; of a long one most is not read.

        :param paths: Where its entries are, as ``paths`` returns it.
        :raises EvidenceForgedError: One of those that are read is not ours; then nothing is known for sure.
        """
        releases = _by_release(paths)
        wanted: list[str] = []
        for number, name in enumerate(newest := sorted(releases, reverse=True)):
            events = releases[name]
            wanted += [events["live"]] if _is_live(events) else events.values()
            if "live" in events and "rollback" not in events:
                older = newest[number + 1 :]
                return Recent(self._read(wanted), sum(_is_proposal(releases[one]) for one in older))
        return Recent(self._read(wanted), 0)

    def _read(self, paths: Iterable[str]) -> list[LedgerEntry]:
        found = [self._entry(path) for path in paths]
        return sorted(found, key=lambda entry: (entry.at, entry.release_id, EVENTS.index(entry.event)))

    def events(self, release_id: str) -> set[str]:
        """Return the events of one release."""
        paths = self._store.keys(f"{FOLDER}{self.model}/{release_id}-")
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
        return f"{FOLDER}{self.model}/{release_id}-{event}.json"


def by_model(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the *paths* of many ledgers by model."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(path.removeprefix(FOLDER).partition("/")[0], []).append(path)
    return found


def _by_release(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the path of each event by release; what is not named like an entry is read, and refused then."""
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        match = _NAME.fullmatch(name)
        release, event = match.groups() if match else (name, "")
        found.setdefault(release, {})[event] = path
    return found


def _is_live(events: Collection[str]) -> bool:
    return "live" in events and not {"rollback", "rolled-back"}.intersection(events)


def _is_proposal(events: Collection[str]) -> bool:
    return "rollback" not in events and set(events) != {"observed"}
