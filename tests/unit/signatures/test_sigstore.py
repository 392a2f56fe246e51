"""Sigstore identities: verified offline by the real client, from the trusted root of an instance in the test."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode
from modelberth.core.signature import revision_problems
from modelberth.engine import cli
from modelberth.signatures.program import _sign
from modelberth.signatures.verifier import (
    BundleRefusedError,
    VerifierUnreachableError,
    VerifierUnusableError,
    by_identity,
)
from small_sigstore import SmallSigstore, served, token, trust_config

WHO, ISSUER = "release@example.org", "https://accounts.example.org"
MANIFEST = b'{"files":[]}'


@pytest.fixture(scope="module")
def sigstore():
    return SmallSigstore()


@pytest.fixture
def trusted_root(tmp_path, sigstore):
    path = tmp_path / "trusted_root.json"
    path.write_text(sigstore.trusted_root())
    return path


@pytest.fixture
def directory(tmp_path):
    folder = tmp_path / "revision"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(MANIFEST)
    return folder


def test_who_is_asked_for_has_signed(sigstore, trusted_root, directory):
    genuine = by_identity(WHO, ISSUER, trusted_root).verify(sigstore.sign(directory, WHO, ISSUER))
    assert genuine.by == f"identity {WHO} ({ISSUER})"
    assert revision_problems(genuine.statement, Digest.of(MANIFEST)) == []


@pytest.mark.parametrize(
    ("identity", "issuer", "said"),
    [
        ("mallory@example.org", ISSUER, "SANs do not match"),
        (WHO, "https://evil.example.org", "OIDCIssuer does not match"),
    ],
)
def test_another_identity_and_another_issuer_are_refused(sigstore, trusted_root, directory, identity, issuer, said):
    with pytest.raises(BundleRefusedError, match=said):
        by_identity(WHO, ISSUER, trusted_root).verify(sigstore.sign(directory, identity, issuer))


def test_another_instance_is_not_believed(trusted_root, directory):
    with pytest.raises(BundleRefusedError, match="failed to build timestamp certificate chain"):
        by_identity(WHO, ISSUER, trusted_root).verify(SmallSigstore().sign(directory, WHO, ISSUER))


def test_a_signature_from_after_the_certificates_ten_minutes_is_refused(sigstore, trusted_root, directory):
    late = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(BundleRefusedError, match="CertValidationError"):
        by_identity(WHO, ISSUER, trusted_root).verify(sigstore.sign(directory, WHO, ISSUER, late))


@pytest.mark.parametrize(
    "path",
    [
        ("dsseEnvelope", "payload"),
        ("dsseEnvelope", "signatures", 0, "sig"),
        ("verificationMaterial", "tlogEntries", 0, "canonicalizedBody"),
        ("verificationMaterial", "tlogEntries", 0, "inclusionProof", "rootHash"),
        ("verificationMaterial", "tlogEntries", 0, "inclusionPromise", "signedEntryTimestamp"),
        ("verificationMaterial", "certificate", "rawBytes"),
    ],
)
def test_each_part_of_a_bundle_must_be_of_this_signature(sigstore, trusted_root, directory, path):
    bundle = json.loads(sigstore.sign(directory, WHO, ISSUER))
    (directory / "manifest.json").write_bytes(b"other")
    other = json.loads(sigstore.sign(directory, WHO, ISSUER))
    *above, last = path
    ours, theirs = bundle, other
    for step in above:
        ours, theirs = ours[step], theirs[step]
    ours[last] = theirs[last]
    with pytest.raises(BundleRefusedError, match=f"It is not by identity {WHO}"):
        by_identity(WHO, ISSUER, trusted_root).verify(json.dumps(bundle).encode())


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"mediaType": "x"}', None])
def test_a_trusted_root_that_is_none_is_said(tmp_path, text):
    path = tmp_path / "root.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(VerifierUnusableError, match=r"'trusted_root' cannot be used: .*Expected a trusted_root"):
        by_identity(WHO, ISSUER, path)


def test_without_a_network_and_a_trusted_root_it_may_be_tried_again(monkeypatch, tmp_path):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(VerifierUnreachableError, match="Without a network, name a 'trusted_root'"):
        by_identity(WHO, ISSUER, None)


# --- signing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sign(tmp_path, capsys):
    """Uploads a model and signs its revision as who the environment's token is of; returns code, result and bundle."""

    def run(*words):
        (tmp_path / "model").mkdir()
        (tmp_path / "model/weights.bin").write_bytes(b"weights")
        (tmp_path / "bucket").mkdir()
        bucket = f"file://{tmp_path}/bucket"
        cli.run(["upload", str(tmp_path / "model"), bucket, "--model", "minilm"])
        revision = json.loads(capsys.readouterr().out.splitlines()[-1])["revision"]
        words = ("sign", bucket, "--revision", revision, "--sigstore", *map(str, words))
        code = cli.run(words, {"sign": _sign})
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        return code, result, next((path.read_bytes() for path in tmp_path.rglob("*.sig")), None)

    return run


def test_who_has_an_identitys_token_signs_as_it(sign, sigstore, trusted_root, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGSTORE_IDENTITY_TOKEN", token(WHO, ISSUER))
    with served(sigstore) as url:
        (tmp_path / "config.json").write_text(trust_config(sigstore, url))
        code, result, bundle = sign("--trust-config", tmp_path / "config.json")
    assert (code, result.get("signed")) == (0, "now"), result
    genuine = by_identity(WHO, ISSUER, trusted_root).verify(bundle)
    assert revision_problems(genuine.statement, Digest.parse(result["revision"].partition("@")[2])) == []


def test_a_token_that_is_none_is_refused_and_not_repeated(sign, sigstore, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGSTORE_IDENTITY_TOKEN", "hunter2")
    with served(sigstore) as url:
        (tmp_path / "config.json").write_text(trust_config(sigstore, url))
        code, result, bundle = sign("--trust-config", tmp_path / "config.json")
    assert (code, bundle) == (ExitCode.DENIED, None)
    assert "Identity token is malformed" in result["problems"][0]
    assert "hunter2" not in json.dumps(result)


def test_a_sigstore_that_does_not_answer_is_said(sign, sigstore, tmp_path):
    (tmp_path / "config.json").write_text(trust_config(sigstore, "http://127.0.0.1:9"))
    code, result, bundle = sign("--trust-config", tmp_path / "config.json")
    assert (code, bundle) == (ExitCode.UNREACHABLE, None)
    assert "Sigstore cannot be asked: " in result["problems"][0]


def test_a_trust_config_that_is_not_there_is_said(sign, tmp_path):
    assert sign("--trust-config", tmp_path / "nowhere")[0] == ExitCode.NOT_FOUND
