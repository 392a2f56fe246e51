"""A fetch list becomes a revision: from web servers, S3 and GCS, never over the disk."""

import dataclasses
import hashlib
import http.server
import json
import random
import threading
import time
import uuid

import pytest

from modelberth.engine import connection, transport

MIB = 2**20
SECRET = "Bearer hf_0123456789"


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def safetensors(size):
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + noise(size)


CONTENT = {
    "config.json": b"{}",
    "sub/none": b"",
    "model.safetensors": safetensors(25_000_000),
    "run.sh": b"#!/bin/sh\n",
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its Web says."""

    protocol_version = "HTTP/1.1"
    web = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        web, path = self.web, self.path.lstrip("/").partition("?")[0]
        with web.lock:
            web.requests.append((path, dict(self.headers)))
        status = web.answer.get(path)
        if isinstance(status, list):
            status = status.pop(0) if status else 0
        if status:
            self.short(status)
        elif path in web.redirect:
            self.short(302, {"Location": web.redirect[path]()})
        elif path not in web.files:
            self.short(404)
        else:
            self.file(path)

    def short(self, status, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def file(self, path):
        etag = f'"{self.web.etag(path)}"' if self.web.etag else ""
        data = self.web.files[path]
        if self.web.heeds_if_match and etag and self.headers.get("If-Match", etag) != etag:
            self.short(412)
            return
        asked = self.headers.get("Range", "") if self.web.ranges and data else ""
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), min(int(last or len(data)) + 1, len(data))
        self.send_response(206 if asked else 200)
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"} if asked else {}
        headers |= {"ETag": etag} if etag else {}
        for name, value in (headers | {"Content-Length": str(end - start)}).items():
            self.send_header(name, value)
        self.end_headers()
        self.body(data[start:end])

    def body(self, data):
        with self.web.lock:
            cut = self.web.cut > 0 and len(data) > MIB
            self.web.cut -= cut
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True


class Web:
    """A web server whose oddities a test sets."""

    def __init__(self):
        self.files = dict(CONTENT)
        self.ranges = True
        self.heeds_if_match = True
        self.etag = lambda path: hashlib.sha256(self.files[path]).hexdigest()
        self.answer = {}
        self.redirect = {}
        self.cut = 0
        self.requests = []
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def handler(self):
        return type("OfThis", (Handler,), {"web": self})

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web():
    server = Web()
    yield server
    server.close()


@pytest.fixture
def other_web():
    server = Web()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.05)
    monkeypatch.setattr(connection, "LEAST_PER", 5.0)


def listed(url, content=CONTENT, **more):
    """The list of a model's files below a URL."""
    files = [{"path": path, "url": f"{url}/{path}", "size": len(data)} for path, data in content.items()]
    for item in files:
        item.update(more)
        if item["path"] == "run.sh":
            item["executable"] = True
    return {"schema": 1, "files": files, "empty_dirs": ["1"]}


def entry(document, path):
    return next(item for item in document["files"] if item["path"] == path)


@pytest.fixture
def upload(modelberth, tmp_path):
    def run(document, bucket, name="u1", *more, **env):
        path = tmp_path / f"{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(document))
        return modelberth("upload", path, bucket.url, "--model", "minilm", "--upload", name, *more, **env)

    return run


@pytest.fixture
def same(tmp_path):
    """The same model in a directory."""
    directory = tmp_path / "same"
    for path, data in CONTENT.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    (directory / "run.sh").chmod(0o755)
    (directory / "1").mkdir()
    return directory


def revision_of(modelberth, directory):
    return "minilm@" + modelberth("manifest", directory).result["digest"]


def assert_whole(ran, modelberth, bucket, claim, same, trees):
    assert ran.code == 0, ran.result
    assert ran.result["revision"] == revision_of(modelberth, same)
    synced = modelberth("sync", bucket.url, claim, "--revision", ran.result["revision"])
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(same)


# What works. ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_a_model_of_a_web_server_is_the_revision_that_its_directory_is(
    web, bucket, upload, modelberth, claim, same, trees, ranges
):
    web.ranges = ranges
    ran = upload(listed(web.url), bucket)
    assert ran.result["bytes_uploaded"] == ran.result["bytes"]
    assert_whole(ran, modelberth, bucket, claim, same, trees)
    asked = [headers.get("Range") for path, headers in web.requests if path == "model.safetensors"]
    in_parts = ranges and bucket.url.startswith(("s3:", "file:"))  # GCS takes an object in one go
    assert len(asked) == (2 + 3 if in_parts else 3)


