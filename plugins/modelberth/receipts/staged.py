"""What is known of staging for one service: which evidence is about which version, and what its registries name.

    <receipts prefix>/inventory/<connection>/<namespace>/<claim>/staging/<service>/<model>/<64 hex>.json
                                                                 named/<service>/<time>.json

Signed and create-only; the 64 digits are the source version's. The first gives every run that brings the same version
the same release_id: its upload has one name, and goes on after an interruption of whole runs. The second is written
when what is named has changed; a prune takes what the newest names for used.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from modelberth.core.approval import place
from modelberth.core.release import RELEASE_ID
from modelberth.receipts.evidence import now
from modelberth.receipts.signing import EvidenceForgedError, signing_key
from modelberth.receipts.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelberth.core.digest import Digest
    from modelberth.receipts.damage import OnClaim
    from modelberth.receipts.signing import Body, SigningKey
    from modelberth.receipts.store import ObjectStore

_TIME = "%Y%m%dt%H%M%S%fz"


class _Staging(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def connection(self) -> str: ...


class StagedRecord:
    """What is known of staging for the service *service* on its claim."""

    def __init__(self, store: ObjectStore, key: SigningKey, service: str, where: OnClaim) -> None:
        self._store, self._key, self._service = store, key, service
        self._place = place(where)
        self._root = f"inventory/{where.connection}/{where.namespace}/{where.claim}"

    def release_id(self, model: str, source_version: Digest, proposed: str) -> str:
        """Return the id under which the evidence about a version is: *proposed*, if this is the first run about it.

        :raises EvidenceForgedError: What is on record is not ours, or about something else.
        """
        path = f"{self._root}/staging/{self._service}/{model}/{source_version.hex}.json"
        about = self._about("staging") | {"model": model, "source_version": str(source_version)}
        self._store.create(path, self._key.seal({**about, "release_id": proposed, "at": now()}))
        found = str(self._read(path, about).get("release_id"))
        if not RELEASE_ID.fullmatch(found):
            raise EvidenceForgedError(f"Staging record {path} names no release: {found!r}.")
        return found

    def named(self) -> list[dict[str, str]] | None:
        """Return what the registries named when they were last asked, None if they never were.

        :raises EvidenceForgedError: The newest record is not ours, or about something else.
        """
        paths = self._store.keys(f"{self._root}/named/{self._service}/")
        return list(self._read(paths[-1], self._about("named")).get("named", [])) if paths else None

    def note(self, named: Sequence[Mapping[str, str]]) -> None:
        """Put on record what the registries name: model, version and, where they are known, revision and snapshot."""
        listed = sorted((dict(one) for one in named), key=lambda one: sorted(one.items()))
        if listed != self.named():
            path = f"{self._root}/named/{self._service}/{datetime.now(UTC).strftime(_TIME)}.json"
            self._store.create(path, self._key.seal({**self._about("named"), "named": listed, "at": now()}))

    def _read(self, path: str, about: Mapping[str, Any]) -> Body:
        note = self._key.unseal(self._store.read(path) or b"", path)
        if any(note.get(key) != value for key, value in about.items()):
            raise EvidenceForgedError(f"Staging record {path} is about something else: it was copied there.")
        return note

    def _about(self, step: str) -> dict[str, str]:
        return {"step": step, "service": self._service, **self._place}


def staged_record(receipts: _Staging, service: str, where: OnClaim) -> StagedRecord:
    """Return what is known of staging for a service.

    :param receipts: Where the service's ``stage`` keeps that.
    """
    return StagedRecord(open_store(receipts.url, receipts.connection), signing_key(), service, where)
