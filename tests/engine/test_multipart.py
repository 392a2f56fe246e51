"""Interrupted uploads go on by part, and of a changed file only what the bucket lacks is sent."""

import json
import random
import signal
import time

import pytest

from modelberth.engine.stores import s3_writing

MIB = 2**20
SIZE = 60 * MIB


def safetensors(data, name="w"):
    header = json.dumps({name: {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


@pytest.fixture(scope="module")
def weights():
    return random.Random(5).randbytes(SIZE)


@pytest.fixture
def big(tmp_path, weights):
    directory = tmp_path / "big"
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(safetensors(weights))
    return directory


def begun(s3):
    return s3.client.list_multipart_uploads(Bucket=s3.parsed.bucket, Prefix=s3.parsed.prefix).get("Uploads", [])


def parts(s3):
    return [
        part
        for item in begun(s3)
        for part in s3.client.list_parts(Bucket=s3.parsed.bucket, Key=item["Key"], UploadId=item["UploadId"]).get(
            "Parts", []
        )
    ]


def interrupted(modelberth, big, s3, number=signal.SIGTERM, name="u1"):
    """Begin an upload and end it when it has sent some of its parts."""
    words = ("upload", big, s3.url, "--model", "minilm", "--upload", name)
    process = modelberth.start(*words, "--bandwidth-limit", "16MiB", "--concurrency", "2")
    deadline = time.monotonic() + 30
    while len(parts(s3)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    ran = modelberth.end(process)
    assert 2 <= len(parts(s3)) < 8
    return ran


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_upload_sends_only_the_parts_that_are_missing(big, s3, modelberth, claim, trees, number):
    ended = interrupted(modelberth, big, s3, number)
    assert ended.code == (10 if number == signal.SIGTERM else -signal.SIGKILL)
    kept = sum(part["Size"] for part in parts(s3))  # a killed run's last requests may arrive after this look
    ran = modelberth.upload(big, s3)
    assert (ran.code, 0 < ran.result["bytes_uploaded"] <= ran.result["bytes"] - kept) == (0, True), ran.result
    assert begun(s3) == []
    synced = modelberth("sync", s3.url, claim, "--revision", ran.result["revision"])
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(big)


def test_a_part_that_somebody_exchanged_is_sent_over(big, s3, modelberth, claim):
    interrupted(modelberth, big, s3)
    (item,) = begun(s3)
    kept = {part["PartNumber"]: part["Size"] for part in parts(s3)}
    number = min(kept)
    names = {"Bucket": s3.parsed.bucket, "Key": item["Key"], "UploadId": item["UploadId"]}
    s3.client.upload_part(**names, PartNumber=number, Body=bytes(8 * MIB), ChecksumAlgorithm="CRC64NVME")
    ran = modelberth.upload(big, s3)
    most = ran.result["bytes"] - sum(kept.values()) + 8 * MIB  # less here: SeaweedFS still has what was exchanged
    assert (ran.code, ran.result["bytes_uploaded"] <= most) == (0, True), ran.result
    assert modelberth("sync", s3.url, claim, "--revision", ran.result["revision"]).code == 0


def test_a_file_that_changed_after_the_interruption_is_uploaded_as_it_is_now(big, s3, modelberth, claim, trees):
    interrupted(modelberth, big, s3)
    with (big / "model.safetensors").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"changed")
    ran = modelberth.upload(big, s3)
    assert (ran.code, ran.result["bytes_uploaded"] < ran.result["bytes"]) == (0, True), ran.result
    synced = modelberth("sync", s3.url, claim, "--revision", ran.result["revision"])
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(big)


def test_unfinished_uploads_are_listed_and_aborted_by_name_only(big, s3, modelberth):
    interrupted(modelberth, big, s3, name="u1")
    sent = sum(part["Size"] for part in parts(s3))
    key = s3.parsed.key("minilm", "data", "u1", "model.safetensors")
    for words in ((), ("--model", "minilm")):
        listed = modelberth("unfinished", s3.url, *words).result
        (row,) = listed["unfinished"]
        assert (row["key"], row["model"], row["upload"], row["bytes"]) == (key, "minilm", "u1", sent)
        assert row["started"].startswith("20")
    for words in (("--model", "other"), ("--abort", "u2"), ("--model", "other", "--abort", "u1")):
        assert modelberth("unfinished", s3.url, *words).result["aborted"] == 0
        assert len(begun(s3)) == 1
    last = modelberth("unfinished", s3.url, "--abort", "u1").result
    assert (last["unfinished"], last["aborted"]) == ([], 1)
    assert begun(s3) == []


def test_another_upload_of_the_model_leaves_an_unfinished_one_alone(big, s3, modelberth):
    interrupted(modelberth, big, s3, name="u1")
    assert modelberth.upload(big, s3, "u2").code == 0
    assert len(begun(s3)) == 1


def test_a_whole_file_is_sent_in_parts_of_equal_size(big, s3, modelberth):
    modelberth.upload(big, s3)
    head = s3.client.head_object(
        Bucket=s3.parsed.bucket, Key=s3.parsed.key("minilm", "data", "u1", "model.safetensors")
    )
    assert head["ETag"].strip('"').endswith(f"-{-(-head['ContentLength'] // (8 * MIB))}")


def changed_chunk(data):
    return safetensors(data[: 20 * MIB] + b"changed" + data[20 * MIB + 7 :])


def edited_header(data):
    return safetensors(data, "another name of the tensor")


DELTAS = {
    "a changed chunk": ("model.safetensors", changed_chunk, 8 * MIB),
    "an edited header": ("model.safetensors", edited_header, 5 * MIB),
    "an edited header and another name": ("renamed.safetensors", edited_header, 5 * MIB),
}


@pytest.mark.parametrize(("name", "change", "most"), DELTAS.values(), ids=DELTAS)
def test_of_a_changed_file_only_what_the_bucket_lacks_is_sent(
    big, weights, s3, modelberth, claim, trees, name, change, most
):
    assert modelberth.upload(big, s3, "u1").code == 0
    (big / "model.safetensors").unlink()
    (big / name).write_bytes(change(weights))
    ran = modelberth.upload(big, s3, "u2")
    assert (ran.code, 0 < ran.result["bytes_uploaded"] <= most) == (0, True), ran.result
    assert ran.result["bytes_copied"] == ran.result["bytes"] - ran.result["bytes_uploaded"]
    synced = modelberth("sync", s3.url, claim, "--revision", ran.result["revision"])
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(big)


def nowhere(monkeypatch):
    """The store does not find what is to be copied."""
    real = s3_writing.origin
    monkeypatch.setattr(s3_writing, "origin", lambda *names: real(*names) | {"Key": "no/such/object"})


def elsewhere(monkeypatch):
    """The store copies other bytes than it was asked for."""
    real = s3_writing.Multipart.copy
    monkeypatch.setattr(
        s3_writing.Multipart, "copy", lambda self, number, length, place, start: real(self, number, length, place, 1)
    )


@pytest.mark.parametrize("fault", [nowhere, elsewhere])
def test_a_store_that_does_not_copy_ranges_as_asked_is_sent_the_whole_file(
    big, weights, s3, modelberth, claim, trees, monkeypatch, fault
):
    modelberth.upload(big, s3, "u1")
    (big / "model.safetensors").write_bytes(changed_chunk(weights))
    fault(monkeypatch)
    ran = modelberth.upload(big, s3, "u2")
    assert (ran.code, ran.result["bytes_uploaded"] >= ran.result["bytes"]) == (0, True), ran.result
    assert begun(s3) == []
    synced = modelberth("sync", s3.url, claim, "--revision", ran.result["revision"])
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(big)


def test_a_changed_file_that_was_interrupted_goes_on(big, weights, s3, modelberth, monkeypatch):
    modelberth.upload(big, s3, "u1")
    data = weights[: 30 * MIB] + random.Random(6).randbytes(30 * MIB)
    (big / "model.safetensors").write_bytes(safetensors(data))
    interrupted(modelberth, big, s3, name="u2")
    ran = modelberth.upload(big, s3, "u2")
    assert (ran.code, begun(s3)) == (0, []), ran.result
    assert ran.result["bytes_uploaded"] < 38 * MIB


def test_an_upload_keeps_to_its_bandwidth(big, s3, modelberth):
    began = time.monotonic()
    assert modelberth.upload(big, s3, "u1", "--bandwidth-limit", "20MiB", "--concurrency", "1").code == 0
    assert time.monotonic() - began >= SIZE / (20 * MIB)
