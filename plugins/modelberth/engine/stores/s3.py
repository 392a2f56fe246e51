"""Writes to S3: AWS, MinIO, SeaweedFS, R2 and whatever else AWS_ENDPOINT_URL names.

Objects carry CRC64NVME over all their bytes, which the server itself checks when the last part is joined.
"""

from __future__ import annotations

import base64
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError  # type: ignore[import-untyped]

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.stores import Stored
from modelberth.engine.stores.s3_client import new_client, no_credentials
from modelberth.engine.stores.s3_reading import S3Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.engine.stopping import Stop

_LARGEST_COPY = 5 * 1024**3
_COPY_PART = 1024**3
_GONE = {"404", "NoSuchKey", "NotFound"}
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


class S3Store(S3Reader):
    """One bucket of an S3 server."""

    checksum = "crc64nvme"
    parallel_parts = True

    def __init__(self, url: BucketUrl, stop: Stop) -> None:
        super().__init__(url, stop)
        self.client = new_client()

    def head(self, key: str) -> Stored | None:
        """Return the object with its checksum."""
        with self.translated(key):
            try:
                found = self.client.head_object(Bucket=self.url.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if _code(error) in _GONE:
                    return None
                raise
        return _stored(key, found["ContentLength"], found)

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already."""
        with self.translated(key):
            return (
                self.created(
                    lambda: self.client.put_object(Bucket=self.url.bucket, Key=key, Body=data, IfNoneMatch="*")
                )
                is not None
            )

    def write(self, key: str, sizes: Sequence[int]) -> _Put | _Multipart:
        """Begin an object that must not exist yet."""
        return _Put(self, key) if len(sizes) <= 1 else _Multipart(self, key, sum(sizes))

    def copy(self, source: Place, key: str) -> Stored | None:
        """Copy an object inside the bucket to a key that must not exist yet; None when the source is gone."""
        origin = {"Bucket": self.url.bucket, "Key": source.key}
        if source.version:
            origin["VersionId"] = source.version
        with self.translated(key):
            try:
                if source.size > _LARGEST_COPY:
                    return self._copy_in_parts(source, origin, key)
                self.client.copy_object(
                    Bucket=self.url.bucket,
                    Key=key,
                    CopySource=origin,
                    CopySourceIfMatch=source.etag,
                    ChecksumAlgorithm="CRC64NVME",
                )
            except ClientError as error:
                if _code(error) in _GONE | _EXISTS:
                    return None
                raise
        return self.head(key)

    def _copy_in_parts(self, source: Place, origin: dict[str, str], key: str) -> Stored | None:
        writing = _Multipart(self, key, source.size)
        try:
            for number, start in enumerate(range(0, source.size, _COPY_PART)):
                writing.copy_part(number, origin, source.etag, start, min(start + _COPY_PART, source.size))
            return writing.finish(source.checksum)
        except BaseException:
            with suppress(Failure):  # the error itself says more than that its parts are left
                writing.abandon()
            raise

    def abandon_unfinished(self, prefix: str) -> int:
        """Abort the multipart uploads under *prefix*; their parts cost money until then."""
        with self.translated(prefix):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.url.bucket, Prefix=prefix)
            unfinished = [item for page in pages for item in page.get("Uploads", ())]
            for item in unfinished:
                self.client.abort_multipart_upload(Bucket=self.url.bucket, Key=item["Key"], UploadId=item["UploadId"])
        return len(unfinished)

    def created(self, call: Any) -> dict[str, Any] | None:
        """Return what *call* answers; None when an object with that key exists already."""
        try:
            answer: dict[str, Any] = call()
        except ClientError as error:
            if _code(error) in _EXISTS:
                return None
            raise
        return answer

    @contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Turn the client's errors into failures that name the object.

        :raises Failure: Something else than the expected went wrong.
        """
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise no_credentials(self.name(key)) from error
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise self.refused(_code(error), status, key) from error
        except (BotoCoreError, OSError) as error:
            raise Failure(
                ExitCode.UNREACHABLE,
                f"Could not reach {self.name(key)} at {self.client.meta.endpoint_url}: {type(error).__name__}. "
                "Check AWS_ENDPOINT_URL and the network, then run the same again.",
            ) from error


class _Put:
    """An object of one part."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        self._data = memoryview(b"")

    def send(self, number: int, data: memoryview, checksum: int) -> None:  # noqa: ARG002 - one part is the whole
        """Keep the bytes: their checksum goes with them."""
        self._data = data

    def finish(self, checksum: str) -> Stored | None:
        """Send the object."""
        data, self._data = self._data, memoryview(b"")
        with self._store.translated(self._key):
            answer = self._store.created(
                lambda: self._store.client.put_object(
                    Bucket=self._store.url.bucket,
                    Key=self._key,
                    Body=_body(data),
                    IfNoneMatch="*",
                    ChecksumCRC64NVME=checksum,
                )
            )
        if answer is None:
            return None
        return _checked(self._store, _stored(self._key, len(data), answer))

    def abandon(self) -> None:
        """Nothing was sent."""


class _Multipart:
    """An object of several parts, joined at the end."""

    def __init__(self, store: S3Store, key: str, size: int) -> None:
        self._store = store
        self._size = size
        self._names = {"Bucket": store.url.bucket, "Key": key}
        self._etags: dict[int, str] = {}
        with store.translated(key):
            begun = store.client.create_multipart_upload(
                **self._names, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
            )
        self._names["UploadId"] = begun["UploadId"]

    def send(self, number: int, data: memoryview, checksum: int) -> None:
        """Send part *number*."""
        text = base64.b64encode(checksum.to_bytes(8, "big")).decode()
        with self._store.translated(self._names["Key"]):
            answer = self._store.client.upload_part(
                **self._names, PartNumber=number + 1, Body=_body(data), ChecksumCRC64NVME=text
            )
        self._etags[number] = answer["ETag"]

    def copy_part(self, number: int, origin: dict[str, str], etag: str, start: int, end: int) -> None:
        """Let the store itself bring part *number* from another object."""
        answer = self._store.client.upload_part_copy(
            **self._names,
            PartNumber=number + 1,
            CopySource=origin,
            CopySourceIfMatch=etag,
            CopySourceRange=f"bytes={start}-{end - 1}",
        )
        self._etags[number] = answer["CopyPartResult"]["ETag"]

    def finish(self, checksum: str) -> Stored | None:
        """Join the parts."""
        parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in sorted(self._etags.items())]
        with self._store.translated(self._names["Key"]):
            answer = self._store.created(
                lambda: self._store.client.complete_multipart_upload(
                    **self._names,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                    ChecksumType="FULL_OBJECT",
                    ChecksumCRC64NVME=checksum,
                )
            )
        if answer is None:
            self.abandon()
            return None
        return _checked(self._store, _stored(self._names["Key"], self._size, answer))

    def abandon(self) -> None:
        """Abort, so that the parts cost nothing."""
        with self._store.translated(self._names["Key"]):
            self._store.client.abort_multipart_upload(**self._names)


def _body(data: memoryview) -> bytearray | bytes:
    return data.obj if isinstance(data.obj, bytearray) and len(data.obj) == len(data) else bytes(data)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _stored(key: str, size: int, answer: dict[str, Any]) -> Stored:
    version = answer.get("VersionId", "")
    return Stored(key, size, answer["ETag"], "" if version == "null" else version, answer.get("ChecksumCRC64NVME", ""))


def _checked(store: S3Store, stored: Stored) -> Stored:
    """Return *stored* with the checksum that the server keeps, which not every server repeats in its answer."""
    for wait in (0, 0.5, 2) if not stored.checksum else ():
        time.sleep(wait)
        if found := store.head(stored.key):
            return found
    return stored
