"""What stores do with their own writes, without a server."""

import errno
import gc
import io
import os
import weakref

import pytest
import requests
from botocore.exceptions import ClientError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.location import Place
from modelberth.core.parts import equal_parts
from modelberth.engine.outgoing import Whole, tasks
from modelberth.engine.scan import scan
from modelberth.engine.stores import Unjoined, file, gcs, s3
from modelberth.engine.stores.file import FileStore


@pytest.fixture
def store(tmp_path):
    (tmp_path / "bucket").mkdir()
    return FileStore(BucketUrl.parse(f"file://{tmp_path}/bucket"))


class Flow:
    def read(self, _file, length, fill):
        view = memoryview(bytearray(length))
        fill(view, len)
        return view

    def count(self, *_):
        pass


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_not_hidden_by_the_cleaning_up(store, tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(b"weights")
    (found,) = scan(tmp_path).files
    item = Whole(found, "k/m", store.checksum)
    writing = item.begin(store, None)
    item.send([0], writing, Flow())
    monkeypatch.setattr(file.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        item.finish(writing, item.digested())
    item.abandon()
    assert list((tmp_path / "bucket").rglob("*")) == [tmp_path / "bucket/k"]


def test_a_small_object_that_fails_leaves_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr(file.os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        store.create("k/manifest.json", b"{}")
    assert list((tmp_path / "bucket").rglob("*")) == [tmp_path / "bucket/k"]


class Client:
    """An S3 client that takes every object, or fails to copy a part."""

    def __init__(self):
        self.calls = []

    def put_object(self, **_):
        return {"ETag": "e", "ChecksumCRC64NVME": "c"}

    def create_multipart_upload(self, **_):
        return {"UploadId": "u"}

    def head_object(self, **_):
        raise ClientError({"Error": {"Code": "404"}}, "HeadObject")

    def upload_part_copy(self, **_):
        raise RuntimeError("the store went away")

    def abort_multipart_upload(self, **names):
        self.calls.append(names["UploadId"])


@pytest.fixture
def s3_store():
    made = s3.S3Store.__new__(s3.S3Store)
    made.url, made.client = BucketUrl.parse("s3://bucket/models"), Client()
    return made


class Bytes(bytearray):
    """A body that can be seen to be gone."""


def test_a_small_files_bytes_are_let_go_once_they_were_sent(s3_store):
    data = Bytes(b"small")
    gone, writing = weakref.ref(data), s3_store.write("k", equal_parts(5))
    writing.send(0, memoryview(data), 0)
    assert writing.finish("c").size == 5
    del data
    gc.collect()
    assert gone() is None


def test_files_are_taken_up_only_when_their_turn_comes():
    drawn = []

    def sendings():
        for number in range(3):
            drawn.append(number)
            yield type("Item", (), {"parts": [0], "file": type("File", (), {"in_order": False})})()

    next(tasks(sendings(), parallel=True))
    assert drawn == [0]


def test_a_copy_in_parts_that_fails_is_abandoned(s3_store, monkeypatch):
    monkeypatch.setattr(s3, "_LARGEST_COPY", 1)
    with pytest.raises(RuntimeError, match="went away"):
        s3_store.copy(Place("a", "k/a", 10, "c", "e"), "k/b")
    assert s3_store.client.calls == ["u"]


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "NotImplemented"])
def test_a_copy_asks_for_a_key_that_is_free_and_is_none_when_it_is_not(s3_store, code):
    def copy_object(**asked):
        assert asked["IfNoneMatch"] == "*"
        raise ClientError({"Error": {"Code": code}}, "CopyObject")

    s3_store.client.copy_object = copy_object
    assert s3_store.copy(Place("a", "k/a", 10, "c", "e"), "k/b") is None


def test_a_copy_is_not_asked_for_where_an_object_is(s3_store):
    s3_store.client.head_object = lambda **_: {"ContentLength": 1, "ETag": "theirs"}
    s3_store.client.copy_object = None
    assert s3_store.copy(Place("a", "k/a", 10, "c", "e"), "k/b") is None


@pytest.mark.parametrize("version", ["", "3HL4kqtJlcpXroDTDmJ", "²"])
def test_a_place_without_a_generation_is_sent_instead_of_copied(version):
    assert gcs.GcsStore.__new__(gcs.GcsStore).copy(Place("a", "k/a", 1, "c", "e", version), "k/b") is None


class Stream:
    """A resumable upload that ends in an error, and cannot be ended."""

    def __init__(self, error):
        self.error = error
        self._buffer = io.BytesIO()

    def write(self, _data):
        raise self.error

    close = terminate = lambda self: self.write(b"")


class Blob:
    name = "k/a"

    def __init__(self, error):
        self.stream = Stream(error)

    def open(self, *_, **__):
        return self.stream


def answered(status):
    response = requests.Response()
    response.status_code, response.request = status, requests.Request("PUT", "http://gcs/upload").prepare()
    return InvalidResponse(response, "Request failed", status)


@pytest.fixture
def gcs_store():
    made = gcs.GcsStore.__new__(gcs.GcsStore)
    made.url = BucketUrl.parse("gs://bucket/models")
    return made


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (answered(403), ExitCode.DENIED),
        (answered(401), ExitCode.DENIED),
        (answered(404), ExitCode.NOT_FOUND),
        (answered(412), ExitCode.REFUSED),
        (answered(503), ExitCode.UNREACHABLE),
        (answered(308), ExitCode.UNREACHABLE),
        (DataCorruption(None, "other checksum"), ExitCode.UNREACHABLE),
        (requests.ConnectionError(), ExitCode.UNREACHABLE),
    ],
    ids=str,
)
def test_an_answer_that_ends_a_resumable_upload_is_told_as_what_it_means(gcs_store, error, code):
    writing = gcs._Resumable(gcs_store, Blob(error))
    with pytest.raises(Failure) as raised:
        writing.send(0, memoryview(b"data"), 0)
    assert raised.value.code is code


