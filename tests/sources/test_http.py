"""Web servers: files that are listed, a checksums file, an archive; what they refuse, and what is refused of them."""

import base64
import bz2
import gzip
import hashlib
import io
import json
import stat
import tarfile
import zipfile

import pytest

from model_files import CONTENT, noise
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources import web as asking
from modelberth.sources.http import HttpFiles
from web_server import WebServer

MIB = 2**20


@pytest.fixture
def web():
    server = WebServer()
    server.files = {f"models/minilm/{path}": data for path, data in CONTENT.items()}
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)


def listed(web, **changes):
    return HttpFiles(**{"url": f"{web.url}/models/minilm", "files": tuple(CONTENT), **changes})


def sums(files):
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items()).encode()


def refusal(source):
    with pytest.raises(Failure) as refused:
        source.resolve()
    return refused.value


# Files. ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_the_listed_files_are_the_revision_that_they_are_in_a_directory(web, shipped, ranges):
    web.ranges = ranges
    shipped(listed(web), CONTENT)


def test_a_checksums_file_names_the_files_and_their_bytes(web, shipped):
    web.files["models/minilm/SHA256SUMS"] = sums(CONTENT)
    found = shipped(listed(web, files=(), checksums="SHA256SUMS"), CONTENT)
    assert {file.sha256 for file in found.held.files} == {hashlib.sha256(data).hexdigest() for data in CONTENT.values()}


def test_bytes_that_are_not_those_of_the_checksums_file_never_appear(web, bucket, fetched):
    web.files["models/minilm/SHA256SUMS"] = sums(CONTENT | {"model.safetensors": b"other"})
    source = listed(web, checksums="SHA256SUMS")
    ran = fetched(source, source.resolve())
    assert (ran.code, ran.result["outcome"]) == (ExitCode.MISMATCH, "mismatch")
    assert not [name for name in bucket.names() if "/revisions/" in name]


def test_names_that_need_it_are_escaped(web, shipped):
    files = {"ä b%20?c.bin": b"x", "50%.bin": b"y"}
    web.files |= {f"models/minilm/{path}": data for path, data in files.items()}
    shipped(listed(web, files=tuple(files)), files)


@pytest.mark.parametrize(("etags", "modified"), [(True, None), (False, 1_700_000_000)], ids=["ETag", "Last-Modified"])
def test_the_version_changes_with_what_the_server_says_of_a_file(web, fetched, etags, modified):
    web.etags, web.modified = etags, modified
    source = listed(web)
    before = source.resolve()
    assert source.resolve() == before
    web.files["models/minilm/config.json"] = b"[]"
    web.modified = modified and modified + 1
    assert source.resolve().name != before.name
    ran = fetched(source, before)
    assert (ran.code, ran.result["outcome"]) == (ExitCode.CHANGED, "changed")


@pytest.mark.parametrize("etags", [True, False], ids=["ETag", "Last-Modified"])
def test_what_a_server_says_alike_of_two_urls_are_two_versions(web, shipped, etags):
    """nginx makes an ETag of time and size; a release's files often have one time, and models of one kind one size."""
    web.etags, web.tag = etags, lambda data: f"{web.modified:x}-{len(data):x}"
    other = CONTENT | {"model.safetensors": bytes(len(CONTENT["model.safetensors"]))}
    web.files |= {f"models/v2/{path}": data for path, data in other.items()}
    first = shipped(listed(web), CONTENT)
    second = shipped(listed(web, url=f"{web.url}/models/v2"), other)
    assert first.name != second.name


def test_what_a_checksums_file_names_is_one_version_wherever_it_lies(web):
    for folder in ("minilm", "v2"):
        web.files |= {f"models/{folder}/{path}": data for path, data in CONTENT.items()}
        web.files[f"models/{folder}/SHA256SUMS"] = sums(CONTENT)
    first, second = (
        listed(web, url=f"{web.url}/models/{folder}", checksums="SHA256SUMS").resolve() for folder in ("minilm", "v2")
    )
    assert first.name == second.name


def test_files_that_nothing_pins_are_refused_unless_a_checksums_file_does(web, shipped):
    web.etags = web.modified = None
    failure = refusal(listed(web))
    assert failure.code is ExitCode.UNSUPPORTED
    assert "Give the source a checksums file" in str(failure)
    web.files["models/minilm/SHA256SUMS"] = sums(CONTENT)
    shipped(listed(web, checksums="SHA256SUMS"), CONTENT)


# Credentials. ---------------------------------------------------------------------------------------------------------

BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
LOGINS = {
    "user and password": ({"login": "me", "password": "secret"}, BASIC),
    "a token": ({"password": "secret"}, "Bearer secret"),
}


def demanding(header):
    return lambda path, headers: None if headers.get("Authorization") == header else (401, {}, b"")


@pytest.mark.parametrize(("login", "header"), LOGINS.values(), ids=LOGINS)
def test_a_server_with_a_login_is_read_with_the_connections(web, connect, shipped, login, header):
    web.refuse = demanding(header)
    shipped(listed(web, connection=connect("hoster", conn_type="http", **login)), CONTENT)


def test_without_a_login_all_files_are_named_as_denied(web):
    web.refuse = demanding(BASIC)
    failure = refusal(listed(web))
    assert failure.code is ExitCode.DENIED
    assert len(failure.problems) == len(CONTENT)
    assert "Give the source a connection" in failure.problems[0]


def test_a_wrong_password_is_in_no_message(web, connect, fetched):
    web.refuse = demanding(BASIC)
    source = listed(web, connection=connect("hoster", conn_type="http", login="me", password="wrong-one"))
    failure = refusal(source)
    assert failure.code is ExitCode.DENIED
    assert "wrong-one" not in str(failure)


def test_a_registry_like_server_hands_out_tokens_that_expire(web, connect, fetched):
    """Each token is good for five requests, one more than there are files: the next is asked for with the password."""
    left = {}

    def refuse(path, headers):
        said = headers.get("Authorization", "")
        if path == "token":
            if said != BASIC:
                return (401, {}, b"")
            left[f"Bearer t{len(left)}"] = 5
            return (200, {}, json.dumps({"token": list(left)[-1].removeprefix("Bearer ")}).encode())
        left[said] = left.get(said, 0) - 1
        if left[said] >= 0:
            return None
        realm = f'Bearer realm="{web.url}/token",service="here",scope="repository:minilm:pull"'
        return (401, {"WWW-Authenticate": realm}, b"")

    source = listed(web, connection=connect("hoster", conn_type="http", login="me", password="secret"))
    found = source.resolve()
    web.refuse = refuse
    ran = fetched(source, found, "--concurrency", "1")
    assert ran.code == 0, ran.result
    assert len(left) > 2
    asked = [headers for path, headers in web.requests if path == "token"]
    assert {headers["Authorization"] for headers in asked} == {BASIC}


def test_a_password_is_not_shown_where_an_answer_over_plain_http_leads_from_https_or_to_a_query(web, connect, fetched):
    source = listed(web, connection=connect("hoster", conn_type="http", login="me", password="secret"))
    found = source.resolve()
    web.refuse = lambda path, headers: (401, {"WWW-Authenticate": 'Bearer realm="ftp://elsewhere/token"'}, b"")
    ran = fetched(source, found)
    assert (ran.code, "sends for a token" in ran.problem) == (ExitCode.REFUSED, True)


# What goes wrong. -----------------------------------------------------------------------------------------------------


def test_all_files_that_are_missing_are_named(web):
    failure = refusal(listed(web, files=("config.json", "gone.bin", "gone.json")))
    assert failure.code is ExitCode.NOT_FOUND
    assert [text.split(" is not at")[0] for text in failure.problems] == ["File 'gone.bin'", "File 'gone.json'"]


def test_a_web_page_in_the_place_of_a_file_is_refused(web):
    web.content_type = "text/html; charset=utf-8"
    failure = refusal(listed(web))
    assert failure.code is ExitCode.REFUSED
    assert "is a web page" in str(failure)


def test_a_server_that_limits_how_often_it_is_asked_is_asked_again_later(web):
    answers = [(429, {"Retry-After": "1"}, b"")] * 2
    web.refuse = lambda path, headers: answers.pop() if answers else None
    assert listed(web).resolve().files == len(CONTENT)
    web.refuse = lambda path, headers: (429, {"Retry-After": "3600"}, b"")
    failure = refusal(listed(web))
    assert failure.code is ExitCode.UNREACHABLE
    assert failure.code.worth_retrying
    assert "limits how often it is asked (HTTP status 429), and asks to wait 3600 s" in str(failure)


def test_a_server_that_fails_or_is_not_there_is_worth_another_try(web):
    web.refuse = lambda path, headers: (503, {}, b"")
    assert "fails (HTTP status 503)" in str(refusal(listed(web)))
    web.close()
    failure = refusal(listed(web))
    assert failure.code is ExitCode.UNREACHABLE
    assert "does not answer" in str(failure)


