"""Signatures of what a release has uploaded: verified by the real library, put on record, required or shown."""

import builtins
import json

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from cryptography.hazmat.primitives.asymmetric import ed25519

from modelberth.catalog import load
from modelberth.core.digest import Digest
from modelberth.core.plan import PlanRefusedError
from modelberth.core.published import Published
from modelberth.core.revision import Revision
from modelberth.kubernetes.planning import _with_signatures, read_released
from modelberth.operators.signature import VerifySignatureOperator, publishers
from modelberth.operators.upload import words
from modelberth.receipts import TooLargeError, store
from signers import DAY, Certified, KeyPair

MANIFEST = b'{"chunk_digest":"blake3","chunk_size":8388608,"files":[],"schema":1}'
REVISION = Revision("minilm", Digest.of(MANIFEST))
KEY = f"modelberth/models/minilm/revisions/{REVISION.digest.hex}/manifest.json.sig"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """Who is to sign."""
    return KeyPair.make(tmp_path_factory.mktemp("key"))


@pytest.fixture
def directory(tmp_path):
    """What a bundle of the revision is made over."""
    folder = tmp_path / "revision"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(MANIFEST)
    return folder


@pytest.fixture
def asked(catalog):
    """Writes the model's file with a key ``signature``."""

    def write(**signature):
        document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
        catalog.write("models/minilm.yaml", document | {"signature": signature})

    return write


@pytest.fixture
def uploaded(evidence):
    """The receipts of a release that has uploaded the revision."""
    evidence.write("resolve", {"source_version": "v1"})
    evidence.write("upload", {"revision": str(REVISION), "files": 1, "bytes": 7})
    return evidence


@pytest.fixture
def look(uploaded, context):
    """Runs the task, and returns what is on record then."""

    def run():
        VerifySignatureOperator(task_id="signature", model="minilm").execute(context)
        return uploaded.read("signature")["signed"][0]

    return run


def test_a_signed_revision_is_valid_and_the_receipt_says_by_whom(asked, key, directory, objects, look):
    asked(policy="require", key=str(key.public))
    objects[KEY] = key.sign(directory)
    found = look()
    assert (found["result"], found["problems"]) == ("valid", [])
    assert found["by"].startswith("key sha256:")


def test_a_key_can_be_in_the_catalog_itself(asked, key, directory, objects, look):
    asked(policy="require", key=key.public.read_text())
    objects[KEY] = key.sign(directory)
    assert look()["result"] == "valid"


def test_a_revision_that_must_be_signed_and_is_not_ends_the_release_until_it_is(asked, key, directory, objects, look):
    asked(policy="require", key=str(key.public))
    with pytest.raises(AirflowFailException, match=r"none by key sha256:.*modelberth sign.*clear the task 'signature'"):
        look()
    objects[KEY] = key.sign(directory)
    assert look()["result"] == "valid"


def test_a_release_goes_on_where_a_missing_signature_is_only_shown(asked, key, objects, look):
    asked(key=str(key.public))
    assert look()["result"] == "none"


def test_a_signature_that_somebody_took_away_stays_valid_by_its_receipt(asked, key, directory, objects, look):
    asked(policy="require", key=str(key.public))
    objects[KEY] = key.sign(directory)
    before = look()
    del objects[KEY]
    assert look() == before


def test_another_key_in_the_catalog_is_verified_with_anew(asked, key, directory, objects, look, tmp_path):
    asked(policy="require", key=str(key.public))
    objects[KEY] = key.sign(directory)
    look()
    asked(policy="require", key=str(KeyPair.make(tmp_path / "other").public))
    with pytest.raises(AirflowFailException, match="is invalid: It is not by key sha256:"):
        look()


def test_what_was_valid_says_nothing_of_another_revision_that_is_uploaded_later(
    asked, key, directory, objects, look, uploaded
):
    asked(policy="require", key=str(key.public))
    objects[KEY] = key.sign(directory)
    look()
    uploaded.write("upload", {"revision": f"minilm@sha256:{'cd' * 32}", "files": 1, "bytes": 7})
    with pytest.raises(AirflowFailException, match="is none by"):
        look()


def bundles(key, directory):
    """Return bundles that are no good, each with what is said of it."""
    good = key.sign(directory)
    (directory / "manifest.json").write_bytes(b"{}")
    other = key.sign(directory)
    (directory / "more.json").write_bytes(b"{}")
    broken = json.loads(good)
    broken["dsseEnvelope"]["payload"] = json.loads(other)["dsseEnvelope"]["payload"]
    stranger = KeyPair.make(directory.parent / "stranger")
    return {
        "of another revision": (other, f"It signs another revision: {Digest.of(b'{}')}"),
        "of more than the manifest": (key.sign(directory), "It signs 'manifest.json', 'more.json', not"),
        "by another key": (stranger.sign(directory), "It is not by key sha256:.*Key mismatch"),
        "whose content was exchanged": (json.dumps(broken).encode(), "It is not by key sha256:.*InvalidSignature"),
        "cut off": (good[:-10], "JSONDecodeError"),
        "empty": (b"", "JSONDecodeError"),
        "not text": (b"\xff\xfe", "UnicodeDecodeError"),
        "no bundle": (b'{"a": 1}', "KeyError"),
        "a list": (b"[]", "TypeError"),
        "nested deeply": (b"[" * 900 + b"]" * 900, "It is not by|It is no bundle"),
        "of too many parts": (b"[" + b"{}," * 2000 + b"{}]", "It is no bundle: It has over 1000"),
    }


