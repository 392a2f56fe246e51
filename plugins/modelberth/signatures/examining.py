"""What is known of the signatures of what a release has uploaded: looked at, and put on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core import layout, signature
from modelberth.core.revision import Revision
from modelberth.core.signature import INVALID, LARGEST_BUNDLE, NONE, REVISION, VALID, Signed
from modelberth.receipts import TooLargeError, open_store
from modelberth.receipts.signed import read_signed, write_signed
from modelberth.signatures.configured import verifier_of
from modelberth.signatures.verifier import BundleRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    revision = Revision.parse(evidence.read("upload")["revision"])
    verifiers = {kind: verifier_of(asked) for kind, asked in model.signatures.items()}
    against = {kind: verifier.against for kind, verifier in verifiers.items()}
    found = {one.kind: one for one in signature.merged(read_signed(evidence, revision), against)}
    for kind, verifier in verifiers.items():
        if kind not in found:
            found[kind] = _LOOK[kind](model, revision, verifier)
    signed = [found[kind] for kind in verifiers]
    write_signed(evidence, revision, signed)
    return signed


def _of_revision(model: Model, revision: Revision, verifier: Verifier) -> Signed:
    store = open_store(model.bucket.url, model.bucket.connection)
    key = layout.signature_key(_HERE, model.name, revision.digest)
    try:
        bundle = store.read(key, LARGEST_BUNDLE)
    except TooLargeError as error:
        return Signed(REVISION, INVALID, verifier.against, None, (str(error),))
    if bundle is None:
        return Signed(REVISION, NONE, verifier.against, None)
    return judged(REVISION, bundle, verifier, lambda said: signature.revision_problems(said, revision.digest))


_LOOK = {REVISION: _of_revision}


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
