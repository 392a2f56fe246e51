"""The local cluster's certificates: one authority, made once, and what it signs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

LIFETIME = timedelta(days=3650)


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder: ``ca.crt`` and ``ca.key``, and ``<name>.crt``, ``<name>.key`` of the signed.

    :param folder: Readable by root only; keys are never anywhere else.
    """

    folder: Path

    @property
    def certificate(self) -> Path:
        """What those who trust the authority need."""
        return self.folder / "ca.crt"

    def create(self) -> None:
        """Make the authority, unless it is there."""
        if self.certificate.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        name = subject("modelberth-local", ())
        builder = unsigned(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        write_key(self.folder / "ca.key", key)
        self.certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, user: str, groups: tuple[str, ...] = (), addresses: tuple[str, ...] = ()
    ) -> tuple[Path, Path]:
        """
        Sign a certificate for a client, and for a server when it has addresses; keep the one that is there if it fits.

        Programs read their certificates again when the files change, and drop connections: so fitting ones stay.

        :param user: Common name, which Kubernetes reads as the user's name.
        :param groups: Organisations, which Kubernetes reads as the user's groups.
        :param addresses: IP addresses and DNS names that the server answers at.
        :returns: The files of the certificate and of its key.
        """
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        alternatives = x509.SubjectAlternativeName([alternative(address) for address in addresses])
        if not fits(certificate, subject(user, groups), alternatives):
            self.sign(certificate, key, subject(user, groups), alternatives)
        return certificate, key

    def sign(self, certificate: Path, key: Path, name: x509.Name, alternatives: x509.SubjectAlternativeName) -> None:
        """Write a new key, then its certificate: what is killed between the two leaves no certificate that fits."""
        authority = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        signer = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101  (create() makes no other)
        private = ec.generate_private_key(ec.SECP256R1())
        server = len(list(alternatives)) > 0
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + [ExtendedKeyUsageOID.SERVER_AUTH] * server
        builder = unsigned(name, authority.subject, private)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if server:
            builder = builder.add_extension(alternatives, critical=False)
        certificate.unlink(missing_ok=True)
        write_key(key, private)
        certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def fits(path: Path, name: x509.Name, alternatives: x509.SubjectAlternativeName) -> bool:
    """Say whether a certificate is there, is for this name and these addresses, and lasts another day."""
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        named = x509.SubjectAlternativeName([])
    lasts = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1)
    return certificate.subject == name and named == alternatives and lasts


def create_signing_key(path: Path) -> Path:
    """Make the key that signs service account tokens, unless it is there: tokens outlive restarts."""
    if not path.exists():
        write_key(path, ec.generate_private_key(ec.SECP256R1()))
    return path


def unsigned(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """Return a certificate with everything but its extensions."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def subject(user: str, groups: tuple[str, ...]) -> x509.Name:
    """Return a name as Kubernetes reads it."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def alternative(address: str) -> x509.GeneralName:
    """Return an address as a certificate names it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
