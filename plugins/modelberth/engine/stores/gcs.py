"""Google Cloud Storage. Objects carry CRC32C over all their bytes; STORAGE_EMULATOR_HOST is honoured.

The parts of one object go one after the other in one resumable upload: the XML interface, which takes them in
parallel, knows no preconditions. Several objects go at once.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import google.auth.transport.requests
from google.api_core.exceptions import (
    Forbidden,
    GoogleAPICallError,
    NotFound,
    PreconditionFailed,
    RetryError,
    Unauthorized,
    from_http_response,
)
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.cloud import storage  # type: ignore[import-untyped]
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # type: ignore[import-untyped]
from requests.exceptions import RequestException

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.http import Get
from modelberth.engine.stores import CopiesNoParts, Stored, Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.core.parts import Part

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
_STEP = 8 * 1024 * 1024
_TIMEOUT = (10, 60)
_PROJECT = "none"
"""Nothing that is asked here is about a project, and a person's credentials name none."""


def _client_of(key: str) -> Any:
    """Return a client for whom the content of a credentials file names.

    :raises Failure: It is none.
    """
    try:
        load: Any = google.auth.load_credentials_from_dict
        found, _ = load(json.loads(key), scopes=[_SCOPE])
    except (ValueError, GoogleAuthError) as error:
        raise Failure(
            ExitCode.REFUSED, "MODELBERTH_FETCH_GOOGLE_CREDENTIALS is not the content of a Google credentials file."
        ) from error
    return storage.Client(_PROJECT, found)


class GcsStore:
    """One bucket."""

    checksum = "crc32c"
    parallel_parts = False
    copies_ranges = False

    def __init__(self, url: BucketUrl, key: str = "") -> None:
        """Find out who is asking.

        :param key: A credentials file's content; without it the environment says who is asking.
        """
        self.url = url
        self._emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        with self.translated(""):
            self._client = _client_of(key) if key else storage.Client(_PROJECT)
            self._bucket = self._client.bucket(url.bucket)

    def ask(self) -> None:
        """Ask for the bucket.

        :raises Failure: There is none, or it does not answer.
        """
        with self.translated(""):
            page = self._client.list_blobs(self._bucket, prefix=self.url.key(""), max_results=1, timeout=_TIMEOUT)
            next(iter(page), None)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects whose keys begin with *prefix*; a listing here says it all."""
        with self.translated(prefix):
            for blob in self._client.list_blobs(self._bucket, prefix=prefix, timeout=_TIMEOUT):
                yield _stored(blob)

    def head(self, key: str) -> Stored | None:
        """Return the object with its checksum."""
        with self.translated(key):
            blob = self._bucket.get_blob(key, timeout=_TIMEOUT)
        return _stored(blob) if blob else None

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object's bytes, None when there is none."""
        with self.translated(key):
            try:
                data = bytes(self._bucket.blob(key).download_as_bytes(end=most, timeout=_TIMEOUT))
            except NotFound as error:
                self._unless_bucket_is_gone(error)
                return None
        if len(data) > most:
            raise Failure(ExitCode.REFUSED, f"Object {self.name(key)} has over {most} bytes: it was not read.")
        return data

    def _unless_bucket_is_gone(self, error: NotFound) -> None:
        if not self._bucket.exists(timeout=_TIMEOUT):
            raise error

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already."""
        with self.translated(key):
            try:
                self._bucket.blob(key).upload_from_string(
                    data, if_generation_match=0, checksum="crc32c", timeout=_TIMEOUT
                )
            except PreconditionFailed:
                return False
        return True

    def write(self, key: str, parts: Sequence[Part], unfinished: Unfinished | None = None) -> _Resumable:  # noqa: ARG002 - the other stores need them
        """Begin an object that must not exist yet."""
        return _Resumable(self, self._bucket.blob(key))

    def copy(self, source: Place, key: str) -> Stored | None:
        """Copy an object inside the bucket to a key that must not exist yet; None when the source is gone."""
        if not (source.version.isascii() and source.version.isdecimal()):
            return None  # another store's location: without a generation nothing says that it is still the same
        origin, blob = self._bucket.blob(source.key), self._bucket.blob(key)
        generation = int(source.version)
        with self.translated(key):
            try:
                token, conditions = None, {"if_generation_match": 0, "if_source_generation_match": generation}
                while token is not None or not blob.generation:
                    token, _, _ = blob.rewrite(origin, token=token, timeout=_TIMEOUT, **conditions)
            except (NotFound, PreconditionFailed):
                return None
        return self.head(key)

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with self.translated(key):
            try:
                self._bucket.blob(key).delete(timeout=_TIMEOUT)
            except NotFound as error:
                self._unless_bucket_is_gone(error)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:  # noqa: ARG002 - none can be asked for
        """Yield nothing: only who began a resumable upload knows its URL. It ends by itself and costs nothing."""
        return iter(())

    def sent(self, unfinished: Unfinished) -> dict[int, Stored]:  # noqa: ARG002 - there is none
        """Return nothing."""
        return {}

    def abandon(self, unfinished: Unfinished) -> None:
        """Do nothing: there is nothing."""

    def sign(self, place: Place) -> Get:
        """Return an authorised request for one generation of an object."""
        base = self._emulator or "https://storage.googleapis.com"
        base = base if "://" in base else f"http://{base}"
        url = f"{base}/download/storage/v1/b/{self.url.bucket}/o/{quote(place.key, safe='')}?alt=media"
        headers: dict[str, str] = {}
        if place.version:
            url += f"&generation={place.version}"
        with self.translated(place.key):
            self._authorise(headers)
        return Get(url, f"object {self.name(place.key)}", headers)

    def _authorise(self, headers: dict[str, str]) -> None:
        credentials: Any = self._client._credentials
        if self._emulator:
            return
        credentials.before_request(google.auth.transport.requests.Request(), "GET", "", headers)

    def name(self, key: str) -> str:
        """Return how messages name an object."""
        return repr(f"gs://{self.url.bucket}/{key}")

    @contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Turn the client's errors into failures that name the object.

        :raises Failure: Something else than the expected went wrong.
        """
        try:
            yield
        except NotFound as error:
            raise Failure(
                ExitCode.NOT_FOUND, f"No bucket {self.url.bucket!r}: create it or correct the URL."
            ) from error
        except (Forbidden, Unauthorized, DefaultCredentialsError) as error:
            raise Failure(
                ExitCode.DENIED, f"Access to {self.name(key)} was denied: check the credentials and their rights."
            ) from error
        except RefreshError as error:
            raise self._no_token(error) from error
        except (
            GoogleAPICallError,
            GoogleAuthError,
            RetryError,
            RequestException,
            ConnectionError,
            DataCorruption,
        ) as error:
            raise Failure(
                ExitCode.UNREACHABLE, f"Could not reach {self.name(key)}: {type(error).__name__}. Run the same again."
            ) from error

    def _no_token(self, error: RefreshError) -> Failure:
        """Return what it means that no token is to be had.

        | who hands them out | is |
        |---|---|
        | could not be reached, or says that a later try may get one | unreachable |
        | refused: the key was revoked, the account deleted, the trust is not there | denied |
        """
        passing = error.retryable or isinstance(error.__cause__, TransportError)
        return Failure(
            ExitCode.UNREACHABLE if passing else ExitCode.DENIED,
            f"No token for {self.name('')} could be had: {error.args[0]} Check the account, its key or the trust that "
            "it has in this workload, and the way to the service that hands out its tokens.",
        )


