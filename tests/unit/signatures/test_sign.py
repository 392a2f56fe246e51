"""``modelberth sign``: a revision in a bucket gets the bundle that a release asks for."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from modelberth.core.failure import ExitCode
from modelberth.core.revision import Revision
from modelberth.core.signature import revision_problems
from modelberth.engine import cli
from modelberth.signatures.program import _sign
from modelberth.signatures.verifier import BundleRefusedError, by_certificates, by_key
from signers import Certified, KeyPair
from small_sigstore import SmallSigstore, served, trust_config


@pytest.fixture
def run(capsys):
    """Runs a command of the program; returns its exit code and its result."""

    def call(*words):
        code = cli.run(list(map(str, words)), {"sign": _sign})
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


@pytest.fixture
def bucket(tmp_path):
    """The URL of a bucket."""
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


@pytest.fixture
def revision(tmp_path, bucket, run):
    """A revision that is in the bucket."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_bytes(b"weights")
    _, result = run("upload", tmp_path / "model", bucket, "--model", "minilm")
    return Revision.parse(result["revision"])


@pytest.fixture
def sign(run, bucket, revision):
    """Signs that revision."""
    return lambda *words: run("sign", bucket, "--revision", revision, *words)


@pytest.fixture
def bundle_path(tmp_path, revision):
    """Where a signature is to be."""
    return tmp_path / "bucket/minilm/revisions" / revision.digest.hex / "manifest.json.sig"


@pytest.fixture
def bundle(bundle_path):
    """Reads what is beside the manifest."""
    return bundle_path.read_bytes


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return KeyPair.make(tmp_path_factory.mktemp("key"))


def test_what_a_key_signed_is_valid_by_its_public_half(sign, bundle, key, revision):
    code, result = sign("--key", key.private)
    assert (code, result["signed"], result["revision"]) == (0, "now", str(revision))
    genuine = by_key(key.public.read_bytes()).verify(bundle())
    assert revision_problems(genuine.statement, revision.digest) == []


def test_the_models_bytes_are_neither_needed_nor_read(sign, key, tmp_path):
    (data,) = (tmp_path / "bucket").rglob("weights.bin")
    data.unlink()
    assert sign("--key", key.private)[0] == 0


def test_what_a_certificate_signed_is_valid_by_its_authority(sign, bundle, tmp_path, revision):
    signer = Certified.make(tmp_path / "pki")
    sign("--key", signer.key, "--certificate", signer.certificate, "--chain", signer.chain)
    genuine = by_certificates(signer.root.read_bytes()).verify(bundle())
    assert revision_problems(genuine.statement, revision.digest) == []


def test_a_key_signs_once(sign, bundle, key):
    sign("--key", key.private)
    first = bundle()
    assert sign("--key", key.private)[1]["signed"] == "already"
    assert bundle() == first


def test_somebody_elses_signature_is_left_as_it_is_unless_it_is_to_be_replaced(sign, bundle, key, tmp_path):
    other = KeyPair.make(tmp_path / "other")
    sign("--key", other.private)
    code, result = sign("--key", key.private)
    assert code == ExitCode.REFUSED
    assert "has a signature already" in result["problems"][0]
    by_key(other.public.read_bytes()).verify(bundle())
    assert sign("--key", key.private, "--replace")[1]["signed"] == "now"
    with pytest.raises(BundleRefusedError):
        by_key(other.public.read_bytes()).verify(bundle())


def test_an_empty_file_in_the_place_of_a_signature_is_somebody_elses(sign, bundle, key, bundle_path):
    bundle_path.touch()
    assert sign("--key", key.private)[0] == ExitCode.REFUSED
    assert sign("--key", key.private, "--replace")[1]["signed"] == "now"


def test_a_signature_is_only_taken_away_when_there_is_another(sign, bundle, key, tmp_path, monkeypatch):
    sign("--key", key.private)
    first, sigstore = bundle(), SmallSigstore()
    monkeypatch.setenv("SIGSTORE_IDENTITY_TOKEN", "none")
    with served(sigstore) as url:
        (tmp_path / "config.json").write_text(trust_config(sigstore, url))
        code, _ = sign("--sigstore", "--trust-config", tmp_path / "config.json", "--replace")
    assert (code, bundle()) == (ExitCode.DENIED, first)


