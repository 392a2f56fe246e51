"""Certificates stay while they fit: programs that run drop connections when they change."""

from __future__ import annotations

import stat
from datetime import timedelta
from typing import TYPE_CHECKING

import certificates
import pytest
from certificates import Authority
from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "pki")
    authority.create()
    return authority


def test_names_users_groups_and_addresses(authority: Authority) -> None:
    path, _ = authority.issue("api", "kube-apiserver", ("a-group",), ("10.87.0.2", "kubernetes"))
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=kube-apiserver,O=a-group"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["10.87.0.2", "kubernetes"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.read_bytes()))


@pytest.mark.parametrize(
    ("again", "same"),
    [
        (("user", ("group",), ("10.87.0.2",)), True),
        (("user", ("group",), ("10.87.0.6",)), False),
        (("user", ("group",), ()), False),
        (("other", ("group",), ("10.87.0.2",)), False),
        (("user", (), ("10.87.0.2",)), False),
    ],
)
def test_is_kept_only_while_it_fits(
    authority: Authority, again: tuple[str, tuple[str], tuple[str]], same: bool
) -> None:
    path, _ = authority.issue("name", "user", ("group",), ("10.87.0.2",))
    before = path.read_bytes()
    authority.issue("name", *again)
    assert (path.read_bytes() == before) is same


def test_about_to_expire_is_replaced(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LIFETIME", timedelta(hours=2))
    path, _ = authority.issue("name", "user")
    before = path.read_bytes()
    authority.issue("name", "user")
    assert path.read_bytes() != before


def test_authority_is_made_once(authority: Authority) -> None:
    before = authority.certificate.read_bytes()
    authority.create()
    assert authority.certificate.read_bytes() == before


def test_keys_are_readable_by_their_owner_only(authority: Authority) -> None:
    authority.issue("name", "user")
    for key in authority.folder.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
