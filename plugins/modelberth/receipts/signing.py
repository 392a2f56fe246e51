"""Signatures: Ed25519 over the canonical bytes of what is signed, the key in the connection ``modelberth_signing``.

    {"receipt": {"schema": 1, ...}, "signature": {"key_id": "<16 hex>", "ed25519": "<base64 of 64 bytes>"}}

The connection's password is the base64 of the 32-byte private seed. Who can read Airflow's connections can sign: they
are trusted. Who writes to the bucket, to XComs or to tasks' states is not, and cannot.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from modelberth import clients
from modelberth.core import canonical

CONNECTION = "modelberth_signing"
SCHEMA = 1

Body = dict[str, Any]


class EvidenceForgedError(Exception):
    """Something that claims to be evidence is not what this key signed, or is about something else."""


class PublicKey:
    """What verifies; *key_id* is the beginning of the SHA-256 of the raw public key.

    :param text: The base64 of the 32 raw bytes, as ``public_key`` has it: no secret.
    :raises ValueError: It is not.
    """

    def __init__(self, text: str) -> None:
        raw = base64.b64decode(text, validate=True)
        self._public = Ed25519PublicKey.from_public_bytes(raw)
        self.public_key = base64.b64encode(raw).decode()
        self.key_id = hashlib.sha256(raw).hexdigest()[:16]

    def unseal(self, data: bytes, where: str) -> Body:
        """Return the body that *data*, found at *where*, holds.

        :raises EvidenceForgedError: It is not a receipt, or not one that this key signed.
        """
        try:
            document = canonical.load(data)
            body, signature = document["receipt"], document["signature"]
            key_id, signed = signature["key_id"], base64.b64decode(signature["ed25519"], validate=True)
            if document.keys() != {"receipt", "signature"} or body["schema"] != SCHEMA:
                raise ValueError("it has unknown parts")
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise EvidenceForgedError(f"Receipt {where} is not one: {error}. It is not believed.") from error
        # Whole and in its one spelling: another key_id or other bits in base64's last digit would be another file.
        genuine = signature == {"key_id": self.key_id, "ed25519": base64.b64encode(signed).decode()}
        if not genuine or not self._signed(signed, canonical.dump(body)):
            raise EvidenceForgedError(
                f"Receipt {where} does not bear the signature of key {self.key_id} (it names {key_id!r}): "
                f"it was changed, or signed with another key than the one in connection {CONNECTION!r}."
            )
        return dict(body)

    def _signed(self, signature: bytes, data: bytes) -> bool:
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey(PublicKey):
    """One key pair.

    :param seed: The 32 raw bytes of the private key.
    """

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        super().__init__(base64.b64encode(self._private.public_key().public_bytes_raw()).decode())

    def seal(self, body: Body) -> bytes:
        """Return *body* with its signature, in canonical form."""
        body = {"schema": SCHEMA, **body}
        signature = base64.b64encode(self._private.sign(canonical.dump(body))).decode()
        return canonical.dump({"receipt": body, "signature": {"key_id": self.key_id, "ed25519": signature}})


def signing_key() -> SigningKey:
    """Return the key in the connection ``modelberth_signing``.

    :raises ValueError: The connection holds no such key.
    """
    password = clients.connection(CONNECTION).password or ""
    try:
        seed = base64.b64decode(password, validate=True)
        return SigningKey(seed)
    except ValueError:
        # Neither the value nor the cause is shown: both are about the secret.
        raise ValueError(
            f"Connection {CONNECTION!r} holds no signing key: expected the base64 of 32 random bytes as its password."
        ) from None
