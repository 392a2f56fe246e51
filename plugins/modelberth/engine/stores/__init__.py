"""Where uploads live: one small protocol, and a module for each kind of store that speaks it.

Control operations (listing, metadata, writing, copying) are done by the stores' own well-kept clients. Bulk reads are
not: a store only *signs* a GET, and :mod:`modelberth.engine.transport` moves the bytes, one path for all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Listed, Place
    from modelberth.core.parts import Part
    from modelberth.engine.http import Get
    from modelberth.engine.stopping import Stop

OF_SOURCE = "MODELBERTH_FETCH_"
"""What the name of a variable begins with that is about where a model comes from, and not about its bucket."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a listing or a write describes it; ``checksum`` is empty where a listing does not say."""

    key: str
    size: int
    etag: str = ""
    version: str = ""
    checksum: str = ""

    @property
    def listed(self) -> Listed:
        """What is compared with a location."""
        return (self.size, self.etag, self.version, self.checksum)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An object that was begun and neither finished nor abandoned.

    :param id: The store's own name of it.
    :param started: When, ISO 8601; empty where the store does not say.
    """

    key: str
    id: str
    started: str = ""


class Unjoined(Exception):  # noqa: N818 - not an error: the object is then sent as a whole
    """The store does not make the object of parts that it copied or kept: it cannot, or other bytes came out."""


class CopiesNoParts:
    """What writings of a store that copies no parts have in common."""

    def copy(self, *_part: object) -> None:
        """Refuse.

        :raises Unjoined: Always.
        """
        raise Unjoined


class Writing(Protocol):
    """One object on its way into the store. It appears when finished, whole, or never."""

    def send(self, number: int, data: memoryview, checksum: int) -> bool:
        """Send part *number* (from 0) with its checksum; say whether that was needed."""

    def copy(self, number: int, length: int, source: Place, start: int) -> None:
        """Let the store bring part *number* from byte *start* on of another object.

        :raises Unjoined: It does not do that, or the object is not there as it was.
        """

    def finish(self, checksum: str) -> Stored | None:
        """Let the object appear; None when another one has its key already.

        :raises Unjoined: The object has parts that were copied or kept, and did not come out as it should.
        """

    def leave(self) -> None:
        """Let go of it, so that a later run goes on with it where the store can."""

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
    :param copies_ranges: Whether it may be able to copy a part of an object.
    """

    checksum: str
    parallel_parts: bool
    copies_ranges: bool

    def ask(self) -> None:
        """Ask for the bucket.

        :raises Failure: There is none, or it does not answer.
        """

    def head(self, key: str) -> Stored | None:
        """Return the object with its checksum."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already; say whether it was written."""

    def write(self, key: str, parts: Sequence[Part], unfinished: Unfinished | None = None) -> Writing:
        """Begin an object that must not exist yet, or go on with an *unfinished* one."""

    def copy(self, source: Place, key: str) -> Stored | None:
        """Copy an object inside the bucket to a key that must not exist yet; None when the source is gone."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield what interrupted writes under *prefix* left."""

    def sent(self, unfinished: Unfinished) -> dict[int, Stored]:
        """Return the parts that an unfinished object has, by number (from 0)."""

    def abandon(self, unfinished: Unfinished) -> None:
        """Remove an unfinished object's parts, which cost money until then."""


def open_reader(url: BucketUrl, stop: Stop) -> Reader:
    """Return the bucket that *url* names, for reading, importing no more than that needs.

    Nothing is asked of it yet: who reads single objects need not have the right to list.

    :raises Failure: It cannot be asked: credentials are missing.
    """
    if url.scheme == "s3":
        from modelberth.engine.stores.s3_reading import S3Reader

        return S3Reader(url, stop)
    return _store(url, stop)


def open_source_reader(url: BucketUrl, stop: Stop) -> Reader:
    """Return a bucket that a fetch list names, for reading, with the credentials of the source.

    :raises Failure: It cannot be asked: credentials are missing, or are none.
    """
    if url.scheme == "s3":
        from modelberth.engine.stores.s3_reading import S3Reader

        return S3Reader(url, stop, source_environment(os.environ))
    from modelberth.engine.stores.gcs import GcsStore

    return GcsStore(url, os.environ.get(f"{OF_SOURCE}GOOGLE_CREDENTIALS", ""))


def source_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment that says how a source's S3 is reached.

    | MODELBERTH_FETCH_AWS_... | answer |
    |---|---|
    | none | *environ*: the source is read as the model's own bucket is |
    | any | all of these, without MODELBERTH_FETCH_, and no other AWS_...: the two must never be mixed |
    """
    start = f"{OF_SOURCE}AWS_"
    theirs = {name.removeprefix(OF_SOURCE): value for name, value in environ.items() if name.startswith(start)}
    return theirs or environ


def open_store(url: BucketUrl, stop: Stop) -> Store:
    """Return the bucket that *url* names, importing only its own client.

    :raises Failure: There is no such bucket, or it does not answer.
    """
    store = _store(url, stop)
    store.ask()  # a write into a bucket that does not exist creates it on some servers
    return store


def _store(url: BucketUrl, stop: Stop) -> Store:
    if url.scheme == "s3":
        from modelberth.engine.stores.s3 import S3Store

        return S3Store(url, stop)
    if url.scheme == "gs":
        from modelberth.engine.stores.gcs import GcsStore

        return GcsStore(url)
    from modelberth.engine.stores.file import FileStore

    return FileStore(url)
