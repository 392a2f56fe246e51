"""A publisher's own bundle: an upload takes the SHA-256 of every file in its pass, a release compares."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest
from model_signing import hashing, signing

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.digest import Digest
from modelberth.core.published import LARGEST_PUBLISHED, Published
from modelberth.core.signature import file_problems
from modelberth.engine import cli
from modelberth.signatures.verifier import by_key
from signers import KeyPair


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return KeyPair.make(tmp_path_factory.mktemp("key"))


@pytest.fixture
def model(tmp_path):
    """A model of the shapes that models come in: empty, small, of several chunks, deep."""
    folder = tmp_path / "model"
    (folder / "a/deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(os.urandom(2 * CHUNK_SIZE + 17))
    (folder / "config.json").write_text("{}")
    (folder / "empty").touch()
    (folder / "a/deep/tree ü.txt").write_text("leaf")
    return folder


@pytest.fixture
def upload(tmp_path, model, capsys):
    """Uploads the model; returns the result."""
    (tmp_path / "bucket").mkdir()

    def call(*words, name="u1"):
        bucket = f"file://{tmp_path}/bucket"
        code = cli.run(["upload", str(model), bucket, "--model", "minilm", "--upload", name, *words])
        assert code == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


@pytest.fixture
def published(tmp_path):
    """Reads what an upload has left of a digest."""

    def read(digest):
        data = (tmp_path / f"bucket/minilm/digests/{Digest.parse(digest).hex}.json").read_bytes()
        assert Digest.of(data) == Digest.parse(digest)
        return Published.parse(data)

    return read


BESIDE = ("--publisher-signature", "model.sig")


def sha256(model):
    files = [path for path in model.rglob("*") if path.is_file()]
    return {str(path.relative_to(model)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_a_publisher_signed_is_compared_without_the_files(upload, published, model, key):
    (model / "model.sig").write_bytes(key.sign(model))
    left = published(upload(*BESIDE)["digests"])
    assert left.sha256 == sha256(model)
    statement = by_key(key.public.read_bytes()).verify(left.bundle).statement
    assert file_problems(statement, left.sha256, "model.sig") == []


def test_every_difference_to_what_was_signed_is_said_at_once(upload, published, model, key):
    (model / "model.sig").write_bytes(key.sign(model))
    (model / "config.json").write_text('{"changed": 1}')
    (model / "empty").unlink()
    (model / "more.py").write_text("print()")
    left = published(upload(*BESIDE)["digests"])
    statement = by_key(key.public.read_bytes()).verify(left.bundle).statement
    assert file_problems(statement, left.sha256, "model.sig") == [
        "1 changed: 'config.json'.",
        "1 missing: 'empty'.",
        "1 not signed: 'more.py'.",
    ]


@pytest.mark.parametrize("second", ["u1", "u2"])
def test_it_is_the_same_when_the_bytes_are_in_the_bucket_already(upload, model, key, second):
    (model / "model.sig").write_bytes(key.sign(model))
    first = upload(*BESIDE)
    again = upload(*BESIDE, name=second)
    assert (again["digests"], again["bytes_uploaded"]) == (first["digests"], 0)


def test_bytes_that_were_uploaded_before_anybody_asked_are_digested_now(upload, published, model, key):
    (model / "model.sig").write_bytes(key.sign(model))
    assert "digests" not in upload()
    assert published(upload(*BESIDE)["digests"]).sha256 == sha256(model)


def test_a_changed_file_of_which_parts_are_copied_has_its_whole_digest(upload, published, model, key):
    upload()
    with (model / "weights.bin").open("r+b") as weights:
        weights.write(b"changed")
    (model / "model.sig").write_bytes(key.sign(model))
    assert published(upload(*BESIDE, name="u2")["digests"]).sha256 == sha256(model)


def test_without_a_bundle_among_the_files_nothing_is_digested_twice(upload, tmp_path):
    assert upload(*BESIDE)["digests"] is None
    assert not (tmp_path / "bucket/minilm/digests").exists()


def test_a_file_that_is_too_large_to_be_a_bundle_is_not_handed_on(upload, published, model):
    with (model / "model.sig").open("wb") as bundle:
        bundle.truncate(LARGEST_PUBLISHED + 1)
    assert published(upload(*BESIDE)["digests"]).bundle is None


def test_a_bundle_over_shards_is_genuine_and_cannot_be_compared(upload, published, model, key):
    config = hashing.Config().use_shard_serialization(hashing_algorithm="sha256")
    bundle = model.parent / "bundle"
    signer = signing.Config().set_hashing_config(config).use_elliptic_key_signer(private_key=key.private)
    (model / "empty").unlink()
    signer.sign(model, bundle)
    (model / "model.sig").write_bytes(bundle.read_bytes())
    left = published(upload(*BESIDE)["digests"])
    statement = by_key(key.public.read_bytes()).verify(left.bundle).statement
    [said] = file_problems(statement, left.sha256, "model.sig")
    assert said.startswith("It was made over shards by ")


@pytest.mark.parametrize("algorithm", ["blake2", "blake3"])
def test_a_bundle_by_another_digest_is_genuine_and_cannot_be_compared(model, key, algorithm):
    config = hashing.Config().use_file_serialization(hashing_algorithm=algorithm)
    bundle = model.parent / "bundle"
    signer = signing.Config().set_hashing_config(config).use_elliptic_key_signer(private_key=key.private)
    signer.sign(model, bundle)
    statement = by_key(key.public.read_bytes()).verify(bundle.read_bytes()).statement
    [said] = file_problems(statement, sha256(model), "model.sig")
    assert f"by {algorithm}" in said


def test_what_the_publisher_left_out_may_be_there_and_change(upload, published, model, key):
    (model / "logs").mkdir()
    (model / "logs/run.txt").write_text("1")
    config = hashing.Config().set_ignored_paths(paths=["logs"])
    bundle = model.parent / "bundle"
    signer = signing.Config().set_hashing_config(config).use_elliptic_key_signer(private_key=key.private)
    signer.sign(model, bundle)
    (model / "model.sig").write_bytes(bundle.read_bytes())
    (model / "logs/more.txt").write_text("2")
    (model / ".gitattributes").write_text("* text")
    left = published(upload(*BESIDE)["digests"])
    statement = by_key(key.public.read_bytes()).verify(left.bundle).statement
    assert file_problems(statement, left.sha256, "model.sig") == []


GOOD = {"schema": 1, "bundle": base64.b64encode(b"x").decode(), "sha256": {"a": "11" * 32}}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        GOOD | {"more": 1},
        GOOD | {"schema": 2},
        GOOD | {"bundle": 7},
        GOOD | {"bundle": "*"},
        GOOD | {"sha256": []},
        GOOD | {"sha256": {"a": "11"}},
        GOOD | {"sha256": {"a": None}},
    ],
)
def test_a_document_of_another_form_is_refused(document):
    Published.parse(json.dumps(GOOD, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(ValueError, match=r"."):
        Published.parse(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
