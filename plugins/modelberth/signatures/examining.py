"""What is known of the signatures of what a release has uploaded: looked at, and put on record."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from modelberth.core import layout, signature
from modelberth.core.digest import Digest
from modelberth.core.published import LARGEST_PUBLISHED, Published
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision
from modelberth.core.signature import INVALID, LARGEST_BUNDLE, NONE, PUBLISHER, REVISION, VALID, Signed
from modelberth.receipts import TooLargeError, open_store
from modelberth.receipts.signed import read_signed, write_signed
from modelberth.signatures.configured import verifier_of
from modelberth.signatures.verifier import BundleRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modelberth.catalog import Model
    from modelberth.core.signature import Statement
    from modelberth.receipts import Evidence
    from modelberth.signatures.verifier import Verifier

_HERE = layout.BucketUrl("s3", "bucket")
"""Without a prefix: a store's keys begin below it."""


def examine(model: Model, evidence: Evidence) -> list[Signed]:
    """Look at what the model's file asks for, put it on record, and return it.

    What was valid before stays so, by its receipt, whatever became of the bundle since.

    :raises VerifierUnusableError: The model's file names what cannot verify anything.
    :raises VerifierUnreachableError: Sigstore's trusted root could not be had.
    """
    upload = evidence.read("upload")
    revision = Revision.parse(upload["revision"])
    verifiers = {kind: verifier_of(asked) for kind, asked in model.signatures.items()}
    against = {kind: verifier.against for kind, verifier in verifiers.items()}
    found = {one.kind: one for one in signature.still_valid(read_signed(evidence, revision), against)}
    for kind, verifier in verifiers.items():
        if kind not in found:
            found[kind] = _LOOK[kind](model, upload, verifier)
    signed = [found[kind] for kind in verifiers]
    write_signed(evidence, revision, signed)
    return signed


def _of_revision(model: Model, upload: Mapping[str, Any], verifier: Verifier) -> Signed:
    revision = Revision.parse(upload["revision"])
    store = open_store(model.bucket.url, model.bucket.connection)
    key = layout.signature_key(_HERE, model.name, revision.digest)
    try:
        bundle = store.read(key, LARGEST_BUNDLE)
    except TooLargeError as error:
        return Signed(REVISION, INVALID, verifier.against, None, (str(error),))
    if bundle is None:
        return Signed(REVISION, NONE, verifier.against, None)
    return judged(REVISION, bundle, verifier, lambda said: signature.revision_problems(said, revision.digest))


def _of_publisher(model: Model, upload: Mapping[str, Any], verifier: Verifier) -> Signed:
    """Return what the publisher's bundle is worth, by the digests that the upload took.

    the upload's ``digests`` | then
    -------------------------+-----------------------------------------------------
    are not in its receipt   | invalid: nobody asked for them when it was uploaded
    null                     | none: the bundle was not among the files
    a digest                 | the bundle is verified, and compared with them
    """
    file = str(model.signature_beside)
    if "digests" in upload and upload["digests"] is None:
        return Signed(PUBLISHER, NONE, verifier.against, None)
    try:
        published = _published(model, Digest.parse(upload["digests"]))
        if published.bundle is None:
            raise ValueError(f"File {file!r} is no bundle: it has over {LARGEST_PUBLISHED} bytes.")
    except KeyError:
        again = "It was not looked for when the model was uploaded: start a new release."
        return Signed(PUBLISHER, INVALID, verifier.against, None, (again,))
    except (ValueError, TooLargeError) as error:
        return Signed(PUBLISHER, INVALID, verifier.against, None, (str(error),))
    problems = partial(signature.file_problems, files=published.sha256, bundle=file)
    return judged(PUBLISHER, published.bundle, verifier, problems)


def _published(model: Model, digest: Digest) -> Published:
    """Return what the upload has left of that digest.

    :raises ValueError: It is not there, or other than it was.
    """
    data = open_store(model.bucket.url, model.bucket.connection).read(layout.digests_key(model.name, digest), LARGEST)
    if data is None or Digest.of(data) != digest:
        raise ValueError(
            f"What the upload left of it in the bucket, {digest}, {'is gone' if data is None else 'was exchanged'}: "
            "clear the task 'upload'."
        )
    return Published.parse(data)


_LOOK = {REVISION: _of_revision, PUBLISHER: _of_publisher}


def judged(kind: str, bundle: bytes, verifier: Verifier, problems: Callable[[Statement], Iterable[str]]) -> Signed:
    """Return what *bundle* is worth.

    :param problems: Says why what a genuine bundle says is not so.
    """
    try:
        genuine = verifier.verify(bundle)
    except BundleRefusedError as error:
        return Signed(kind, INVALID, verifier.against, None, (str(error),))
    found = tuple(problems(genuine.statement))
    return Signed(kind, INVALID if found else VALID, verifier.against, genuine.by, found)