def test_a_model_in_s3_is_read_from_there(s3, upload, modelberth, claim, same, trees):
    under = f"source-{uuid.uuid4().hex}/ä b%20?c"
    for path, data in CONTENT.items():
        s3.replace(f"{under}/{path}", data)
    document = listed(f"s3://{s3.parsed.bucket}/{under}")
    assert_whole(upload(document, s3), modelberth, s3, claim, same, trees)
    etag = s3.client.head_object(Bucket=s3.parsed.bucket, Key=f"{under}/config.json")["ETag"]
    entry(document, "config.json")["etag"] = etag.strip('"')
    assert upload(document, s3, "u1").code == 0
    entry(document, "config.json")["etag"] = "other"
    ran = upload(document, s3, "u1")
    assert (ran.code, "has the ETag" in ran.problem) == (27, True)
    s3.delete(f"{under}/run.sh")
    del entry(document, "config.json")["etag"]
    assert upload(document, s3, "u1").result["outcome"] == "not-found"


def test_objects_are_read_from_a_bucket_that_may_not_be_listed(s3, upload):
    for bucket in ("lists-nothing", "takes-uploads"):
        s3.client.create_bucket(Bucket=bucket)
    for path, data in CONTENT.items():
        s3.client.put_object(Bucket="lists-nothing", Key=f"source/{path}", Body=data)
    keys = {"AWS_ACCESS_KEY_ID": "unlisting", "AWS_SECRET_ACCESS_KEY": "unlisting-secret"}
    to = dataclasses.replace(s3, url=f"s3://takes-uploads/{uuid.uuid4().hex}")
    assert upload(listed("s3://lists-nothing/source"), to, **keys).code == 0
    to.url = "s3://lists-nothing/to"
    ran = upload(listed("s3://lists-nothing/source"), to, **keys)
    assert ran.result["outcome"] == "denied"


@pytest.mark.parametrize("bucket", ["gcs"], indirect=True)
def test_a_model_in_gcs_is_read_from_there_by_generation(bucket, upload, modelberth, claim, same, trees):
    for path, data in CONTENT.items():
        bucket.replace(f"source/{path}", data)
    document = listed(f"gs://{bucket.parsed.bucket}/source")
    item = entry(document, "config.json")
    item["version"] = str(bucket.objects()["source/config.json"])
    assert_whole(upload(document, bucket), modelberth, bucket, claim, same, trees)
    item["version"] = "1"
    assert upload(document, bucket, "u1").result["outcome"] == "not-found"


def test_a_sha256_that_is_right_is_checked_in_the_same_pass(web, s3, upload, modelberth, claim, same, trees):
    document = listed(web.url)
    for item in document["files"]:
        item["sha256"] = hashlib.sha256(CONTENT[item["path"]]).hexdigest()
    assert_whole(upload(document, s3), modelberth, s3, claim, same, trees)


def test_the_same_list_again_sends_nothing(web, s3, upload):
    first = upload(listed(web.url), s3, "u1")
    before = s3.objects()
    for name in ("u1", "u2"):
        again = upload(listed(web.url), s3, name)
        assert (again.code, again.result["bytes_uploaded"], again.result["upload"]) == (0, 0, "u1")
        assert again.result["location"] == first.result["location"]
    assert s3.objects() == before


def timed(call):
    began = time.monotonic()
    return call(), time.monotonic() - began


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_what_is_read_only_to_find_that_the_bucket_has_it_keeps_to_the_bandwidth(web, s3, upload, ranges):
    web.ranges = ranges
    assert upload(listed(web.url), s3).code == 0
    again, seconds = timed(lambda: upload(listed(web.url), s3, "u2", "--bandwidth-limit", "10MiB"))
    assert (again.code, again.result["bytes_uploaded"]) == (0, 0)
    assert seconds >= 25_000_000 / (10 * MIB)


def test_nothing_is_written_to_the_disk(web, s3, upload, tmp_path, monkeypatch):
    empty = tmp_path / "tmp"
    empty.mkdir()
    monkeypatch.setenv("TMPDIR", str(empty))
    monkeypatch.chdir(empty)
    assert upload(listed(web.url), s3).code == 0
    assert list(empty.iterdir()) == []


# Redirects and credentials. -------------------------------------------------------------------------------------------


def test_a_redirect_is_followed_and_asked_for_again_when_its_target_expired(web, other_web, s3, upload):
    """Each target serves two requests and is denied from then on, as a signature that expired."""
    handed_out = []

    def target():
        name = f"signed-{len(handed_out)}"
        handed_out.append(name)
        other_web.files[name] = CONTENT["model.safetensors"]
        other_web.answer[name] = [0, 0] + [403] * 100
        return f"{other_web.url}/{name}?X-Signature=secret"

    web.redirect["model.safetensors"] = target
    ran = upload(listed(web.url), s3, "u1", "--concurrency", "1")
    assert ran.code == 0, ran.result
    assert len(handed_out) >= 2


