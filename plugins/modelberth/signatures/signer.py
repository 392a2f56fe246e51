"""``modelberth sign``: a model-signing bundle over a revision, beside its manifest in the bucket.

What is signed is a directory that holds nothing but manifest.json, whose SHA-256 is the revision.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelberth.core import layout
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.signature import LARGEST_BUNDLE, revision_problems
from modelberth.engine.bucket import read_manifest
from modelberth.engine.stores import open_store
from modelberth.signatures.verifier import BundleRefusedError, by_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.layout import BucketUrl
    from modelberth.core.revision import Revision
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

PASSWORD, TOKEN = "MODELBERTH_KEY_PASSWORD", "SIGSTORE_IDENTITY_TOKEN"
"""Where the key's password and the identity's token are: never on a command line, where every process sees them."""


@dataclass(frozen=True)
class Order:
    """What is to be signed, and with what.

    :param key: The file of a private EC key; None for Sigstore.
    :param certificate: The file of its certificate; *chain* are the files of those between it and the authority.
    :param trust_config: The file that describes a Sigstore of one's own.
    :param replace: Whether to take the place of a signature that is there.
    """

    url: BucketUrl
    revision: Revision
    key: Path | None = None
    certificate: Path | None = None
    chain: Sequence[Path] = ()
    trust_config: Path | None = None
    replace: bool = False


def sign(order: Order, stop: Stop) -> Result:
    """Sign a revision that is in the bucket.

    :raises Failure: It is not there, nothing can sign with what was given, or somebody else has signed it.
    """
    config = _config(order)
    store, revision = open_store(order.url, stop), order.revision
    manifest = read_manifest(store, revision).dump()
    key = layout.signature_key(order.url, revision.model, revision.digest)
    result: Result = {"revision": str(revision), "signature": key}
    if not order.replace and (there := store.read(key, LARGEST_BUNDLE)) is not None:
        _refuse_others(order, key, there)
        return result | {"signed": "already"}
    bundle = _bundle(config, revision, manifest)
    if order.replace:
        store.delete(key)
    if not store.create(key, bundle):
        raise Failure(ExitCode.BUSY, f"Somebody else has signed {revision} just now, at {key!r}: look who it was.")
    return result | {"signed": "now"}


def _config(order: Order) -> Any:
    """Return the library's configuration for signing with what was given.

    :raises Failure: It cannot sign.
    """
    try:
        from model_signing import signing

        config: Any = signing.Config  # its constructor has no annotation
        if order.key is None:
            return _with_sigstore(config(), order.trust_config)
        if order.certificate:
            return config().use_certificate_signer(
                private_key=order.key, signing_certificate=order.certificate, certificate_chain=order.chain
            )
        return config().use_elliptic_key_signer(private_key=order.key, password=_password())
    except ImportError as error:
        raise Failure(
            ExitCode.UNSUPPORTED, f"Nothing can be signed here: {error}. Install model-signing and pyOpenSSL."
        ) from error
    except OSError as error:
        raise Failure(ExitCode.NOT_FOUND, f"What is to sign cannot be read: {error}.") from error
    except (ValueError, TypeError, AttributeError) as error:  # no PEM, no EC key, a password too many or too few
        raise Failure(
            ExitCode.REFUSED,
            f"What was given cannot sign: {error}. Expected the PEM of an EC key on P-256, P-384 or P-521; the "
            f"password of an encrypted one in {PASSWORD}.",
        ) from error


def _with_sigstore(config: Any, trust_config: Path | None) -> Any:
    """Return *config* for signing as who has the identity's token; that asks Sigstore already.

    :raises Failure: It does not answer, or *trust_config* is not there.
    """
    if trust_config and not trust_config.is_file():
        raise Failure(ExitCode.NOT_FOUND, f"What is to sign cannot be read: {str(trust_config)!r} is no file.")
    try:
        return config.use_sigstore_signer(
            identity_token=os.environ.get(TOKEN), use_ambient_credentials=True, trust_config=trust_config
        )
    except Exception as error:  # its network's, TUF's, its issuer's
        raise Failure(
            ExitCode.UNREACHABLE,
            f"Sigstore cannot be asked: {type(error).__name__}: {error}. Without the public instance, name another one "
            "by --trust-config, or sign by --key.",
        ) from error


def _password() -> Any:
    """Return the key's password as the library hands it on: its annotation says text, what it calls wants bytes."""
    return os.environ[PASSWORD].encode() if PASSWORD in os.environ else None


def _refuse_others(order: Order, key: str, bundle: bytes) -> None:
    """Refuse to sign what somebody else has signed.

    :raises Failure: The bundle that is there is not one of this key over this revision.
    """
    why = "only that of a key can be compared"
    if order.key and not order.certificate:
        try:
            problems = revision_problems(by_key(_public(order.key)).verify(bundle).statement, order.revision.digest)
            why = " ".join(problems)
        except BundleRefusedError as error:
            why = str(error)
    if why:
        raise Failure(
            ExitCode.REFUSED,
            f"Revision {order.revision} has a signature already, at {key!r}, which is left as it is: "
            f"{why.rstrip('.')}. Sign with --replace if yours is to take its place.",
        )


def _public(key: Path) -> bytes:
    """Return the public half of a private key that the library has accepted."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    private = load_pem_private_key(key.read_bytes(), _password())
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _bundle(config: Any, revision: Revision, manifest: bytes) -> bytes:
    """Return the bundle that *config* makes over the manifest.

    :raises Failure: Sigstore did not do its part.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory, bundle = Path(folder) / revision.model, Path(folder) / "bundle"
        directory.mkdir()
        (directory / layout.MANIFEST).write_bytes(manifest)
        try:
            config.sign(directory, bundle)
        except Exception as error:  # Sigstore's, its network's, an identity that was refused
            from sigstore.oidc import ExpiredIdentity, IdentityError

            refused = isinstance(error, ExpiredIdentity | IdentityError)
            raise Failure(
                ExitCode.DENIED if refused else ExitCode.UNREACHABLE,
                f"Revision {revision} could not be signed: {type(error).__name__}: {error}.",
            ) from error
        return bundle.read_bytes()