class _Resumable(CopiesNoParts):
    """One object in one resumable upload."""

    def __init__(self, store: GcsStore, blob: Any) -> None:
        self._store = store
        self._blob = blob
        # Not closed by abandon: closing would let what was sent so far appear as the object.
        self._stream: Any = blob.open(
            "wb", chunk_size=_STEP, if_generation_match=0, checksum="crc32c", timeout=_TIMEOUT, ignore_flush=True
        )

    def send(self, number: int, data: memoryview, checksum: int) -> bool:  # noqa: ARG002 - in order, one stream
        """Send the next part."""
        with self._store.translated(self._blob.name), self._exists(), _plain():
            self._stream.write(data)
        return True

    def finish(self, checksum: str) -> Stored | None:
        """Let the object appear, unless there is one already."""
        with self._store.translated(self._blob.name):
            try:
                with _plain():
                    self._stream.close()
            except PreconditionFailed:
                self.abandon()
                return None
        found = self._store.head(self._blob.name)
        if found and found.checksum != checksum:
            raise Failure(
                ExitCode.UNREACHABLE,
                f"Bytes of {self._store.name(self._blob.name)} changed on their way: upload again.",
            )
        return found

    @contextmanager
    def _exists(self) -> Iterator[None]:
        try:
            yield
        except PreconditionFailed as error:
            raise Failure(
                ExitCode.REFUSED, f"Object {self._store.name(self._blob.name)} exists already and is never overwritten."
            ) from error

    def leave(self) -> None:
        """End the session: who goes on would need its URL, which nobody keeps."""
        self.abandon()

    def abandon(self) -> None:
        """End the session. A stream that is merely forgotten would be closed, and what was sent so far appear."""
        try:
            self._stream.terminate()
        except (RequestException, GoogleAuthError, InvalidResponse):
            self._stream._buffer.close()


@contextmanager
def _plain() -> Iterator[None]:
    """Turn an answer that streams complain of into the error that all other requests raise for it."""
    try:
        yield
    except InvalidResponse as error:
        raise from_http_response(error.response) from error  # type: ignore[no-untyped-call]


def _stored(blob: Any) -> Stored:
    return Stored(blob.name, int(blob.size), "", str(blob.generation), blob.crc32c or "")
