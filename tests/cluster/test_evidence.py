"""Receipts and ledger on real object stores: what is written once, what is believed, what is not."""

from __future__ import annotations

import base64
import json
import os
import uuid

import pytest

from modelberth.core.digest import Digest
from modelberth.receipts import (
    Evidence,
    EvidenceConflictError,
    EvidenceForgedError,
    EvidenceMissingError,
    Ledger,
    StoreError,
    StoreUnreachableError,
    open_store,
    signing_key,
)
from modelberth.receipts.signing import SigningKey

RELEASE = "20260102t030405z-9f86d08188"
OTHER = "20260103t030405z-0000000000"


@pytest.fixture(params=["s3", "gs"])
def store(request, stand):
    """Return a store with a prefix of the test's own, on each kind of server."""
    bucket, connection = (stand.bucket, "test_receipts") if request.param == "s3" else (stand.gcs_bucket, "test_gcs")
    return open_store(f"{request.param}://{bucket}/{uuid.uuid4().hex}/receipts", connection)


@pytest.fixture
def evidence(store) -> Evidence:
    return Evidence(store, signing_key(), "minilm", RELEASE)


@pytest.fixture
def book(store) -> Ledger:
    return Ledger(store, signing_key(), "minilm")


def path(step: str) -> str:
    return f"minilm/{RELEASE}/{step}.json"


def test_the_first_object_stands(store):
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    assert store.create("a", b"1"), "its own object, met again after a lost answer, is a success"
    assert store.read("a") == b"1"
    assert store.read("b") is None
    assert store.keys("") == ["a"]


def test_an_object_that_is_too_large_is_not_read(store):
    store.create("a", b"12345")
    assert store.read("a", limit=5) == b"12345"
    with pytest.raises(StoreError, match="larger than 4 bytes"):
        store.read("a", limit=4)


def test_what_was_written_is_read_with_its_circumstances(evidence):
    digest = evidence.write("verify", {"bytes": 7, "node": "a"}, target="embedder")
    receipt = evidence.read("verify", target="embedder")
    assert (receipt["step"], receipt["target"], receipt["attempt"], receipt["bytes"]) == ("verify", "embedder", 1, 7)
    assert receipt["at"].endswith("Z")
    assert evidence.digest("verify", "embedder") == digest


def test_a_digest_is_that_of_the_file(store, evidence):
    digest = evidence.write("resolve", {"files": 1})
    assert Digest.of(store.read(path("01-resolve"))) == digest


def test_the_same_again_is_the_same_receipt(store, evidence):
    first = evidence.write("sync", {"bytes": 7, "seconds": 1.5}, target="a")
    assert evidence.write("sync", {"bytes": 7, "seconds": 9.9}, target="a") == first
    assert store.keys("") == [path("03-sync-a")]


def test_another_result_is_another_attempt_and_counts(evidence):
    evidence.write("sync", {"bytes": 7}, target="a")
    evidence.write("sync", {"bytes": 8}, target="a")
    evidence.write("sync", {"bytes": 7}, target="a")
    assert (evidence.read("sync", "a")["bytes"], evidence.read("sync", "a")["attempt"]) == (7, 3)


def test_targets_with_similar_names_are_apart(evidence):
    evidence.write("sync", {"bytes": 1}, target="a")
    evidence.write("sync", {"bytes": 2}, target="a-b")
    assert (evidence.read("sync", "a")["bytes"], evidence.read("sync", "a-b")["bytes"]) == (1, 2)


def test_a_step_that_binds_is_taken_once(evidence):
    first = evidence.write("approve", {"responder": {"id": "alice", "name": "Alice"}})
    assert evidence.write("approve", {"responder": {"id": "alice", "name": "Alice"}}) == first
    with pytest.raises(EvidenceConflictError, match="start a new release"):
        evidence.write("approve", {"responder": {"id": "mallory", "name": "M"}})


def test_each_receipt_names_what_it_rests_on(evidence):
    plain = [("resolve", None), ("upload", None), ("sync", "a"), ("sync", "b"), ("verify", "a"), ("verify", "b")]
    digests = {f"{step}-{target}": str(evidence.write(step, {"n": 1}, target)) for step, target in plain}
    plan = str(evidence.write("plan", {"n": 1}))
    approve = str(evidence.write("approve", {"n": 1}))
    evidence.write("check", {"n": 1}, target="a")
    assert evidence.read("verify", "a")["previous"] == {"03-sync-a": digests["sync-a"]}
    assert evidence.read("plan")["previous"] == {
        "04-verify-a": digests["verify-a"],
        "04-verify-b": digests["verify-b"],
    }
    assert evidence.read("approve")["previous"] == {"05-plan": plan}
    assert evidence.read("check", "a")["previous"] == {"04-verify-a": digests["verify-a"], "06-approve": approve}


def test_a_check_after_another_approval_is_another_check(evidence):
    evidence.write("check", {"n": 1}, target="a")
    evidence.write("approve", {"n": 1})
    evidence.write("check", {"n": 1}, target="a")
    assert evidence.read("check", "a")["attempt"] == 2


def test_what_is_missing_says_so(evidence):
    assert evidence.find("plan") is None
    with pytest.raises(EvidenceMissingError, match="05-plan"):
        evidence.read("plan")