BAD_SUMS = {
    "no digest": b"config.json\n",
    "a short digest": b"1234  config.json\n",
    "two digests": sums({"config.json": b"1"}) + sums({"config.json": b"2"}),
    "nothing": b"# nothing\n\n",
    "no text": b"\xff\xfe\n",
}


@pytest.mark.parametrize("data", BAD_SUMS.values(), ids=BAD_SUMS)
def test_a_checksums_file_that_is_none_is_refused(web, data):
    web.files["models/minilm/SHA256SUMS"] = data
    failure = refusal(listed(web, checksums="SHA256SUMS"))
    assert failure.code is ExitCode.REFUSED
    assert "SHA256SUMS" in str(failure)


def test_a_path_of_a_checksums_file_that_leads_out_is_refused(web):
    web.files["models/minilm/SHA256SUMS"] = sums({"../../secret": b"x"})
    web.files["secret"] = b"x"
    assert refusal(listed(web, files=(), checksums="SHA256SUMS")).code in (ExitCode.REFUSED, ExitCode.NOT_FOUND)


def test_a_file_that_the_checksums_file_does_not_name_is_said(web):
    web.files["models/minilm/SHA256SUMS"] = sums({"config.json": b"{}"})
    assert "is not in checksums file 'SHA256SUMS'" in str(refusal(listed(web, checksums="SHA256SUMS")))


# Archives. ------------------------------------------------------------------------------------------------------------


def tarred(files, mode="w", members=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return out.getvalue()


def zipped(files, **infos):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, data in files.items():
            packed.writestr(path, data)
        for name, mode in infos.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, "/etc/passwd")
    return out.getvalue()


PACKED = {
    "m.tar": tarred,
    "m.tar.gz": lambda files: tarred(files, "w:gz"),
    "m.tgz": lambda files: tarred({f"./{path}": data for path, data in files.items()}, "w:gz"),
    "m.tar.bz2": lambda files: tarred(files, "w:bz2"),
    "m.tar.xz": lambda files: tarred(files, "w:xz"),
    "m.zip": zipped,
}
SMALL = {"config.json": b"{}", "sub/none": b"", "model.bin": noise(9 * MIB)}


@pytest.fixture
def packed(web):
    def pack(name, data, **changes):
        web.files[f"models/minilm/{name}"] = data
        return listed(web, files=(), archive=name, **changes)

    return pack


@pytest.mark.parametrize(("name", "pack"), PACKED.items(), ids=PACKED)
def test_what_is_in_an_archive_is_the_revision_that_it_is_in_a_directory(
    packed, web, fetched, program, local, name, pack
):
    web.ranges = name != "m.tgz"
    source = packed(name, pack(SMALL))
    ran = fetched(source, source.resolve())
    assert ran.code == 0, ran.result
    assert ran.result["revision"] == "minilm@" + program("manifest", local(SMALL)).result["digest"]


def test_empty_directories_and_programs_keep_what_they_are(packed, fetched, program, local):
    empty, tool = tarfile.TarInfo("1"), tarfile.TarInfo("run.sh")
    empty.type, empty.mode, tool.mode = tarfile.DIRTYPE, 0o755, 0o755
    source = packed("m.tar", tarred({"a": b"1"}, members=[empty, tool]))
    ran = fetched(source, source.resolve())
    directory = local({"a": b"1", "run.sh": b""}, ["1"])
    (directory / "run.sh").chmod(0o755)
    assert ran.result["revision"] == "minilm@" + program("manifest", directory).result["digest"]


def test_the_archive_is_the_one_that_a_checksums_file_names_or_is_not_opened(packed, web, fetched):
    good, other = tarred(SMALL), tarred(SMALL | {"config.json": b"[]"})
    web.files["models/minilm/SHA256SUMS"] = sums({"m.tar": good})
    source = packed("m.tar", good, checksums="SHA256SUMS")
    assert fetched(source, source.resolve()).code == 0
    source = packed("m.tar", other, checksums="SHA256SUMS")
    ran = fetched(source, source.resolve())
    assert (ran.code, ran.result["outcome"]) == (ExitCode.MISMATCH, "mismatch")
    assert "is not the one that was named" in ran.problem


def test_nothing_of_an_archive_stays_behind(packed, fetched, tmp_path, monkeypatch):
    import gc
    import tempfile

    empty = tmp_path / "tmp"
    empty.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    for data in (tarred(SMALL), tarred({"../x": b"1"})):
        source = packed("m.tar", data)
        fetched(source, source.resolve())
        gc.collect()
        assert list(empty.iterdir()) == []


