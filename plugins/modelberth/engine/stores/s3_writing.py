"""One object on its way into S3: in one request, or in parts that the server joins."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from modelberth.engine.stores import CopiesNoParts, Stored, Unfinished, Unjoined

if TYPE_CHECKING:
    from modelberth.core.location import Place
    from modelberth.engine.stores.s3 import S3Store

_PIECE = 1024 * 1024
EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_UNJOINABLE = {"BadDigest", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidRequest", "NotImplemented"}
_COPYING_FAILS = {
    *("RequestTimeout", "SlowDown", "ServiceUnavailable", "InternalError", "OperationAborted"),
    *("ExpiredToken", "NoSuchUpload"),
}
"""What says nothing of whether the store copies ranges."""


class Put(CopiesNoParts):
    """An object of one part."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        self._data = memoryview(b"")

    def send(self, number: int, data: memoryview, checksum: int) -> bool:  # noqa: ARG002 - one part is the whole
        """Keep the bytes: their checksum goes with them."""
        self._data = data
        return True

    def finish(self, checksum: str) -> Stored | None:
        """Send the object."""
        data, self._data = self._data, memoryview(b"")
        with self._store.translated(self._key):
            answer = self._store.created(
                lambda: self._store.client.put_object(
                    Bucket=self._store.url.bucket,
                    Key=self._key,
                    Body=_Body(data),
                    IfNoneMatch="*",
                    ChecksumCRC64NVME=checksum,
                )
            )
        if answer is None:
            return None
        return _checked(self._store, stored(self._key, len(data), answer))

    def leave(self) -> None:
        """Nothing was sent."""

    def abandon(self) -> None:
        """Nothing was sent."""


class Multipart:
    """An object of several parts, joined at the end. Parts of an interrupted run that are the same are kept."""

    def __init__(self, store: S3Store, key: str, size: int, unfinished: Unfinished | None = None) -> None:
        self._store = store
        self._size = size
        self._names = {"Bucket": store.url.bucket, "Key": key}
        self._etags: dict[int, str] = {}
        self._there: dict[int, Stored] = store.sent(unfinished) if unfinished else {}
        self._all_sent = True
        if not self._there or not unfinished:
            with store.translated(key):
                begun = store.client.create_multipart_upload(
                    **self._names, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
                )
            self._names["UploadId"] = begun["UploadId"]
        else:
            self._names["UploadId"] = unfinished.id

    def send(self, number: int, data: memoryview, checksum: int) -> bool:
        """Send part *number* unless an interrupted run did."""
        text = base64.b64encode(checksum.to_bytes(8, "big")).decode()
        there = self._there.get(number)
        if there and _is(there, data, text):
            self._etags[number], self._all_sent = there.etag, False
            return False
        with self._store.translated(self._names["Key"]):
            answer = self._store.client.upload_part(
                **self._names, PartNumber=number + 1, Body=_Body(data), ChecksumCRC64NVME=text
            )
        self._etags[number] = answer["ETag"]
        return True

    def copy(self, number: int, length: int, source: Place, start: int) -> None:
        """Let the store itself bring part *number* from another object, pinned by its ETag and version.

        :raises Unjoined: It does not.
        """
        with self._store.translated(self._names["Key"]):
            try:
                answer = self._store.client.upload_part_copy(
                    **self._names,
                    PartNumber=number + 1,
                    CopySource=origin(self._store, source),
                    CopySourceIfMatch=source.etag,
                    CopySourceRange=f"bytes={start}-{start + length - 1}",
                )
            except ClientError as error:
                if code_of(error) in _COPYING_FAILS:
                    raise
                raise Unjoined(code_of(error)) from error
        self._etags[number], self._all_sent = answer["CopyPartResult"]["ETag"], False

    def finish(self, checksum: str) -> Stored | None:
        """Join the parts.

        An upload that is gone was joined by a request whose answer was lost, or abandoned: the key tells which.
        """
        parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in sorted(self._etags.items())]
        with self._store.translated(self._names["Key"]):
            try:
                answer = self._store.created(
                    lambda: self._store.client.complete_multipart_upload(
                        **self._names,
                        MultipartUpload={"Parts": parts},
                        IfNoneMatch="*",
                        ChecksumType="FULL_OBJECT",
                        ChecksumCRC64NVME=checksum,
                    )
                )
            except ClientError as error:
                if code_of(error) == "NoSuchUpload":
                    return None
                if self._all_sent or code_of(error) not in _UNJOINABLE:
                    raise
                raise Unjoined(code_of(error)) from error
        if answer is None:
            self.abandon()
            return None
        return _checked(self._store, stored(self._names["Key"], self._size, answer))

    def leave(self) -> None:
        """Let the parts stay: the next run goes on with them."""

    def abandon(self) -> None:
        """Abort, so that the parts cost nothing."""
        self._store.abandon(Unfinished(self._names["Key"], self._names["UploadId"]))


def _is(there: Stored, data: memoryview, checksum: str) -> bool:
    """Whether a part is what would be sent. A store that lists no checksums of parts has the MD5 as their ETag."""
    if there.size != len(data):
        return False
    if there.checksum:
        return there.checksum == checksum
    return there.etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def origin(store: S3Store, source: Place) -> dict[str, str]:
    """Return how requests name an object that is copied from."""
    version = {"VersionId": source.version} if source.version else {}
    return {"Bucket": store.url.bucket, "Key": source.key} | version


def code_of(error: ClientError) -> str:
    """Return S3's own code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def stored(key: str, size: int, answer: dict[str, Any]) -> Stored:
    """Return the object that an answer describes."""
    version = answer.get("VersionId", "")
    return Stored(key, size, answer["ETag"], "" if version == "null" else version, answer.get("ChecksumCRC64NVME", ""))


class _Body:
    """A part's bytes as a file, which botocore would otherwise copy into one, and read in pieces of 16 KiB."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int = -1) -> memoryview | bytes:
        """Return the next bytes; more than *size*, since each piece is sent as it is."""
        end = len(self._data) if size < 0 else self._position + max(size, _PIECE)
        piece = self._data[self._position : end]
        self._position += len(piece)
        return piece or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere: before each try to the start."""
        self._position = offset + {0: 0, 1: self._position, 2: len(self._data)}[whence]
        return self._position

    def tell(self) -> int:
        """Return where the next bytes are."""
        return self._position


def _checked(store: S3Store, found: Stored) -> Stored:
    """Return *found* with the checksum that the server keeps, which not every server repeats in its answer."""
    for wait in (0, 0.5, 2) if not found.checksum else ():
        time.sleep(wait)
        if again := store.head(found.key):
            return again
    return found