def test_bundles_that_are_no_good_are_refused_each_with_its_reason(asked, key, directory, objects, look, uploaded):
    asked(policy="require", key=str(key.public))
    for name, (bundle, said) in bundles(key, directory).items():
        objects[KEY] = bundle
        with pytest.raises(AirflowFailException, match=f"(?s)is invalid: .*{said}") as raised:
            look()
        assert uploaded.read("signature")["signed"][0]["result"] == "invalid", name
        assert len(str(raised.value)) < 1000, name


def test_a_bundle_that_is_too_large_is_not_read(asked, key, look, monkeypatch):
    asked(policy="require", key=str(key.public))
    real = store._S3Store.read

    def read(self, name, limit=0):
        if name.endswith(".sig"):
            assert limit == 1024**2
            raise TooLargeError(f"{name} is larger than {limit} bytes")
        return real(self, name, limit)

    monkeypatch.setattr(store._S3Store, "read", read)
    with pytest.raises(AirflowFailException, match=r"is invalid: .* is larger than"):
        look()


def test_a_certificate_of_the_authority_may_sign(asked, directory, objects, look, tmp_path):
    signer = Certified.make(tmp_path / "pki")
    asked(policy="require", certificates=str(signer.root))
    objects[KEY] = signer.sign(directory)
    found = look()
    assert found["by"].startswith("certificate 'CN=release' (sha256:")


def test_a_certificate_of_another_authority_may_not_sign(asked, directory, objects, look, tmp_path):
    asked(policy="require", certificates=str(Certified.make(tmp_path / "ours").root))
    objects[KEY] = Certified.make(tmp_path / "theirs").sign(directory)
    with pytest.raises(AirflowFailException, match=r"It is not by certificates sha256:.*X509StoreContextError"):
        look()


@pytest.mark.parametrize(("valid", "name"), [((-3 * DAY, -DAY), "expired"), ((DAY, 2 * DAY), "to come")])
def test_a_certificate_that_is_not_valid_now_proves_nothing(asked, directory, objects, look, tmp_path, valid, name):
    signer = Certified.make(tmp_path / "pki", name, valid)
    asked(policy="require", certificates=str(signer.root))
    objects[KEY] = signer.sign(directory)
    with pytest.raises(AirflowFailException, match=f"certificate 'CN={name}' .* is valid from .* only"):
        look()


def test_a_bundle_by_a_key_is_not_one_by_a_certificate(asked, key, directory, objects, look, tmp_path):
    asked(policy="require", certificates=str(Certified.make(tmp_path / "pki").root))
    objects[KEY] = key.sign(directory)
    with pytest.raises(AirflowFailException, match=r"It is not by certificates sha256:"):
        look()


def test_a_key_that_is_not_there_or_is_none_is_said_before_any_bundle_is_looked_at(asked, look, tmp_path):
    ed25519_key = KeyPair.make(tmp_path / "ed", key=ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "text").write_text("hello")
    for value, said in (
        ("/nowhere/key.pub", r"'key' cannot be read: /nowhere/key.pub: No such file"),
        (str(tmp_path / "text"), "'key' is no public key that can be used"),
        (str(ed25519_key.public), "Expected the PEM of an EC key"),
    ):
        asked(key=value)
        with pytest.raises(AirflowFailException, match=said):
            look()
    asked(certificates=str(tmp_path / "text"))
    with pytest.raises(AirflowFailException, match="'certificates' are none"):
        look()


def test_without_the_library_it_is_said_what_to_install(asked, key, look, monkeypatch):
    asked(key=str(key.public))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("model_signing"):
            raise ModuleNotFoundError("No module named 'model_signing'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AirflowFailException, match=r"Install what requirements\.txt has for them: model-signing"):
        look()


def test_the_plan_says_who_signed_and_is_refused_without_what_is_required(asked, key, look, uploaded):
    asked(key=str(key.public))
    look()
    model = load().model("minilm")
    released = _with_signatures(model, read_released(model, uploaded), uploaded)
    assert [one.result for one in released.signed] == ["none"]
    asked(policy="require", key=str(key.public))
    model = load().model("minilm")
    with pytest.raises(PlanRefusedError, match="none by key sha256:"):
        _with_signatures(model, read_released(model, uploaded), uploaded)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "expected one of key, certificates, identity; got none"),
        ({"key": "a", "certificates": "b"}, "expected one of key, certificates, identity; got key, certificates"),
        ({"identity": "bob@example.org"}, "identity and issuer belong together"),
        ({"key": "a", "issuer": "https://example.org"}, "identity and issuer belong together"),
        ({"key": "a", "trusted_root": "b"}, "trusted_root is for identity"),
        ({"policy": "must", "key": "a"}, "'off', 'warn' or 'require'"),
        ({"key": ""}, "at least 1 character"),
    ],
)
def test_a_catalog_that_does_not_say_whose_signature_is_refused(asked, keys, said):
    asked(**keys)
    [problem] = load().problems["minilm"]
    assert said in problem


