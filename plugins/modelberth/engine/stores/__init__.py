"""Where uploads live: one small protocol, and a module for each kind of store that speaks it.

Control operations (listing, metadata, writing, copying) are done by the stores' own well-kept clients. Bulk reads are
not: a store only *signs* a GET, and :mod:`modelberth.engine.transport` moves the bytes, one path for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.engine.http import Get
    from modelberth.engine.stopping import Stop


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a listing or a write describes it; ``checksum`` is empty where a listing does not say."""

    key: str
    size: int
    etag: str = ""
    version: str = ""
    checksum: str = ""


class Writing(Protocol):
    """One object on its way into the store. It appears when finished, whole, or never."""

    def send(self, number: int, data: memoryview, checksum: int) -> None:
        """Send part *number* (from 0) with its checksum."""

    def finish(self, checksum: str) -> Stored | None:
        """Let the object appear; None when another one has its key already."""

    def abandon(self) -> None:
        """Leave nothing behind."""


class Reader(Protocol):
    """A bucket, for reading."""

    url: BucketUrl

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects whose keys begin with *prefix*."""

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object's bytes, None when there is none.

        :raises Failure: It has over *most* bytes.
        """

    def sign(self, place: Place) -> Get:
        """Return a request for an object, valid for minutes, which fails when the object was replaced."""


class Store(Reader, Protocol):
    """A bucket.

    :param checksum: Which checksum of whole objects it keeps.
    :param parallel_parts: Whether the parts of one object may be sent in any order, several at once.
    """

    checksum: str
    parallel_parts: bool

    def head(self, key: str) -> Stored | None:
        """Return the object with its checksum."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already; say whether it was written."""

    def write(self, key: str, sizes: Sequence[int]) -> Writing:
        """Begin an object that must not exist yet, sent in parts of *sizes* bytes."""

    def copy(self, source: Place, key: str) -> Stored | None:
        """Copy an object inside the bucket to a key that must not exist yet; None when the source is gone."""

    def abandon_unfinished(self, prefix: str) -> int:
        """Remove what interrupted writes under *prefix* left; return how many."""


def open_reader(url: BucketUrl, stop: Stop) -> Reader:
    """Return the bucket that *url* names, for reading, importing no more than that needs.

    :raises Failure: There is no such bucket, or it does not answer.
    """
    if url.scheme == "s3":
        from modelberth.engine.stores.s3_reading import S3Reader

        return S3Reader(url, stop)
    return open_store(url, stop)


def open_store(url: BucketUrl, stop: Stop) -> Store:
    """Return the bucket that *url* names, importing only its own client.

    :raises Failure: There is no such bucket, or it does not answer.
    """
    if url.scheme == "s3":
        from modelberth.engine.stores.s3 import S3Store

        return S3Store(url, stop)
    if url.scheme == "gs":
        from modelberth.engine.stores.gcs import GcsStore

        return GcsStore(url)
    from modelberth.engine.stores.file import FileStore

    return FileStore(url)
