"""Writes to S3: AWS, MinIO, SeaweedFS, R2 and whatever else AWS_ENDPOINT_URL names.

Objects carry CRC64NVME over all their bytes, which the server itself checks when the last part is joined.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError  # type: ignore[import-untyped]

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.stores import Stored, Unfinished, Unjoined
from modelberth.engine.stores.s3_client import new_client, no_credentials
from modelberth.engine.stores.s3_reading import S3Reader
from modelberth.engine.stores.s3_writing import EXISTS, Multipart, Put, code_of, origin, stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.core.parts import Part
    from modelberth.engine.stopping import Stop

_LARGEST_COPY = 5 * 1024**3
_COPY_PART = 1024**3
_GONE = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_BUSY = {"InternalError", "ServiceUnavailable", "OperationAborted"}
"""What a second try may heal, whatever the status: it is 200 where a copy had begun, and 409 beside another request."""

_NO_CONDITION = {"NotImplemented"}
"""Of a server that refuses a condition that it does not know: the object is sent instead."""


class S3Store(S3Reader):
    """One bucket of an S3 server."""

    checksum = "crc64nvme"
    parallel_parts = True
    copies_ranges = True

    def __init__(self, url: BucketUrl, stop: Stop) -> None:
        super().__init__(url, stop)
        self.client = new_client()

    def head(self, key: str) -> Stored | None:
        """Return the object with its checksum."""
        with self.translated(key):
            try:
                found = self.client.head_object(Bucket=self.url.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        return stored(key, found["ContentLength"], found)

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already."""
        with self.translated(key):
            return (
                self.created(
                    lambda: self.client.put_object(Bucket=self.url.bucket, Key=key, Body=data, IfNoneMatch="*")
                )
                is not None
            )

    def write(self, key: str, parts: Sequence[Part], unfinished: Unfinished | None = None) -> Put | Multipart:
        """Begin an object that must not exist yet, or go on with an *unfinished* one."""
        if len(parts) <= 1 and not any(part.held for part in parts):
            return Put(self, key)
        return Multipart(self, key, sum(part.span.length for part in parts), unfinished)

    def copy(self, source: Place, key: str) -> Stored | None:
        """Copy an object inside the bucket; None when the source is gone, or an object has *key* already.

        Not every server heeds IfNoneMatch here: the look before leaves an object that is there alone on those, too.
        """
        if self.head(key):
            return None
        with self.translated(key):
            try:
                if source.size > _LARGEST_COPY:
                    return self._copy_in_parts(source, key)
                self.client.copy_object(
                    Bucket=self.url.bucket,
                    Key=key,
                    CopySource=origin(self, source),
                    CopySourceIfMatch=source.etag,
                    ChecksumAlgorithm="CRC64NVME",
                    IfNoneMatch="*",
                )
            except Unjoined:
                return None
            except ClientError as error:
                if code_of(error) in _GONE | EXISTS | _NO_CONDITION:
                    return None
                raise
        return self.head(key)

    def _copy_in_parts(self, source: Place, key: str) -> Stored | None:
        writing = Multipart(self, key, source.size)
        try:
            for number, start in enumerate(range(0, source.size, _COPY_PART)):
                writing.copy(number, min(_COPY_PART, source.size - start), source, start)
            return writing.finish(source.checksum)
        except BaseException:
            with suppress(Failure):  # the error itself says more than that its parts are left
                writing.abandon()
            raise

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with self.translated(key):
            self.client.delete_object(Bucket=self.url.bucket, Key=key)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the multipart uploads under *prefix* that were neither finished nor aborted."""
        with self.translated(prefix):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.url.bucket, Prefix=prefix)
            for page in pages:
                for item in page.get("Uploads", ()):
                    yield Unfinished(item["Key"], item["UploadId"], item["Initiated"].isoformat(timespec="seconds"))

    def sent(self, unfinished: Unfinished) -> dict[int, Stored]:
        """Return the parts that an unfinished object has, by number (from 0); none when it is gone."""
        names = {"Bucket": self.url.bucket, "Key": unfinished.key, "UploadId": unfinished.id}
        found: dict[int, Stored] = {}
        with self.translated(unfinished.key):
            try:
                for page in self.client.get_paginator("list_parts").paginate(**names):
                    for item in page.get("Parts", ()):
                        part = stored(unfinished.key, item["Size"], item)
                        found[item["PartNumber"] - 1] = part
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise
        return found

    def abandon(self, unfinished: Unfinished) -> None:
        """Abort a multipart upload; one that is gone already is none that fails."""
        with self.translated(unfinished.key):
            try:
                self.client.abort_multipart_upload(Bucket=self.url.bucket, Key=unfinished.key, UploadId=unfinished.id)
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise

    def created(self, call: Any) -> dict[str, Any] | None:
        """Return what *call* answers; None when an object with that key exists already."""
        try:
            answer: dict[str, Any] = call()
        except ClientError as error:
            if code_of(error) in EXISTS:
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
            busy = code_of(error) in _BUSY
            raise self.refused(code_of(error), 503 if busy else status, key) from error
        except (BotoCoreError, OSError) as error:
            raise Failure(
                ExitCode.UNREACHABLE,
                f"Could not reach {self.name(key)} at {self.client.meta.endpoint_url}: {type(error).__name__}. "
                "Check AWS_ENDPOINT_URL and the network, then run the same again.",
            ) from error
