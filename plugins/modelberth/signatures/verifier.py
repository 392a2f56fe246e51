"""The library's part: whether a bundle was made by who is asked for, and what it says.

The library's own ``verify`` reads the files that a bundle names, which are not on this machine; so its verifiers are
used one floor below, where they return what was signed. That floor is not its stable one: its version is pinned.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelberth.core.digest import Digest
from modelberth.core.refusing import size_problems
from modelberth.core.signature import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BOUNDS = {b"{": 1000, b"[": 1000}
"""What a bundle has of these outside of what was signed, which is only parsed once its signature is proven."""


class VerifierUnusableError(Exception):
    """What the catalog names cannot verify anything, or the library is not here. Trying again does not help."""


class VerifierUnreachableError(Exception):
    """Sigstore's trusted root could not be had. Trying again may help."""


class BundleRefusedError(Exception):
    """The bundle is none, or not by who is asked for."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """What a bundle says that is genuine, and who made it."""

    statement: Statement
    by: str


class _Verifies(Protocol):
    def verify(self, signature: Any) -> Any: ...


class Verifier:
    """Verifies bundles in one way.

    :param against: What it verifies with, for the reader.
    :param library: The library's verifier of that kind.
    :param read: The library's reader of such bundles.
    :param signer: Says who made a bundle that was proven.
    """

    def __init__(
        self, against: str, library: _Verifies, read: Callable[[Path], Any], signer: Callable[[Any], str]
    ) -> None:
        self.against = against
        self._library, self._read, self._signer = library, read, signer

    def verify(self, bundle: bytes) -> Genuine:
        """Return what *bundle* says.

        :raises BundleRefusedError: It cannot be believed.
        """
        if problems := size_problems(bundle, _BOUNDS):
            raise BundleRefusedError(f"It is no bundle: {' '.join(problems)}")
        try:
            with _file(bundle) as path:
                signature = self._read(path)
            statement = _statement(self._library.verify(signature))
            return Genuine(statement, self._signer(signature))
        except BundleRefusedError:
            raise
        except Exception as error:  # the library's, pydantic's, OpenSSL's, json's: hostile bytes do what they like
            raise BundleRefusedError(f"It is not by {self.against}, or no bundle: {_said(error)}.") from error


def by_key(pem: bytes) -> Verifier:
    """Return what verifies with the public key that *pem* is.

    :raises VerifierUnusableError: It is none that can be used.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
    from model_signing._signing import sign_ec_key, sign_sigstore_pb

    try:
        with _file(pem) as path:
            library = sign_ec_key.Verifier(path)
        info = load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, AttributeError, TypeError) as error:  # a key of another kind has no curve
        raise VerifierUnusableError(
            f"The signature's 'key' is no public key that can be used: {_said(error)}. Expected the PEM of an EC key "
            "on P-256, P-384 or P-521."
        ) from error
    against = f"key {Digest.of(info)}"
    return Verifier(against, library, sign_sigstore_pb.Signature.read, lambda _: against)


def by_certificates(pem: bytes) -> Verifier:
    """Return what verifies with the certificates of the authorities that *pem* are.

    :raises VerifierUnusableError: They are none.
    """
    from model_signing._signing import sign_certificate, sign_sigstore_pb

    try:
        with _file(pem) as path:
            library = sign_certificate.Verifier([path])
    except ValueError as error:
        raise VerifierUnusableError(
            f"The signature's 'certificates' are none: {_said(error)}. Expected the PEM of the authorities."
        ) from error
    return Verifier(f"certificates {Digest.of(pem)}", library, sign_sigstore_pb.Signature.read, _certified)


def _certified(signature: Any) -> str:
    """Return whose certificate a bundle was made with.

    The library looks whether the chain was good on the certificate's first day. A bundle holds no proof of when it was
    made: with a certificate that has expired, it may have been made by who found an old key.

    :raises BundleRefusedError: The certificate has expired, or is not valid yet.
    """
    from cryptography import x509

    raw = signature.bundle.verification_material.x509_certificate_chain.certificates[0].raw_bytes
    leaf, now = x509.load_der_x509_certificate(raw), datetime.now(UTC)
    by = f"certificate {leaf.subject.rfc4514_string()!r} ({Digest.of(raw)})"
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise BundleRefusedError(
            f"Its {by} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d} only, "
            "and nothing proves when it was used: sign again with one that is valid."
        )
    return by


def by_identity(identity: str, issuer: str, trusted_root: Path | None) -> Verifier:
    """Return what verifies that Sigstore has certified *identity*, by the word of *issuer*.

    :raises VerifierUnusableError: The trusted root is none.
    :raises VerifierUnreachableError: The public one could not be had.
    """
    from model_signing._signing import sign_sigstore, signing
    from sigstore.verify import policy

    class Keyless(signing.Verifier):  # the library's own wants a whole client configuration
        def __init__(self) -> None:
            self._sigstore = _sigstore(trusted_root)
            self._policy = policy.Identity(identity=identity, issuer=issuer)

        def _verify_signed_content(self, signature: Any) -> tuple[str, bytes]:
            found: tuple[str, bytes] = self._sigstore.verify_dsse(signature.bundle, self._policy)
            return found

    against = f"identity {identity} ({issuer})"
    return Verifier(against, Keyless(), sign_sigstore.Signature.read, lambda _: against)


def _sigstore(trusted_root: Path | None) -> Any:
    """Return Sigstore's verifier: with the trusted root in a file, or with the public instance's, which it fetches."""
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier as Sigstore

    if trusted_root:
        try:
            return Sigstore(trusted_root=TrustedRoot.from_file(str(trusted_root)))
        except Exception as error:
            raise VerifierUnusableError(
                f"The signature's 'trusted_root' cannot be used: {trusted_root}: {_said(error)}. Expected a "
                "trusted_root.json."
            ) from error
    try:
        return Sigstore.production()
    except Exception as error:
        raise VerifierUnreachableError(
            f"Sigstore's trusted root could not be had: {_said(error)}. Without a network, name a 'trusted_root'."
        ) from error


@contextmanager
def _file(data: bytes) -> Iterator[Path]:
    """Yield a file with *data*: the library reads nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        path.write_bytes(data)
        yield path


def _statement(manifest: Any) -> Statement:
    """Return the library's manifest as ours."""
    form = manifest.serialization_type
    items = {one.identifier: one.digest for one in manifest.resource_descriptors()}
    resources = {name: (digest.algorithm, digest.digest_hex) for name, digest in items.items()}
    return Statement(form["method"], resources, tuple(form.get("ignore_paths", ())))


def _said(error: Exception) -> str:
    """Return what *error* says in one line; some say nothing."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