def test_the_authorization_goes_to_the_lists_server_only_and_into_no_message(web, other_web, s3, upload, caplog):
    web.redirect["model.safetensors"] = lambda: f"{other_web.url}/model.safetensors"
    web.redirect["config.json"] = lambda: "/moved.json"
    web.files["moved.json"] = CONTENT["config.json"]
    ran = upload(listed(web.url), s3, MODELBERTH_FETCH_AUTHORIZATION=SECRET)
    assert ran.code == 0, ran.result
    assert {headers.get("Authorization") for _, headers in web.requests} == {SECRET}
    assert other_web.requests
    assert {headers.get("Authorization") for _, headers in other_web.requests} == {None}
    other_web.answer["model.safetensors"] = 401
    denied = upload(listed(web.url), s3, "u2", MODELBERTH_FETCH_AUTHORIZATION=SECRET)
    assert denied.code == 25
    assert SECRET not in denied.problem + caplog.text


ASTRAY = {
    "a circle": (lambda web: f"{web.url}/config.json", "over 5 redirects"),
    "a file": (lambda web: "file:///etc/passwd", "to no URL of http"),
    "nowhere": (lambda web: "", "to no URL of http"),
    "half a bracket": (lambda web: "http://[x/", "to no URL of http"),
    "a port that there cannot be": (lambda web: "http://127.0.0.1:99999/x", "to no URL of http"),
    "a user": (lambda web: "http://a:b@127.0.0.1/x", "to no URL of http"),
}


@pytest.mark.parametrize(("target", "problem"), ASTRAY.values(), ids=ASTRAY)
def test_a_redirect_that_leads_astray_is_refused(web, s3, upload, target, problem):
    web.redirect["config.json"] = lambda: target(web)
    ran = upload(listed(web.url), s3)
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert problem in ran.problem


# What goes wrong. -----------------------------------------------------------------------------------------------------


STATUSES = {
    404: (23, "not-found"),
    410: (23, "not-found"),
    401: (25, "denied"),
    403: (25, "denied"),
    400: (21, "refused"),
}


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_a_file_that_cannot_be_had_is_named_before_a_byte_is_sent(web, s3, upload, status, expected):
    web.answer["config.json"] = status
    ran = upload(listed(web.url), s3)
    assert (ran.code, ran.result["outcome"]) == expected
    assert f"File 'config.json' at '{web.url}/config.json'" in ran.problem
    assert s3.names() == []


def test_all_files_that_cannot_be_had_are_named(web, s3, upload):
    web.answer |= {"config.json": 404, "run.sh": 403}
    ran = upload(listed(web.url), s3)
    assert ran.result["problem_count"] == 2


def test_a_server_that_fails_for_a_while_is_asked_again(web, s3, upload):
    web.answer["model.safetensors"] = [503, 0, 500, 0, 429, 0]
    assert upload(listed(web.url), s3).code == 0
    web.answer["model.safetensors"] = 503
    assert upload(listed(web.url), s3, "u2").code == 14


def test_a_size_that_differs_from_the_list_is_named(web, s3, upload):
    document = listed(web.url)
    entry(document, "config.json")["size"] = 3
    ran = upload(document, s3)
    assert (ran.code, ran.result["outcome"]) == (27, "changed")
    assert "has 2 bytes; the fetch list says 3" in ran.problem
    assert s3.names() == []


def test_an_empty_file_that_is_not_empty_is_named(web, s3, upload):
    web.files["sub/none"] = b"now something"
    ran = upload(listed(web.url), s3)
    assert (ran.code, "has 13 bytes; the fetch list says 0" in ran.problem) == (27, True)


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_other_bytes_than_the_sha256_never_appear(web, s3, upload, ranges):
    web.ranges = ranges
    document = listed(web.url)
    entry(document, "model.safetensors")["sha256"] = "0" * 64
    ran = upload(document, s3)
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    assert "File 'model.safetensors' is not the one that was named" in ran.problem
    assert not [key for key in s3.names() if key.endswith(".safetensors") or "revisions" in key]
    assert modelberth_unfinished(s3) == []


