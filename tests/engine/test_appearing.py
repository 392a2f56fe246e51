"""What appears in the bucket behind an upload's back, and answers that are lost on their way back."""

import pytest

from modelberth.core import manifest
from modelberth.engine.stores.s3 import S3Store
from modelberth.engine.stores.s3_writing import Multipart


def test_an_object_that_appears_where_a_copy_goes_is_not_overwritten(model, s3, modelberth, monkeypatch):
    modelberth.upload(model, s3, "u1")
    (model / "config.json").write_text('{"new": true}')
    key, real = s3.parsed.key("minilm", "data", "u2", "model.safetensors"), S3Store.copy

    def copy(store, source, to):
        if to == key:
            s3.replace(key, b"theirs")
        return real(store, source, to)

    monkeypatch.setattr(S3Store, "copy", copy)
    ran = modelberth.upload(model, s3, "u2")
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran.result
    assert "should be a copy of" in ran.problem
    assert s3.read(key) == b"theirs"


@pytest.fixture
def joining(monkeypatch):
    """What a test does with a multipart upload just before it is joined."""
    real = Multipart.finish

    def before(what):
        def finish(writing, checksum):
            what(writing, lambda: real(writing, checksum))
            return real(writing, checksum)

        monkeypatch.setattr(Multipart, "finish", finish)

    return before


def test_an_upload_whose_parts_were_joined_by_a_request_whose_answer_was_lost_goes_on(model, s3, modelberth, joining):
    joining(lambda _writing, join: join())
    ran = modelberth.upload(model, s3, "u1")
    assert ran.code == 0, ran.result
    assert ran.result["location"] in s3.names()


def test_an_upload_whose_parts_somebody_aborted_may_be_run_again(model, s3, modelberth, joining, monkeypatch):
    joining(lambda writing, _join: writing.abandon())
    ran = modelberth.upload(model, s3, "u1")
    assert (ran.code, ran.result["outcome"]) == (14, "unreachable"), ran.result
    assert "model.safetensors' was sent, but is not there: run the same again" in ran.problem
    monkeypatch.undo()
    assert modelberth.upload(model, s3, "u1").code == 0


def test_an_upload_that_lost_an_object_says_so_when_it_is_run_again(model, s3, modelberth):
    modelberth.upload(model, s3, "u1")
    s3.delete(s3.parsed.key("minilm", "data", "u1", "model.safetensors"))
    again = modelberth.upload(model, s3, "u1")
    assert (again.code, again.result["outcome"]) == (11, "incomplete"), again.result
    assert "is missing from the bucket" in again.problem
    assert modelberth.upload(model, s3, "u2").code == 0


@pytest.mark.parametrize("command", ["upload", "adopt"])
def test_more_files_than_a_manifest_may_name_are_refused_before_one_is_sent(
    s3, model, modelberth, monkeypatch, command
):
    under = s3.parsed.prefix.removesuffix("models") + "raw"
    for name in "ab":
        s3.replace(f"{under}/{name}", b"x")
    before = s3.names()
    monkeypatch.setattr(manifest, "MOST_FILES", 1)
    source = {"upload": model, "adopt": f"s3://{s3.parsed.bucket}/{under}"}[command]
    ran = modelberth(command, source, s3.url, "--model", "minilm", "--upload", "u1")
    assert (ran.code, "files; at most 1 are accepted" in ran.problem) == (21, True), ran.result
    assert s3.names() == before
