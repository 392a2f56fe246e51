"""The object store under the evidence: three verbs, two stores, clients built by the providers' hooks only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from modelberth import clients

if TYPE_CHECKING:
    from collections.abc import Iterator

RECEIPT_LIMIT = 4 * 1024**2
"""Bytes: a receipt is a few KB; what is larger is not one."""


class StoreError(Exception):
    """The store refused: wrong credentials, no such bucket, too large. Trying again does not help."""


class TooLargeError(StoreError):
    """An object has more bytes than what it should be may have; it was not read."""


class StoreUnreachableError(Exception):
    """The store did not answer, or not sensibly. Trying again may help."""


class ObjectStore(Protocol):
    """Objects below one prefix."""

    def create(self, key: str, data: bytes) -> bool:
        """Write *data* unless there is an object at *key*; return whether it was written."""
        ...

    def read(self, key: str, limit: int = RECEIPT_LIMIT) -> bytes | None:
        """Return what is at *key*, None if nothing is.

        :param limit: The most that is read, in bytes: what is in a bucket is hostile input.
        """
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*, sorted."""
        ...


def open_store(url: str, connection: str) -> ObjectStore:
    """Return the store below *url*, with the credentials of the Airflow connection *connection*.

    :param url: ``s3://bucket/prefix`` or ``gs://bucket/prefix``.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    stores = {"s3": _S3Store, "gs": _GcsStore}
    if scheme not in stores:
        raise StoreError(f"Store {url!r} is of no known kind: expected s3:// or gs://.")
    return stores[scheme](bucket, prefix, connection)


class _S3Store:
    def __init__(self, bucket: str, prefix: str, connection: str) -> None:
        self._bucket, self._prefix, self._connection = bucket, f"{prefix}/" if prefix else "", connection
        self._client = clients.s3_client(connection)

    def create(self, key: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        with self._telling(key):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                # The client repeats a request whose answer was lost, and then meets its own object.
                if _status(error) != 412:
                    raise
                return self.read(key) == data
        return True

    def read(self, key: str, limit: int = RECEIPT_LIMIT) -> bytes | None:
        from botocore.exceptions import ClientError

        with self._telling(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise
            data: bytes = answer["Body"].read(limit + 1)
        return _bounded(data, limit, f"s3://{self._bucket}/{self._prefix}{key}")

    def keys(self, prefix: str) -> list[str]:
        with self._telling(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in found)

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

        where = f"s3://{self._bucket}/{self._prefix}{key} (connection {self._connection!r})"
        try:
            yield
        except ClientError as error:
            status, code = _status(error), error.response["Error"]["Code"]
            if status >= 500 or status in (409, 429):
                raise StoreUnreachableError(f"Store failed for {where}: {status} {code}.") from error
            raise StoreError(f"Store refused {where}: {status} {code}. Check the bucket and the rights.") from error
        except (BotoCoreError, OSError) as error:
            passing = isinstance(error, ConnectionError | HTTPClientError | OSError)
            kind = StoreUnreachableError if passing else StoreError
            raise kind(f"Store failed for {where}: {type(error).__name__}.") from error


class _GcsStore:
    def __init__(self, bucket: str, prefix: str, connection: str) -> None:
        self._prefix, self._connection = f"{prefix}/" if prefix else "", connection
        self._bucket = clients.gcs_client(connection).bucket(bucket)

    def create(self, key: str, data: bytes) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        with self._telling(key):
            try:
                self._bucket.blob(self._prefix + key).upload_from_string(
                    data, content_type="application/json", if_generation_match=0, timeout=_TIMEOUTS
                )
            except PreconditionFailed:
                return self.read(key) == data
        return True

    def read(self, key: str, limit: int = RECEIPT_LIMIT) -> bytes | None:
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        with self._telling(key):
            try:
                data = self._bucket.blob(self._prefix + key).download_as_bytes(end=limit, timeout=_TIMEOUTS)
            except NotFound:
                return None
            except RequestRangeNotSatisfiable:  # an empty object has no first byte to ask for
                return b""
        return _bounded(data, limit, f"gs://{self._bucket.name}/{self._prefix}{key}")

    def keys(self, prefix: str) -> list[str]:
        with self._telling(prefix):
            found = [blob.name for blob in self._bucket.list_blobs(prefix=self._prefix + prefix, timeout=_TIMEOUTS)]
        return sorted(name.removeprefix(self._prefix) for name in found)

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        from google.api_core.exceptions import ClientError, GoogleAPIError, TooManyRequests
        from google.auth.exceptions import GoogleAuthError, TransportError

        where = f"gs://{self._bucket.name}/{self._prefix}{key} (connection {self._connection!r})"
        try:
            yield
        except (TooManyRequests, TransportError) as error:
            raise StoreUnreachableError(f"Store failed for {where}: {type(error).__name__}.") from error
        except (ClientError, GoogleAuthError) as error:
            raise StoreError(
                f"Store refused {where}: {type(error).__name__}. Check the bucket and the rights."
            ) from error
        except (GoogleAPIError, OSError) as error:
            raise StoreUnreachableError(f"Store failed for {where}: {type(error).__name__}.") from error


_TIMEOUTS = (clients.CONNECT_TIMEOUT, clients.READ_TIMEOUT)


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _bounded(data: bytes, limit: int, where: str) -> bytes:
    if len(data) > limit:
        raise TooLargeError(f"{where} is larger than {limit} bytes: it is not what it should be and was not read.")
    return data
