"""Who signs models in tests: an EC key, and authorities with certificates; bundles are made by the real library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from model_signing import signing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DAY = timedelta(days=1)


@dataclass(frozen=True)
class KeyPair:
    """A private key in one file, its public half in another."""

    private: Path
    public: Path

    @classmethod
    def make(cls, folder: Path, name: str = "key", key: PrivateKeyTypes | None = None) -> KeyPair:
        folder.mkdir(parents=True, exist_ok=True)
        key = key or ec.generate_private_key(ec.SECP256R1())
        pair = cls(folder / f"{name}.pem", folder / f"{name}.pub")
        pair.private.write_bytes(private_pem(key))
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        pair.public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, info))
        return pair

    def sign(self, directory: Path) -> bytes:
        """Return a bundle over the files of *directory*, as a publisher makes it."""
        return signed(directory, signing.Config().use_elliptic_key_signer(private_key=self.private))


def signed(directory: Path, config: signing.Config) -> bytes:
    """Return the bundle that *config* makes over *directory*."""
    bundle = directory.parent / f"{directory.name}.bundle"
    config.sign(directory, bundle)
    return bundle.read_bytes()


def private_pem(key: Any) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@dataclass(frozen=True)
class Certified:
    """A signer whose certificate an authority issued, through an intermediate one."""

    key: Path
    certificate: Path
    chain: Path
    root: Path

    @classmethod
    def make(cls, folder: Path, name: str = "release", valid: tuple[timedelta, timedelta] = (-DAY, DAY)) -> Certified:
        """Return one whose certificate is valid from now + *valid*[0] to now + *valid*[1]."""
        folder.mkdir(parents=True, exist_ok=True)
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
        always = (-1000 * DAY, 1000 * DAY)
        root = issued("root", keys[0], ("root", keys[0]), always, depth=1)
        between = issued("between", keys[1], ("root", keys[0]), always, depth=0)
        leaf = issued(name, keys[2], ("between", keys[1]), valid)
        one = cls(*(folder / f"{name}.{end}" for end in ("key", "crt", "chain", "root")))
        one.key.write_bytes(private_pem(keys[2]))
        for path, certificate in ((one.certificate, leaf), (one.chain, between), (one.root, root)):
            path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return one

    def sign(self, directory: Path) -> bytes:
        config = signing.Config().use_certificate_signer(
            private_key=self.key, signing_certificate=self.certificate, certificate_chain=[self.chain]
        )
        return signed(directory, config)


def issued(
    name: str, key: Any, issuer: tuple[str, Any], valid: tuple[timedelta, timedelta], depth: int | None = None
) -> x509.Certificate:
    """Return a certificate of *key*; *depth* is that of an authority, None is for a signer."""
    now, ca = datetime.now(UTC), depth is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=ca, path_length=depth), critical=True)
        .add_extension(usage(ca=ca), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.sign(issuer[1], hashes.SHA256())


def usage(*, ca: bool) -> x509.KeyUsage:
    off = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    return x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, decipher_only=False, **off)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def sign_in_bucket(bucket: str, revision: str, key: KeyPair) -> Any:
    """Sign as a person does, with the credentials of who may write to *bucket*; return what the program says."""
    env = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"],
        "AWS_REGION": "us-east-1",
    }
    words = ["sign", f"s3://{bucket}/models", "--revision", revision, "--key", str(key.private)]
    program = str(Path(sys.executable).parent / "modelberth")
    done = subprocess.run([program, *words], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
