"""The receipts of one release: one signed file a step, create-only, each naming by digest what it rests on.

    {"receipt": {"schema": 1, "step": "verify", "model": "minilm", "release_id": "20260102t030405z-9f86d08188",
                 "target": "embedder", "attempt": 1, "at": "2026-01-02T03:05:06Z",
                 "previous": {"03-sync-embedder": "sha256:..."}, ...what the step has to say...},
     "signature": {...}}

A receipt's digest is the SHA-256 of its file. A step that runs again with the same result keeps its receipt; with
another one it writes the next attempt, and the newest counts. Steps that bind (``SINGLE``) happen once a release.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelberth.core.digest import Digest
from modelberth.core.receipt import ENVELOPE, RESTS_ON, SINGLE, WHOLE, Name
from modelberth.receipts.signing import EvidenceForgedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.receipts.signing import Body, SigningKey
    from modelberth.receipts.store import ObjectStore

_VOLATILE = frozenset({"seconds"})
"""What differs between two runs that found the same."""

_RACES = 5


class EvidenceMissingError(LookupError):
    """A step has left no receipt."""


class EvidenceConflictError(Exception):
    """A step that binds was already taken in this release, with another content."""


class Evidence:
    """What one release can show."""

    def __init__(self, store: ObjectStore, key: SigningKey, model: str, release_id: str) -> None:
        self._store, self._key = store, key
        self.model, self.release_id = model, release_id

    def write(
        self, step: str, body: Body, target: str | None = None, rests_on: Mapping[str, Digest] | None = None
    ) -> Digest:
        """Sign *body* as the receipt of *step* and return its digest; what is known already is not written again.

        :param rests_on: Others that it rests on as well: of other targets by their stems, of other releases by
            ``core.receipt.elsewhere``.
        :raises EvidenceConflictError: *step* is one of ``SINGLE`` and its receipt says something else.
        :raises EvidenceForgedError: A receipt that this one follows is not ours.
        """
        if odd := ENVELOPE & body.keys():
            raise ValueError(f"The body of receipt {step!r} may not set {', '.join(sorted(odd))}.")
        for _ in range(_RACES):
            newest = self._newest()
            previous = self._previous(step, target, newest)
            previous |= {place: str(digest) for place, digest in (rests_on or {}).items()}
            attempt = newest.get((step, target), 0)
            if attempt:
                known, digest = self._load(step, target, attempt)
                if _same(step, known, body, previous):
                    return digest
                if step in SINGLE:
                    raise EvidenceConflictError(
                        f"Receipt {Name(step, target).stem} of release {self.release_id} exists and says something "
                        "else; this step is taken once a release: start a new release."
                    )
            about = {**self._about(step, target, attempt + 1), "at": now(), "previous": previous}
            data = self._key.seal({**about, **body})
            if self._store.create(self._path(step, target, attempt + 1), data):
                return Digest.of(data)
        raise EvidenceConflictError(f"Receipt {Name(step, target).stem} is being written by others all the time.")

    def read(self, step: str, target: str | None = None) -> Body:
        """Return the newest receipt of *step*, verified.

        :raises EvidenceMissingError: There is none.
        :raises EvidenceForgedError: It is not ours, or not about this step of this release.
        """
        return self._read(step, target)[0]

    def find(self, step: str, target: str | None = None) -> Body | None:
        """Return the newest receipt of *step*, verified, or None."""
        try:
            return self.read(step, target)
        except EvidenceMissingError:
            return None

    def digest(self, step: str, target: str | None = None) -> Digest:
        """Return the digest of the newest receipt of *step*.

        :raises EvidenceMissingError: There is none.
        """
        return self._read(step, target)[1]

    def by_digest(self, step: str) -> dict[str, Body]:
        """Return the newest receipts of *step*, of whatever target, verified, by their digests."""
        found = (self._load(*at, attempt) for at, attempt in self._newest().items() if at[0] == step)
        return {str(digest): body for body, digest in found}

    def all(self) -> dict[str, Body]:
        """Return the newest receipt of every step, verified, by its name, such as ``04-verify-embedder``."""
        names = [Name(step, target, attempt) for (step, target), attempt in self._newest().items()]
        return {name.stem: self._load(name.step, name.target, name.attempt)[0] for name in sorted(names, key=str)}

    def _newest(self) -> dict[tuple[str, str | None], int]:
        """Return the newest attempt by step and target; what has another name is not a receipt."""
        newest: dict[tuple[str, str | None], int] = {}
        folder = f"{self.model}/{self.release_id}/"
        for key in self._store.keys(folder):
            with suppress(ValueError):
                name = Name.parse(key.removeprefix(folder))
                at = (name.step, name.target)
                newest[at] = max(newest.get(at, 0), name.attempt)
        return newest

    def _previous(self, step: str, target: str | None, newest: dict[tuple[str, str | None], int]) -> dict[str, str]:
        """Return the digests of what *step* rests on: of its own target, or of all where it has none itself.

        What is about all targets counts for each; so does every answer of the gate.
        """
        return {
            Name(*at).stem: str(self._load(*at, attempt)[1])
            for at, attempt in newest.items()
            if at[0] in RESTS_ON[step] and (at[0] in WHOLE or target in (None, at[1]))
        }

    def _read(self, step: str, target: str | None) -> tuple[Body, Digest]:
        attempt = 1 if step in SINGLE else self._newest().get((step, target), 1)
        return self._load(step, target, attempt)

    def _load(self, step: str, target: str | None, attempt: int) -> tuple[Body, Digest]:
        path = self._path(step, target, attempt)
        data = self._store.read(path)
        if data is None:
            raise EvidenceMissingError(
                f"Release {self.release_id} of {self.model} has no receipt {Name(step, target).stem}: that step has "
                "not run or has not succeeded. A task's state or XCom is no evidence: run the step."
            )
        body = self._key.unseal(data, path)
        for key, expected in self._about(step, target, attempt).items():
            if body.get(key) != expected:
                raise EvidenceForgedError(
                    f"Receipt {path} says {key} {body.get(key)!r}; expected {expected!r}. It was copied there."
                )
        return body, Digest.of(data)

    def _about(self, step: str, target: str | None, attempt: int) -> Body:
        """Return what a receipt must say of itself, so that a copy under another key is found out."""
        return {
            "step": step,
            "model": self.model,
            "release_id": self.release_id,
            "target": target,
            "attempt": attempt,
        }

    def _path(self, step: str, target: str | None, attempt: int) -> str:
        return f"{self.model}/{self.release_id}/{Name(step, target, attempt)}"


def now() -> str:
    """Return the time as receipts write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _same(step: str, known: Body, body: Body, previous: dict[str, Any]) -> bool:
    """Return whether *known* already says *body*: a binding step binds whatever was repeated below it."""
    said = {key: value for key, value in known.items() if key not in ENVELOPE | _VOLATILE}
    return said == {key: value for key, value in body.items() if key not in _VOLATILE} and (
        step in SINGLE or known.get("previous") == previous
    )
