"""Which fetch lists are accepted."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList, Wanted, object_of

GOOD = {"path": "a/model.bin", "url": "https://host/model.bin", "size": 5}


def parse(*files, **more):
    return FetchList.parse(json.dumps({"schema": 1, "files": list(files)} | more).encode())


def test_a_list_is_sorted_and_complete():
    tagged = {"path": "B", "url": "s3://bucket/dir/B c?d#e", "size": 0, "sha256": "0" * 64, "etag": '"x"',
              "version": "7", "executable": True}  # fmt: skip
    found = parse(GOOD, tagged, empty_dirs=["2", "1"])
    assert found.files == (Wanted(**tagged), Wanted(**GOOD))
    assert found.empty_dirs == ("1", "2")


def test_a_key_is_what_follows_the_bucket_as_it_is():
    bucket, key = object_of("gs://bucket/dir/a b%20?c#d")
    assert (str(bucket), key) == ("gs://bucket", "dir/a b%20?c#d")


def test_a_query_is_not_shown():
    assert Wanted("a", "https://host/a?X-Signature=secret", 1).shown == "'https://host/a'"


BAD = {
    "an unknown key": (GOOD | {"sha512": "x"}, "expected an object"),
    "no size": ({"path": "a", "url": "https://host/a"}, "expected an object"),
    "no object": ("a", "expected an object"),
    "a number as path": (GOOD | {"path": 1}, "expected text"),
    "a traversal": (GOOD | {"path": "../x"}, "has the part '..'"),
    "an absolute path": (GOOD | {"path": "/x"}, "has the part ''"),
    "our own name": (GOOD | {"path": ".modelberth/x"}, "reserved"),
    "a size below 0": (GOOD | {"size": -1}, "expected bytes"),
    "a size that is true": (GOOD | {"size": True}, "expected bytes"),
    "a size of text": (GOOD | {"size": "5"}, "expected bytes"),
    "a size beyond all": (GOOD | {"size": 10**18}, "expected bytes"),
    "a short sha256": (GOOD | {"sha256": "00"}, "64 lower-case hex digits"),
    "an upper-case sha256": (GOOD | {"sha256": "A" * 64}, "64 lower-case hex digits"),
    "an etag with a line end": (GOOD | {"etag": "a\r\nX-Evil: 1"}, "expected printable text"),
    "an empty etag": (GOOD | {"etag": ""}, "expected printable text"),
    "a version of http": (GOOD | {"version": "1"}, "knows no 'version'"),
    "executable false": (GOOD | {"executable": False}, "true or absent"),
    "a file URL": (GOOD | {"url": "file:///etc/passwd"}, "is none of http://"),
    "ftp": (GOOD | {"url": "ftp://host/x"}, "is none of http://"),
    "a path as URL": (GOOD | {"url": "model.bin"}, "is none of http://"),
    "a URL without host": (GOOD | {"url": "https:///x"}, "with a host"),
    "a URL with a password": (GOOD | {"url": "https://me:secret@host/x"}, "MODELBERTH_FETCH_AUTHORIZATION"),
    "a URL with a line end": (GOOD | {"url": "https://host/x\r\nX-Evil: 1"}, "percent-encoded"),
    "a URL with a space": (GOOD | {"url": "https://host/a b"}, "percent-encoded"),
    "a URL with a fragment": (GOOD | {"url": "https://host/x#y"}, "fragment"),
    "a URL with an odd port": (GOOD | {"url": "https://host:x/y"}, "is none"),
    "half a bracket": (GOOD | {"url": "https://[x/y"}, "is none"),
    "a URL without end": (GOOD | {"url": "https://host/" + "x" * 5000}, "at most 4096"),
    "a number as URL": (GOOD | {"url": 1}, "no text"),
    "a bucket without key": (GOOD | {"url": "s3://bucket"}, "names no object"),
    "a bucket that is none": (GOOD | {"url": "s3://B/x"}, "names no object"),
    "a key with a way up": (GOOD | {"url": "gs://bucket/../x"}, "names no object"),
}


@pytest.mark.parametrize(("file", "problem"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused(file, problem):
    with pytest.raises(Failure) as caught:
        parse(file)
    assert caught.value.code is ExitCode.REFUSED
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


HEADERS = {
    "a key of Drive": ({"X-Goog-Drive-Resource-Keys": "id/key"}, True),
    "who is asking": ({"Authorization": "Bearer secret"}, False),
    "where to": ({"Host": "elsewhere"}, False),
    "two headers in one": ({"X-A": "b\r\nHost: elsewhere"}, False),
    "a name with a colon": ({"X-A: b": "c"}, False),
    "no text": ({"X-A": 1}, False),
    "a list": (["X-A"], False),
}


@pytest.mark.parametrize(("headers", "fine"), HEADERS.values(), ids=HEADERS)
def test_only_headers_that_change_nothing_of_a_request_are_sent(headers, fine):
    if fine:
        assert parse(GOOD | {"headers": headers}).files[0].headers == headers
    else:
        with pytest.raises(Failure, match="The headers of"):
            parse(GOOD | {"headers": headers})


PACKED = GOOD | {"format": "tar", "most": 100}
BAD_ARCHIVES = {
    "no format": (GOOD | {"most": 1}, "An archive is"),
    "another format": (PACKED | {"format": "rar"}, "expected 'tar' or 'zip'"),
    "no bound": (GOOD | {"format": "tar"}, "An archive is"),
    "a bound that is none": (PACKED | {"most": -1}, "expected bytes"),
    "true as a bound": (PACKED | {"most": True}, "expected bytes"),
    "a directory that leads out": (PACKED | {"into": "../x"}, "'..'"),
    "a bad URL": (PACKED | {"url": "file:///etc/passwd"}, "is none of http://"),
    "an unknown key": (PACKED | {"strip": 1}, "expected an object"),
    "text": ("m.tar", "An archive is"),
}


@pytest.mark.parametrize(("archive", "problem"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_a_bad_archive_is_refused(archive, problem):
    with pytest.raises(Failure, match=re.escape(problem)) as caught:
        parse(archives=[archive])
    assert caught.value.code is ExitCode.REFUSED


def test_a_list_is_written_as_it_is_read():
    found = parse(GOOD | {"headers": {"X-A": "b"}}, archives=[PACKED | {"into": "sub"}], empty_dirs=["1"])
    assert found.archives[0].most == 100
    assert FetchList.parse(found.dump()) == found
    assert FetchList.of(found.files, found.empty_dirs, found.archives) == found


def test_all_problems_are_in_one_error():
    with pytest.raises(Failure) as caught:
        parse(GOOD | {"size": -1, "url": "ftp://x/y"}, GOOD | {"sha256": "x"}, schema=2)
    assert len(caught.value.problems) == 4


CLASHES = {
    "twice": (GOOD, GOOD),
    "also the parent": (GOOD, GOOD | {"path": "a"}),
    "differ only by case": (GOOD, GOOD | {"path": "A/model.bin"}),
}


@pytest.mark.parametrize(("problem", "files"), CLASHES.items(), ids=CLASHES)
def test_paths_that_no_claim_holds_side_by_side_are_refused(problem, files):
    with pytest.raises(Failure, match=problem):
        parse(*files)


DOCUMENTS = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"schema": 1, "files": "\xff"}',
    "a list": b"[]",
    "no file": b'{"schema": 1, "files": []}',
    "another schema": b'{"schema": 2, "files": []}',
    "true as schema": b'{"schema": true, "files": []}',
    "an unknown key": b'{"schema": 1, "files": [], "more": 1}',
    "a key twice": b'{"schema": 1, "files": [{"path": "a", "path": "b", "url": "https://h/a", "size": 1}]}',
    "a deep nest": b'{"schema": 1, "files": ' + b"[" * 9000 + b"]" * 9000 + b"}",
    "a bomb of objects": b"{}," * 300_000,
    "a million keys of which none is repeated": b"{" + b",".join(b'"%d":0' % key for key in range(1_000_000)) + b"}",
    "dirs that are numbers": b'{"schema":1,"files":[{"path":"a","url":"https://h/a","size":1}],"empty_dirs":[1]}',
    "NaN": b'{"schema": 1, "files": [{"path": "a", "url": "https://h/a", "size": NaN}]}',
}


@pytest.mark.parametrize("data", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_bad_document_is_refused(data):
    with pytest.raises(Failure) as caught:
        FetchList.parse(data)
    assert caught.value.code is ExitCode.REFUSED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"schema": 1, "files": [value]}).encode())
)
def test_whatever_comes_is_a_list_or_refused(data):
    with pytest.raises(Failure) as caught:
        FetchList.parse(data)
    assert caught.value.code is ExitCode.REFUSED