def test_an_encrypted_key_needs_its_password(sign, key, tmp_path, monkeypatch):
    private = serialization.load_pem_private_key(key.private.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (tmp_path / "encrypted.pem").write_bytes(private.private_bytes(*form, encrypted))
    code, result = sign("--key", tmp_path / "encrypted.pem")
    assert (code, "MODELBERTH_KEY_PASSWORD" in result["problems"][0]) == (ExitCode.REFUSED, True)
    monkeypatch.setenv("MODELBERTH_KEY_PASSWORD", "secret")
    assert sign("--key", tmp_path / "encrypted.pem")[1]["signed"] == "now"
    assert sign("--key", tmp_path / "encrypted.pem")[1]["signed"] == "already"


@pytest.mark.parametrize("what", ["missing", "text", "rsa", "public"])
def test_what_cannot_sign_is_said(sign, key, tmp_path, what):
    (tmp_path / "text").write_text("hello")
    KeyPair.make(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    file = {"missing": "nowhere", "text": "text", "rsa": "rsa.pem", "public": key.public}[what]
    code, result = sign("--key", tmp_path / file)
    expected = ExitCode.NOT_FOUND if what == "missing" else ExitCode.REFUSED
    assert (code, len(result["problems"])) == (expected, 1)
    assert "annot" in result["problems"][0]


def test_a_certificate_of_another_key_cannot_sign(sign, key, tmp_path):
    signer = Certified.make(tmp_path / "pki")
    code, result = sign("--key", key.private, "--certificate", signer.certificate)
    assert (code, "does not match" in result["problems"][0]) == (ExitCode.REFUSED, True)


def test_what_belongs_to_another_way_of_signing_is_refused(sign, key):
    for words in (("--sigstore", "--certificate", key.public), ("--key", key.private, "--trust-config", key.public)):
        code, result = sign(*words)
        assert (code, "belong" in result["problems"][0]) == (ExitCode.REFUSED, True)


def test_a_revision_that_is_not_there_or_was_exchanged_is_not_signed(run, bucket, revision, key, tmp_path):
    code, _ = run("sign", bucket, "--revision", f"minilm@sha256:{'ab' * 32}", "--key", key.private)
    assert code == ExitCode.NOT_FOUND
    manifest = tmp_path / "bucket/minilm/revisions" / revision.digest.hex / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"blake3", b"sha256"))
    code, _ = run("sign", bucket, "--revision", revision, "--key", key.private)
    assert code == ExitCode.MISMATCH
    assert not list(tmp_path.rglob("*.sig"))


def test_a_revision_stays_signed_through_a_prune_and_is_no_stranger_to_it(sign, run, bucket, revision, key, bundle):
    sign("--key", key.private)
    run("prune", bucket, "--condemn", revision)
    assert run("prune", bucket, "--delete", revision)[0] == 0
    assert run("list", bucket)[1]["revisions"] == []
    assert by_key(key.public.read_bytes()).verify(bundle())


def test_without_the_library_it_is_said_what_to_install(sign, key, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("model_signing"):
            raise ModuleNotFoundError("No module named 'model_signing'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    code, result = sign("--key", key.private)
    assert code == ExitCode.UNSUPPORTED
    assert "Install model-signing and pyOpenSSL" in result["problems"][0]


def test_the_program_signs_and_that_of_the_pods_says_where_to(bucket, revision, key):
    words = ["sign", bucket, "--revision", str(revision), "--key", str(key.private)]
    pod = subprocess.run([sys.executable, "-m", "modelberth.engine", *words], capture_output=True, check=False)
    assert pod.returncode == ExitCode.UNSUPPORTED
    assert "where the whole project is installed" in json.loads(pod.stdout)["problems"][0]
    ours = subprocess.run([sys.executable, "-m", "modelberth", *words], capture_output=True, check=True)
    assert json.loads(ours.stdout)["signed"] == "now"