def test_a_private_key_in_the_catalog_is_refused_and_never_repeated(asked, key):
    asked(key=key.private.read_text())
    [problem] = load().problems["minilm"]
    assert "a private key has no place here" in problem
    assert key.private.read_text().splitlines()[1] not in problem


def test_a_signature_that_is_off_is_not_looked_for(asked):
    asked(policy="off")
    assert load().model("minilm").signatures == {}


# --- a publisher's own bundle ---------------------------------------------------------------------------------------


@pytest.fixture
def published(catalog, evidence, objects, context, key, directory):
    """A release whose upload has left the SHA-256 of each of *files*, and of whose files the publisher signed one."""
    bundle = key.sign(directory)

    def release(files, policy="require", bundle=bundle, **receipt):
        document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
        beside = {"publisher_signature": {"policy": policy, "key": str(key.public), "file": "own.sig"}}
        catalog.write("models/minilm.yaml", document | beside)
        data = Published(bundle, files).dump()
        digest = Digest.of(data)
        objects[f"modelberth/models/minilm/digests/{digest.hex}.json"] = data
        evidence.write("resolve", {"source_version": "v1"})
        upload = {"revision": str(REVISION), "files": 1, "bytes": 7, "digests": str(digest)}
        evidence.write("upload", upload | receipt)
        VerifySignatureOperator(task_id="signature", model="minilm").execute(context)
        return evidence.read("signature")["signed"][0]

    return release


RIGHT, WRONG = REVISION.digest.hex, "11" * 32


def test_files_as_their_publisher_signed_them_are_released_without_being_read(published, objects):
    found = published({"manifest.json": RIGHT, "own.sig": WRONG})
    assert (found["kind"], found["result"]) == ("publisher", "valid")
    assert found["by"].startswith("key sha256:")


def test_files_that_are_not_as_signed_end_the_release_all_named_at_once(published):
    with pytest.raises(AirflowFailException, match=r"1 missing: 'manifest.json'\. 1 not signed: 'x'\."):
        published({"x": WRONG, "own.sig": WRONG})
    with pytest.raises(AirflowFailException, match=r"publisher is invalid: 1 changed: 'manifest.json'\."):
        published({"manifest.json": WRONG, "own.sig": WRONG})


def test_differences_are_only_shown_where_the_file_asks_for_no_more(published):
    assert published({"manifest.json": WRONG}, policy="warn")["result"] == "invalid"


def test_a_model_without_its_publishers_bundle_has_none(published):
    with pytest.raises(AirflowFailException, match="signature of the publisher is none by key"):
        published({}, digests=None)


def test_a_file_in_the_place_of_the_bundle_that_is_too_large_is_none(published):
    with pytest.raises(AirflowFailException, match=r"'own.sig' is no bundle: it has over 16777216 bytes"):
        published({"manifest.json": RIGHT}, bundle=None)


def test_what_was_uploaded_before_anybody_asked_has_to_be_uploaded_again(published, uploaded, context):
    with pytest.raises(AirflowFailException):
        published({"manifest.json": WRONG})  # now the model's file asks
    uploaded.write("upload", {"revision": str(REVISION), "files": 1, "bytes": 8})
    with pytest.raises(AirflowFailException, match="not looked for when the model was uploaded: start a new release"):
        VerifySignatureOperator(task_id="signature", model="minilm").execute(context)


def test_what_the_upload_left_cannot_be_exchanged(published, objects):
    with pytest.raises(AirflowFailException, match=f"sha256:{WRONG}, is gone: clear the task 'upload'"):
        published({"manifest.json": RIGHT}, digests=f"sha256:{WRONG}")
    objects[f"modelberth/models/minilm/digests/{WRONG}.json"] = Published(b"", {}).dump()
    with pytest.raises(AirflowFailException, match=f"sha256:{WRONG}, was exchanged"):
        published({"manifest.json": RIGHT}, digests=f"sha256:{WRONG}")


def test_an_upload_takes_a_second_digest_only_where_a_publishers_signature_is_asked_for(catalog, key):
    assert publishers(load().model("minilm")) == []
    document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
    for policy, expected in (("off", []), ("warn", ["--publisher-signature", "model.sig"])):
        beside = {"policy": policy, "key": str(key.public)}
        catalog.write("models/minilm.yaml", document | {"publisher_signature": beside})
        assert publishers(load().model("minilm")) == expected
        assert words(load().model("minilm"), "r")[-2:] == (expected or ["--upload", "r"])