def test_a_resumable_upload_that_cannot_be_ended_is_let_go_of(gcs_store):
    blob = Blob(answered(412))
    assert gcs._Resumable(gcs_store, blob).finish("c") is None
    assert blob.stream._buffer.closed


def said(code, operation, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


def failing(code, operation, status=400):
    def call(**_):
        raise said(code, operation, status)

    return call


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload"])
def test_parts_that_a_lost_answer_had_joined_already_are_looked_for_at_the_key(s3_store, code):
    writing = s3_store.write("k/a", equal_parts(20 * 2**20))
    s3_store.client.complete_multipart_upload = failing(code, "CompleteMultipartUpload")
    s3_store.client.abort_multipart_upload = failing("NoSuchUpload", "AbortMultipartUpload", 404)
    assert writing.finish("c") is None


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *[("InternalError", 200), ("InternalError", 500), ("ServiceUnavailable", 503), ("SlowDown", 503)],
        *[("OperationAborted", 409), ("RequestTimeout", 400), ("NoSuchUpload", 404)],
    ],
)
def test_a_store_that_is_busy_when_it_copies_a_part_is_asked_again_later(s3_store, code, status):
    writing = s3_store.write("k/b", equal_parts(20 * 2**20))
    s3_store.client.upload_part_copy = failing(code, "UploadPartCopy", status)
    with pytest.raises(Failure) as raised:
        writing.copy(0, 8 * 2**20, Place("a", "k/a", 20 * 2**20, "c", "e"), 0)
    assert (raised.value.code, s3_store.client.calls) == (ExitCode.UNREACHABLE, [])


@pytest.mark.parametrize("code", ["NotImplemented", "NoSuchKey", "PreconditionFailed", "InvalidRequest"])
def test_a_store_that_does_not_copy_a_part_is_sent_it(s3_store, code):
    writing = s3_store.write("k/b", equal_parts(20 * 2**20))
    s3_store.client.upload_part_copy = failing(code, "UploadPartCopy", 501)
    with pytest.raises(Unjoined):
        writing.copy(0, 8 * 2**20, Place("a", "k/a", 20 * 2**20, "c", "e"), 0)
