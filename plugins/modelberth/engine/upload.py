"""``modelberth upload``: a directory, or what a fetch list names, into a bucket, digested in the pass that sends it.

What an earlier upload may hold is digested first, so that what did not change is not sent. Nothing is ever overwritten;
the manifest names the bytes once all are there; the location, which makes the revision usable, is last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.manifest import refuse_excess
from modelberth.engine.bucketprune import lift_mark
from modelberth.engine.known import known_location
from modelberth.engine.published import write_published
from modelberth.engine.source import open_listed, open_source
from modelberth.engine.stores import open_store
from modelberth.engine.uploadrun import UploadRun

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Location
    from modelberth.core.revision import Revision
    from modelberth.engine.report import Result
    from modelberth.engine.source import Source
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Store


@dataclass(frozen=True)
class Order:
    """What an upload is asked for.

    :param source: A directory, a fetch list, or the digest of one in the bucket.
    :param streams: How many parts at once, 0 for as many as suit this machine.
    :param rate: Bytes a second at most, None for no limit.
    :param publisher_signature: The path of a model-signing bundle that may be among the files: where it is, the
        SHA-256 of every file is taken in the same pass.
    :param known: What this source was found to be before: if the bucket has it whole, nothing is read.
    """

    source: Path | Digest
    url: BucketUrl
    model: str
    name: str
    follow_links: Path | None = None
    streams: int = 0
    rate: int | None = None
    publisher_signature: str | None = None
    known: Revision | None = None


def upload(order: Order, stop: Stop) -> Result:
    """Bring a model into a bucket and return its revision.

    :raises Failure: It could not be done; the revision is then not usable from this upload.
    """
    store = open_store(order.url, stop)
    known = None if order.publisher_signature else order.known  # the publisher's digests need a look at the source
    if known and (location := known_location(store, known)):
        return _result(order, store, location, Counter())
    source = _source(order, store, stop)
    refuse_excess([file.size for file in source.files])
    run = UploadRun(order, store, source, stop)
    location = run.known_revision() or run.complete()
    result = _result(order, store, location, run.bytes)
    if order.publisher_signature:
        result["digests"] = write_published(store, location, order.publisher_signature, run.sha256)
    return result


def _result(order: Order, store: Store, location: Location, moved: Counter[str]) -> Result:
    """Return what the upload reports; a mark that the revision is to go is taken off it first."""
    lift_mark(store, location.revision)
    named: Result = {"fetch_list": str(order.source)} if isinstance(order.source, Digest) else {}
    return named | {
        "revision": str(location.revision),
        "upload": location.upload,
        "files": len(location.files),
        "bytes": sum(place.size for place in location.files),
        "bytes_uploaded": moved["sent"],
        "bytes_copied": moved["copied"],
        "location": layout.location_key(order.url, order.model, location.revision.digest, location.upload),
    }


def _source(order: Order, store: Store, stop: Stop) -> Source:
    if isinstance(order.source, Digest):
        return open_listed(store, order.model, order.source, stop)
    return open_source(order.source, order.follow_links, stop)