def link(kind, target):
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, target
    return member


def device():
    member = tarfile.TarInfo("dev")
    member.type = tarfile.CHRTYPE
    return member


def overlong():
    """A tar whose next header claims to be a long name of 2 MiB."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2 * MIB
    return member.tobuf(tarfile.GNU_FORMAT) + b"x" * 2 * MIB


def damaged_bzip2():
    data = bytearray(bz2.compress(tarred({"a": noise(500_000)}), 1))
    data[400_000] ^= 0xFF
    return bytes(data)


HOSTILE = {
    "a path that leads out": ("m.tar", tarred({"../../etc/passwd": b"x"}), "has the part '..'"),
    "a path from the root": ("m.tar", tarred({"/etc/passwd": b"x"}), "has the part ''"),
    "a backslash": ("m.zip", zipped({"..\\x": b"x"}), "holds a backslash"),
    "a path that leads out of a zip": ("m.zip", zipped({"a/../../x": b"x"}), "has the part '..'"),
    "our own name": ("m.tar", tarred({".modelberth/x": b"x"}), "reserved part"),
    "a symbolic link": ("m.tar", tarred({}, members=[link(tarfile.SYMTYPE, "/etc/passwd")]), "is a link to"),
    "a hard link": ("m.tar", tarred({"a": b"1"}, members=[link(tarfile.LNKTYPE, "a")]), "is a link to 'a'"),
    "a link in a zip": ("m.zip", zipped({}, link=stat.S_IFLNK | 0o777), "is a link"),
    "a device": ("m.tar", tarred({}, members=[device()]), "is neither file nor directory"),
    "a member twice": ("m.tar", tarred({"a": b"1"})[:1024] + tarred({"a": b"2"}), "is there twice"),
    "a file that is also a directory": ("m.tar", tarred({"a": b"1", "a/b": b"2"}), "is also the parent"),
    "names that differ by case": ("m.tar", tarred({"a": b"1", "A": b"2"}), "differ only by case"),
    "a header of megabytes": ("m.tar", overlong(), "a header of 2097152 bytes"),
    "no tar": ("m.tar", b"x" * 2000, "is no sound tar"),
    "no zip": ("m.zip", b"x" * 2000, "is no sound zip"),
    "a tar that ends too early": ("m.tar", tarred({"a": noise(50_000)})[:20_000], "is no sound tar"),
    "a gzip that ends too early": ("m.tar.gz", tarred({"a": noise(50_000)}, "w:gz")[:20_000], "is no sound tar"),
    "a bzip2 with a damaged block": ("m.tar.bz2", damaged_bzip2(), "is no sound tar: Invalid data stream"),
    "a tar that is cut between two files": ("m.tar", tarred({"a": b"1", "b": b"2"})[:1024], "is no sound tar"),
    "a gzip of something else": ("m.tar.gz", gzip.compress(b"x" * 2000), "is no sound tar"),
    "nothing": ("m.tar", tarred({}), "holds no"),
}


@pytest.mark.parametrize(("name", "data", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_or_broken_archive_is_refused_and_nothing_uploaded(packed, bucket, fetched, name, data, problem):
    source = packed(name, data)
    ran = fetched(source, source.resolve())
    assert ran.code in (ExitCode.REFUSED, ExitCode.NOT_FOUND), ran.result
    assert problem in ran.problem
    assert not [key for key in bucket.names() if "/fetch/" not in key]


@pytest.mark.parametrize(("name", "pack"), [("m.tar.gz", lambda f: tarred(f, "w:gz")), ("m.zip", zipped)])
def test_a_bomb_is_given_up_before_it_goes_off(packed, fetched, name, pack):
    data = pack({"zeros": bytes(20 * MIB)})
    assert len(data) < MIB
    source = packed(name, data)
    ran = fetched(source, source.resolve())
    assert (ran.code, "would unpack to more than" in ran.problem) == (ExitCode.REFUSED, True)
    roomy = packed(name, data, limit=21 * MIB)
    assert fetched(roomy, roomy.resolve()).code == 0


def test_a_zip_that_claims_less_than_it_holds_is_refused(packed, fetched):
    data = bytearray(zipped({"a": b"x" * 5000}))
    for sign, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        where = data.index(sign) + at
        data[where : where + 4] = (10).to_bytes(4, "little")
    source = packed("m.zip", bytes(data))
    ran = fetched(source, source.resolve())
    assert (ran.code, "is no sound zip" in ran.problem) == (ExitCode.REFUSED, True)
