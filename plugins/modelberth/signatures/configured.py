"""What verifies as a model's file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.catalog import PROJECT
from modelberth.signatures.verifier import VerifierUnusableError, by_certificates, by_identity, by_key

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.catalog.signature import Signature
    from modelberth.signatures.verifier import Verifier


def verifier_of(asked: Signature) -> Verifier:
    """Return what verifies as the catalog says.

    :raises VerifierUnusableError: A file is missing, a key is none, or the library is not installed.
    :raises VerifierUnreachableError: Sigstore's trusted root could not be had.
    """
    try:
        if asked.key:
            return by_key(_pem("key", asked.key))
        if asked.certificates:
            return by_certificates(_pem("certificates", asked.certificates))
        return by_identity(str(asked.identity), str(asked.issuer), _path(asked.trusted_root))
    except ImportError as error:
        raise VerifierUnusableError(
            f"Signatures cannot be verified here: {error}. Install what requirements.txt has for them: model-signing "
            "and pyOpenSSL."
        ) from error


def _pem(key: str, text: str) -> bytes:
    """Return the PEM that *text* is, or that is in the file of that path."""
    if "-----BEGIN " in text:
        return text.encode()
    path = PROJECT / text
    try:
        return path.read_bytes()
    except OSError as error:
        raise VerifierUnusableError(
            f"The signature's {key!r} cannot be read: {path}: {error.strerror}. Put the PEM file there, on every "
            "worker, or into the catalog itself: it is no secret."
        ) from error


def _path(text: str | None) -> Path | None:
    return PROJECT / text if text else None