def forged(data: bytes, change) -> bytes:
    document = json.loads(data)
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["receipt"].update(decision="approve"),
        lambda d: d["receipt"].update(schema=2),
        lambda d: d.update(more=1),
        lambda d: d.pop("signature"),
        lambda d: d["signature"].update(ed25519=base64.b64encode(bytes(64)).decode()),
        lambda d: d["signature"].update(ed25519="not base64"),
        lambda d: d.update(receipt="approve"),
        lambda d: d["signature"].pop("key_id"),
    ],
)
def test_an_edited_receipt_is_not_believed(store, evidence, change):
    data = signing_key().seal({"step": "approve", "decision": "reject"})
    store.create(path("06-approve"), forged(data, change))
    with pytest.raises(EvidenceForgedError):
        evidence.read("approve")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"receipt": {}, "signature": {}}', b"[" * 99_999]
)
def test_what_is_not_a_receipt_is_not_believed(store, evidence, data):
    store.create(path("06-approve"), data)
    with pytest.raises(EvidenceForgedError, match="06-approve"):
        evidence.read("approve")


def test_another_key_is_not_believed(store, evidence):
    Evidence(store, SigningKey(os.urandom(32)), "minilm", RELEASE).write("approve", {"n": 1})
    with pytest.raises(EvidenceForgedError, match="signature"):
        evidence.read("approve")


@pytest.mark.parametrize(
    ("model", "release_id", "step", "target"),
    [
        ("minilm", OTHER, "approve", None),
        ("other", RELEASE, "approve", None),
        ("minilm", RELEASE, "plan", None),
        ("minilm", RELEASE, "check", "b"),
    ],
)
def test_a_receipt_that_was_copied_from_elsewhere_is_not_believed(store, evidence, model, release_id, step, target):
    source = Evidence(store, signing_key(), model, release_id)
    source.write(step, {"n": 1}, target)
    [key] = store.keys(f"{model}/{release_id}/")
    asked = ("check", "a") if target else ("approve", None)
    store.create(path("07-check-a" if target else "06-approve"), store.read(key))
    with pytest.raises(EvidenceForgedError, match="copied"):
        evidence.read(*asked)


def test_an_old_attempt_copied_over_a_newer_one_is_not_believed(store, evidence):
    evidence.write("verify", {"ok": True}, target="a")
    evidence.write("verify", {"ok": False}, target="a")
    store.create(path("04-verify-a.3"), store.read(path("04-verify-a")))
    with pytest.raises(EvidenceForgedError, match="attempt"):
        evidence.read("verify", "a")


def test_all_receipts_come_by_name_and_strangers_are_left_out(store, evidence):
    evidence.write("resolve", {"n": 1})
    evidence.write("sync", {"n": 1}, target="a")
    store.create(f"minilm/{RELEASE}/notes.txt", b"hello")
    store.create(path("99-sync-a"), b"{}")
    assert list(evidence.all()) == ["01-resolve", "03-sync-a"]


def test_a_body_cannot_speak_for_its_envelope(evidence):
    with pytest.raises(ValueError, match="release_id"):
        evidence.write("approve", {"release_id": OTHER})


def test_the_ledger_keeps_the_first_of_each_event_in_order(book):
    book.record("proposed", RELEASE, source_version="v1")
    book.record("proposed", RELEASE, source_version="v2")
    book.record("rejected", RELEASE, source_version="v1", revision="minilm@sha256:aa", reason="rejected by alice")
    entries = book.entries()
    assert [(one.event, one.source_version, one.reason) for one in entries] == [
        ("proposed", "v1", None),
        ("rejected", "v1", "rejected by alice"),
    ]
    assert entries[0].at.tzinfo is not None
    assert book.events(RELEASE) == {"proposed", "rejected"}
    assert book.events(OTHER) == set()


def test_a_ledger_with_a_stranger_in_it_is_not_believed(store, book):
    book.record("rejected", RELEASE)
    key = f"ledger/minilm/{RELEASE}-rejected.json"
    store.create(key.replace(RELEASE, OTHER), store.read(key))
    with pytest.raises(EvidenceForgedError, match="copied"):
        book.entries()


def test_the_ledger_knows_its_events(book):
    with pytest.raises(ValueError, match="proposed"):
        book.record("forgotten", RELEASE)


@pytest.mark.parametrize(
    ("connection", "bucket", "error"),
    [
        ("test_wrong", "bucket", StoreError),
        ("test_receipts", "modelberth-receipts-nowhere", StoreError),
        ("test_silent", "bucket", StoreUnreachableError),
    ],
)
def test_a_store_that_cannot_be_used_says_why(stand, connection, bucket, error):
    store = open_store(f"s3://{stand.bucket if bucket == 'bucket' else bucket}/receipts", connection)
    with pytest.raises(error, match=connection):
        store.read("a")
    with pytest.raises(error, match=connection):
        store.create("a", b"1")
    with pytest.raises(error, match=connection):
        store.keys("")


def test_a_store_of_no_known_kind_is_refused():
    with pytest.raises(StoreError, match="s3://"):
        open_store("ftp://bucket", "test_receipts")


def test_a_signing_connection_without_a_key_says_what_is_expected(monkeypatch):
    for password in ("", "secret!", base64.b64encode(b"short").decode()):
        document = {"conn_type": "generic", "password": password}
        monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_SIGNING", json.dumps(document))
        with pytest.raises(ValueError, match="32 random bytes") as caught:
            signing_key()
        assert not password or password not in str(caught.value)
