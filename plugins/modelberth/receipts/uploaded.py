"""Which revision a version of a source is, as an upload of it found: asked before the same bytes are read again.

    <receipts prefix>/inventory/uploaded/<model>/<64 hex of the source version>/<release_id>.json

Signed and create-only like all evidence. A source version is immutable, so all notes about one say the same, unless a
revision is made in another way by then; the newest counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core.revision import Revision
from modelberth.receipts.evidence import now
from modelberth.receipts.signing import EvidenceForgedError, signing_key
from modelberth.receipts.store import open_store

if TYPE_CHECKING:
    from modelberth.core.digest import Digest
    from modelberth.receipts import ModelConfig
    from modelberth.receipts.signing import SigningKey
    from modelberth.receipts.store import ObjectStore


class UploadedRecord:
    """What was uploaded of one model."""

    def __init__(self, store: ObjectStore, key: SigningKey, model: str) -> None:
        self._store, self._key, self._model = store, key, model

    def add(self, source_version: Digest, revision: Revision, release_id: str, receipt: Digest) -> None:
        """Note that *source_version* is *revision*, as the upload of a release found.

        :param receipt: The digest of that upload's receipt.
        """
        said = {"revision": str(revision), "release_id": release_id, "receipt": str(receipt), "at": now()}
        note = {**self._about(source_version), **said}
        self._store.create(self._folder(source_version) + f"{release_id}.json", self._key.seal(note))

    def revision(self, source_version: Digest) -> Revision | None:
        """Return which revision *source_version* is, None if it never was uploaded.

        :raises EvidenceForgedError: The newest note is not ours, or about something else than its key says.
        """
        paths = self._store.keys(self._folder(source_version))
        if not paths:
            return None
        note = self._key.unseal(self._store.read(paths[-1]) or b"", paths[-1])
        if any(note.get(key) != value for key, value in self._about(source_version).items()):
            raise EvidenceForgedError(f"Upload record {paths[-1]} is about something else: it was copied there.")
        return Revision.parse(str(note.get("revision")))

    def _about(self, source_version: Digest) -> dict[str, str]:
        return {"step": "uploaded", "model": self._model, "source_version": str(source_version)}

    def _folder(self, source_version: Digest) -> str:
        return f"inventory/uploaded/{self._model}/{source_version.hex}/"


def uploaded_record(model: ModelConfig) -> UploadedRecord:
    """Return what was uploaded of *model*."""
    return UploadedRecord(open_store(model.receipts.url, model.receipts.connection), signing_key(), model.name)