def modelberth_unfinished(s3):
    return s3.client.list_multipart_uploads(Bucket=s3.parsed.bucket, Prefix=s3.parsed.prefix).get("Uploads", [])


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_an_answer_that_ends_too_early_is_asked_for_again(web, s3, upload, modelberth, claim, same, trees, ranges):
    web.ranges = ranges
    web.cut = 2
    assert_whole(upload(listed(web.url), s3), modelberth, s3, claim, same, trees)
    assert web.cut == 0


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds If-Match", "ignores If-Match"])
@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_a_file_that_is_replaced_while_it_is_read_is_found(web, s3, upload, heeds, ranges):
    web.ranges, web.heeds_if_match = ranges, heeds
    replace_after(web, 2 if ranges else 1)
    ran = upload(listed(web.url), s3)
    assert (ran.code, ran.result["outcome"]) == (27, "changed"), ran.result
    assert "File 'model.safetensors' of the source changed" in ran.problem
    assert not [key for key in s3.names() if key.endswith(".safetensors") or "revisions" in key]


HEAD_ANSWERS = {404: (27, "changed"), 412: (27, "changed"), 403: (25, "denied"), 400: (14, "unreachable")}


@pytest.mark.parametrize(("status", "expected"), HEAD_ANSWERS.items())
def test_a_head_that_cannot_be_read_without_ranges_ends_the_upload(web, s3, upload, status, expected):
    web.ranges, web.answer["model.safetensors"] = False, [0, 0, *[status] * 9]  # after the first look, and the bytes
    ran = upload(listed(web.url), s3)
    assert (ran.code, ran.result["outcome"]) == expected, ran.result
    assert "model.safetensors" in ran.problem
    assert not [key for key in s3.names() if "revisions" in key]


def test_a_head_that_is_denied_once_without_ranges_is_asked_for_anew(web, s3, upload, modelberth, claim, same, trees):
    web.ranges, web.answer["model.safetensors"] = False, [0, 0, 403]
    assert_whole(upload(listed(web.url), s3), modelberth, s3, claim, same, trees)
    assert web.answer["model.safetensors"] == []


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds If-Match", "ignores If-Match"])
def test_the_head_of_a_file_that_took_the_place_of_the_one_that_is_read_is_not_used(web, s3, upload, heeds):
    web.ranges, web.heeds_if_match = False, heeds
    replace_after(web, 2)
    ran = upload(listed(web.url), s3)
    assert (ran.code, ran.result["outcome"]) == (27, "changed"), ran.result


def replace_after(web, count):
    """Let the model be another one of the same size after some requests for it."""
    asked = 0
    other = noise(len(CONTENT["model.safetensors"]), 2)

    def etag(path):
        nonlocal asked
        asked += path == "model.safetensors"
        if asked > count:
            web.files["model.safetensors"] = other
        return hashlib.sha256(web.files[path]).hexdigest()

    web.etag = etag


def test_a_file_that_grows_is_found_without_any_etag(web, s3, upload):
    web.etag = None
    document = listed(web.url)
    data = CONTENT["model.safetensors"]

    class Growing(dict):
        def __getitem__(self, path):
            count = sum(asked == "model.safetensors" for asked, _ in web.requests)
            return data + b"x" if path == "model.safetensors" and count > 3 else super().__getitem__(path)

    web.files = Growing(web.files)
    ran = upload(document, s3)
    assert (ran.code, ran.result["outcome"]) == (27, "changed"), ran.result


BAD = {
    "a traversal": ({"path": "../x"}, "'..'"),
    "an unknown key": ({"sha512": "x"}, "expected an object"),
    "a negative size": ({"size": -1}, "expected bytes"),
    "a local file": ({"url": "file:///etc/passwd"}, "is none of http://"),
}


@pytest.mark.parametrize(("change", "problem"), BAD.values(), ids=BAD)
def test_a_bad_list_is_refused_before_anybody_is_asked(web, s3, upload, change, problem):
    document = listed(web.url)
    document["files"][0].update(change)
    ran = upload(document, s3)
    assert (ran.code, ran.result["outcome"]) == (21, "refused")
    assert problem in ran.problem
    assert web.requests == []


def test_a_list_with_links_to_follow_is_refused(web, s3, upload, tmp_path):
    assert upload(listed(web.url), s3, "u1", "--follow-links", tmp_path).code == 21


def test_a_list_that_is_not_there_is_not_found(s3, modelberth, tmp_path):
    ran = modelberth("upload", tmp_path / "none.json", s3.url, "--model", "minilm")
    assert (ran.code, ran.result["outcome"]) == (23, "not-found")


def test_an_interrupted_fetch_goes_on_by_part(web, s3, upload, modelberth):
    web.answer["model.safetensors"] = [0] * 3 + [503] * 1000
    assert upload(listed(web.url), s3, "u1", "--concurrency", "1").code == 14
    assert len(modelberth_unfinished(s3)) == 1
    web.answer.clear()
    ran = upload(listed(web.url), s3)
    assert (ran.code, 0 < ran.result["bytes_uploaded"] < 20 * MIB) == (0, True), ran.result
    assert modelberth_unfinished(s3) == []
