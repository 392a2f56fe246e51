"""Auditing: reading what is on record, with nothing but the right to read and the public key, and judging it.

    python -m modelberth.receipts FOLDER|URL [MODEL[/RELEASE] ...] --key PUBLIC_KEY

The rules are ``core.chain`` (does it hang together) and ``core.audit`` (does it say what it must).
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from modelberth.core import audit, bookkeeping
from modelberth.core.bookkeeping import Entry
from modelberth.core.chain import Chain, Problem, Receipt
from modelberth.core.digest import Digest
from modelberth.core.ledger import EVENTS
from modelberth.core.receipt import Name
from modelberth.core.release import RELEASE_ID
from modelberth.core.revision import MODEL_NAME
from modelberth.receipts.signing import EvidenceForgedError
from modelberth.receipts.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from modelberth.receipts.signing import PublicKey

_AT_ONCE = 16
_LEDGER = "ledger"
_REACH = ("step", "model", "release_id", "target", "attempt")


class Reader(Protocol):
    """What is below a receipts' prefix: an object store, or a folder that it was downloaded to."""

    def read(self, key: str) -> bytes | None:
        """Return what is at *key*, None if nothing is."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*, sorted."""
        ...


class Folder:
    """A folder that holds what a receipts' prefix holds."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes | None:
        """Return what is at *key*, None if nothing is."""
        path = self._root / key
        return path.read_bytes() if path.is_file() else None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*, sorted."""
        below = self._root / prefix.rpartition("/")[0]
        found = (path.relative_to(self._root).as_posix() for path in below.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix))


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found; *releases* counts those of which something is believed."""

    releases: int
    models: int
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        found = "no problem" if not self.problems else f"{len(self.problems)} problems"
        return f"{self.releases} releases of {self.models} models: {found}."


@dataclass(frozen=True, slots=True)
class Book:
    """What is believed of one model's ledger, by release and event; *problems* is about what is not."""

    entries: Mapping[str, Mapping[str, Entry]]
    problems: list[Problem]


class Auditor:
    """Reads and judges what *reader* gives, by *key*; what it has read it keeps."""

    def __init__(self, reader: Reader, key: PublicKey) -> None:
        self._reader, self._key = reader, key
        self._read_release = lru_cache(maxsize=None)(self._release)

    def models(self) -> list[str]:
        """Return the models of which something is on record."""
        parts = [key.split("/") for key in self._reader.keys("")]
        found = {one[1] if one[0] == _LEDGER else one[0] for one in parts if len(one) > 2}
        return sorted(model for model in found - {"inventory"} if MODEL_NAME.fullmatch(model))

    def audit(self, model: str, release_id: str | None, now: datetime) -> Report:
        """Return what is wrong with one release of *model*, or with all of them."""
        # Receipts before the ledger: whatever is seen of the former was told to the latter soon after.
        there = self._releases(model) if release_id is None else [release_id]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            chains = dict(zip(there, pool.map(lambda one: self._read_release(model, one), there), strict=True))
        book = self.book(model)
        if release_id is None:
            there = sorted({*there, *book.entries})
        found = list(book.problems) if release_id is None else []
        for one in there:
            chain, doubts = chains.get(one) or self._read_release(model, one)
            found += doubts
            found += audit.problems(chain, book.entries.get(one, {}), self.chain, now)
        if release_id is None:
            found += bookkeeping.rolled_back([self.chain(model, one) for one in there], book.entries)
        known = [one for one in there if one in book.entries or self.chain(model, one).receipts]
        return Report(len(known), 1, sorted(set(found)))

    def chain(self, model: str, release_id: str) -> Chain:
        """Return what is believed of one release."""
        return self._read_release(model, release_id)[0]

    def book(self, model: str) -> Book:
        """Return the ledger of *model*."""
        entries: dict[str, dict[str, Entry]] = defaultdict(dict)
        problems = []
        paths = self._reader.keys(f"{_LEDGER}/{model}/")
        for path, data in self._read(paths):
            try:
                release_id, entry = self._entry(model, path, data)
                entries[release_id][entry.event] = entry
            except EvidenceForgedError as error:
                problems.append(Problem(path, _said(error, path)))
        return Book(dict(entries), problems)

    def _releases(self, model: str) -> list[str]:
        keys = self._reader.keys(f"{model}/")
        return sorted({key.split("/")[1] for key in keys if RELEASE_ID.fullmatch(key.split("/")[1])})

    def _release(self, model: str, release_id: str) -> tuple[Chain, list[Problem]]:
        """Return the receipts of one release, and why others of its files are not believed."""
        receipts, doubtful, problems = {}, set(), []
        folder = f"{model}/{release_id}/"
        for path, data in self._read(self._reader.keys(folder)):
            try:
                name = Name.parse(path.removeprefix(folder))
            except ValueError:
                problems.append(Problem(path, "is no receipt: no step writes a file of that name"))
                continue
            try:
                receipts[name] = Receipt(name, str(Digest.of(data)), self._body(model, release_id, name, path, data))
            except EvidenceForgedError as error:
                doubtful.add(name)
                problems.append(Problem(path, _said(error, path)))
        return Chain(model, release_id, receipts, frozenset(doubtful)), problems

    def _body(self, model: str, release_id: str, name: Name, path: str, data: bytes) -> dict[str, Any]:
        body = self._key.unseal(data, path)
        wanted = dict(zip(_REACH, (name.step, model, release_id, name.target, name.attempt), strict=True))
        _refuse_copy(body, wanted)
        return body

    def _entry(self, model: str, path: str, data: bytes) -> tuple[str, Entry]:
        note = self._key.unseal(data, path)
        event, release_id = str(note.get("event")), str(note.get("release_id"))
        _refuse_copy(note, {"step": _LEDGER, "model": model})
        if path != f"{_LEDGER}/{model}/{release_id}-{event}.json" or event not in EVENTS:
            raise EvidenceForgedError(f"it is the entry {event!r} of release {release_id}: it was copied there")
        at = datetime.fromisoformat(str(note.get("at")))
        return release_id, Entry(event, at, note.get("source_version"), note.get("revision"))

    def _read(self, paths: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return what is at *paths*; what is gone by now is left out, and missed by what rests on it."""
        listed = list(paths)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = zip(listed, pool.map(self._fetch, listed), strict=True)
            return [(path, data) for path, data in found if data is not None]

    def _fetch(self, path: str) -> bytes | None:
        try:
            return self._reader.read(path)
        except StoreError:  # too large to be a receipt, or not ours to read: no evidence, and no reason to stop
            return b""


def _refuse_copy(body: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    different = [f"{key} {body.get(key)!r}" for key, value in wanted.items() if body.get(key) != value]
    if different:
        raise EvidenceForgedError(f"it says {', '.join(different)}: it was copied there")


def _said(error: EvidenceForgedError, path: str) -> str:
    """Return what *error* says as the predicate of a line about *path*."""
    return f"is not believed: {str(error).removeprefix(f'Receipt {path} ').rstrip('.')}"
