"""A Sigstore in a test: an authority that certifies identities, its two logs, and bundles as its clients make them.

Its keys and certificates are real, and what it makes is verified by the real client from its ``trusted_root.json``:
certificate chain, the certificate log's promise (SCT), the transparency log's entry, checkpoint and promise (SET).
Formats: RFC 6962 for the logs, https://docs.sigstore.dev/about/bundle/ for the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.protobuf import json_format
from model_signing import hashing
from model_signing._signing.signing import Payload

from signers import DAY, named, usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
SCT_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def public(key: Any) -> bytes:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, info)


def log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(public(key.public_key())).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class SmallSigstore:
    """One instance; another one has other keys, and is believed by nobody who trusts this one."""

    authority: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificates: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    transparency: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def trusted_root(self) -> str:
        """Return what a client needs to believe this instance."""
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [self._log("https://rekor.test", self.transparency)],
                "ctlogs": [self._log("https://ct.test", self.certificates)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "test", "commonName": "fulcio"},
                        "uri": "https://fulcio.test",
                        "certChain": {"certificates": [{"rawBytes": b64(self._der(self.root))}]},
                        "validFor": {"start": "2020-01-01T00:00:00Z"},
                    }
                ],
            }
        )

    def _log(self, url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        valid = {"start": "2020-01-01T00:00:00Z"}
        details = {
            "rawBytes": b64(public(key.public_key())),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": valid,
        }
        identity = {"keyId": b64(log_id(key))}
        return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": details, "logId": identity}

    @staticmethod
    def _der(certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(serialization.Encoding.DER)

    @property
    def root(self) -> x509.Certificate:
        """The authority's own certificate."""
        builder = self._unsigned("fulcio", self.authority.public_key(), -100 * DAY, 100 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage(ca=True), critical=True)
        return builder.sign(self.authority, hashes.SHA256())

    def _unsigned(self, name: str, key: Any, begin: timedelta, end: timedelta) -> x509.CertificateBuilder:
        now, ours = datetime.now(UTC), self.authority.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(named(name) if name else x509.Name([]))
            .issuer_name(named("fulcio"))
            .public_key(key)
            .serial_number(int.from_bytes(hashlib.sha256(public(key)).digest()[:8]))
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )

    def certify(self, key: Any, identity: str, issuer: str) -> x509.Certificate:
        """Return the certificate, for ten minutes, of who *issuer* says is *identity*, with the log's promise in it."""
        builder = self._unsigned("", key, timedelta(minutes=-1), timedelta(minutes=9))
        builder = builder.add_extension(usage(ca=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        alternative = x509.SubjectAlternativeName([x509.RFC822Name(identity)])
        builder = builder.add_extension(alternative, critical=True)
        builder = builder.add_extension(x509.UnrecognizedExtension(ISSUER_OID, issuer.encode()), critical=False)
        promised = self._promise(builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes)
        return builder.add_extension(promised, critical=False).sign(self.authority, hashes.SHA256())

    def _promise(self, certificate: bytes) -> x509.UnrecognizedExtension:
        """Return the extension by which the log promises to list what will be *certificate* but for the extension."""
        at = int(datetime.now(UTC).timestamp() * 1000)
        entry = log_id(self.authority) + len(certificate).to_bytes(3) + certificate
        signed = signature(self.certificates, struct.pack("!BBQH", 0, 0, at, 1) + entry + b"\0\0")
        promise = struct.pack("!B32sQH", 0, log_id(self.certificates), at, 0)
        promise += struct.pack("!BBH", 4, 3, len(signed)) + signed  # SHA-256, ECDSA
        listed = struct.pack("!HH", len(promise) + 2, len(promise)) + promise
        return x509.UnrecognizedExtension(SCT_OID, b"\x04" + _length(len(listed)) + listed)

    def sign(self, directory: Path, identity: str, issuer: str, at: datetime | None = None) -> bytes:
        """Return a bundle over the files of *directory*, logged *at* a time, by default now."""
        key = new_key()
        certificate = self.certify(key.public_key(), identity, issuer)
        payload = json_format.MessageToJson(Payload(hashing.hash(directory)).statement.pb).encode()
        signed = signature(key, f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload)
        envelope = {"payload": b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": b64(signed)}]}
        material = {
            "certificate": {"rawBytes": b64(self._der(certificate))},
            "tlogEntries": [self._entry(certificate, payload, signed, int((at or datetime.now(UTC)).timestamp()))],
        }
        bundle = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        }
        return json.dumps(bundle).encode()

    def _entry(self, certificate: x509.Certificate, payload: bytes, signed: bytes, at: int) -> dict[str, Any]:
        """Return the entry of a log that has no other."""
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return self.log(pem, payload, b64(signed), at)

    def log(self, pem: bytes, payload: bytes, signed: str, at: int) -> dict[str, Any]:
        """Return the entry, as bundles have it, of what the certificate *pem* has *signed*."""
        digest = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
        spec = {
            "envelopeHash": digest,
            "payloadHash": digest,
            "signatures": [{"signature": signed, "verifier": b64(pem)}],
        }
        body = canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        root, ours = hashlib.sha256(b"\0" + body).digest(), log_id(self.transparency)
        promised = {"body": b64(body), "integratedTime": at, "logID": ours.hex(), "logIndex": 0}
        note = f"rekor.test\n1\n{b64(root)}\n"
        seal = b64(ours[:4] + signature(self.transparency, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(ours)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(at),
            "inclusionPromise": {"signedEntryTimestamp": b64(signature(self.transparency, canonical(promised)))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n— rekor.test {seal}\n"},
            },
            "canonicalizedBody": b64(body),
        }


def _length(count: int) -> bytes:
    """Return a length as DER writes it."""
    return bytes([count]) if count < 128 else b"\x81" + bytes([count])


def trust_config(sigstore: SmallSigstore, url: str) -> str:
    """Return what a client needs to sign with this instance, which is served at *url*."""
    service = [{"url": url, "majorApiVersion": 1, "validFor": {"start": "2020-01-01T00:00:00Z"}, "operator": "test"}]
    signing = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": service,
        "oidcUrls": service,
        "rekorTlogUrls": service,
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaConfig": {"selector": "ANY"},
    }
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": json.loads(sigstore.trusted_root()),
            "signingConfig": signing,
        }
    )


def token(identity: str, issuer: str) -> str:
    """Return what *issuer* gives to who it knows as *identity*."""
    now = int(datetime.now(UTC).timestamp())
    claims = {"sub": identity, "iss": issuer, "aud": "sigstore", "iat": now, "exp": now + 60}
    return jwt.encode(claims, "a secret of the issuer, of 32 bytes", algorithm="HS256")


@contextmanager
def served(sigstore: SmallSigstore) -> Iterator[str]:
    """Serve what clients ask to sign: the issuer's configuration, the authority and the log; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, {"authorization_endpoint": "http://x", "token_endpoint": "http://x"})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(201, self._certificate(asked) if "signingCert" in self.path else self._entry(asked))

        def _certificate(self, asked: Any) -> Any:
            claims = jwt.decode(self.headers["Authorization"].split()[1], options={"verify_signature": False})
            request = x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"]))
            made = sigstore.certify(request.public_key(), claims["sub"], claims["iss"])
            chain = [one.public_bytes(serialization.Encoding.PEM).decode() for one in (made, sigstore.root)]
            return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

        def _entry(self, asked: Any) -> Any:
            proposed = asked["spec"]["proposedContent"]
            envelope, [verifier] = json.loads(proposed["envelope"]), proposed["verifiers"]
            payload, signed = base64.b64decode(envelope["payload"]), envelope["signatures"][0]["sig"]
            entry = sigstore.log(base64.b64decode(verifier), payload, signed, int(datetime.now(UTC).timestamp()))
            proof = entry["inclusionProof"]
            return {
                "0": {
                    "body": entry["canonicalizedBody"],
                    "integratedTime": int(entry["integratedTime"]),
                    "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
                    "logIndex": 0,
                    "verification": {
                        "inclusionProof": {
                            "checkpoint": proof["checkpoint"]["envelope"],
                            "hashes": [],
                            "logIndex": 0,
                            "rootHash": base64.b64decode(proof["rootHash"]).hex(),
                            "treeSize": 1,
                        },
                        "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                    },
                }
            }

        def _answer(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
