"""Google Drive: the provider's hook and Google's own client against a server with Drive's API."""

import hashlib

import pytest

from drive_server import Drive
from model_files import CONTENT
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources import drive_link
from modelberth.sources import web as asking
from modelberth.sources.drive import SCOPE, DriveFiles
from modelberth.sources.drive_link import PublicDriveFile


@pytest.fixture
def drive(monkeypatch):
    server = Drive()
    monkeypatch.setattr(drive_link, "PUBLIC", server.url)
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    yield server
    server.web.close()


@pytest.fixture
def account(drive, connect):
    return connect("drive", conn_type="google_cloud_platform", host=drive.url, extra={"keyfile_dict": drive.key()})


def refusal(source):
    with pytest.raises(Failure) as refused:
        source.resolve()
    return refused.value


@pytest.mark.parametrize("page_size", [1000, 1], ids=["one page", "a page a file"])
def test_a_folder_is_the_revision_that_its_files_are(drive, account, shipped, page_size):
    drive.page_size = page_size
    found = shipped(DriveFiles(drive.add_model(CONTENT), account), CONTENT)
    assert {file.sha256 for file in found.held.files} == {hashlib.sha256(data).hexdigest() for data in CONTENT.values()}


def test_a_single_file_is_a_model_too(drive, account, shipped):
    shipped(DriveFiles(drive.add("model.gguf", b"GGUF"), account), {"model.gguf": b"GGUF"})


def test_the_pod_makes_its_own_tokens_for_drive(drive, account, shipped):
    source = DriveFiles(drive.add_model(CONTENT), account)
    assert source.credentials()["MODELBERTH_FETCH_GOOGLE_SCOPE"] == SCOPE
    shipped(source, CONTENT)
    assert len(drive.tokens) >= 2


def test_a_link_that_needs_a_resource_key_is_read_with_it_and_not_without(drive, account, shipped):
    folder = drive.add_model({"model.gguf": b"GGUF"}, resourceKey="0-key")
    for item, one in drive.items.items():
        if one["data"]:
            one["about"]["resourceKey"] = f"1-{item}"
    shipped(DriveFiles(folder, account, "0-key"), {"model.gguf": b"GGUF"})
    failure = refusal(DriveFiles(folder, account))
    assert failure.code is ExitCode.NOT_FOUND
    assert "needs its resource_key" in str(failure)


def test_bytes_that_are_not_those_that_drive_knows_never_appear(drive, account, fetched):
    source = DriveFiles(drive.add_model(CONTENT), account)
    found = source.resolve()
    for one in drive.items.values():
        if one["about"]["name"] == "model.safetensors":
            one["data"] = bytes(len(one["data"]))
    ran = fetched(source, found)
    assert (ran.code, ran.result["outcome"]) == (ExitCode.MISMATCH, "mismatch")


def test_a_file_that_is_replaced_makes_another_version(drive, account):
    source = DriveFiles(drive.add_model(CONTENT), account)
    before = source.resolve()
    assert source.resolve() == before
    (config,) = [one["about"] for one in drive.items.values() if one["about"]["name"] == "config.json"]
    config["sha256Checksum"] = "0" * 64
    assert source.resolve().name != before.name


def test_what_has_no_bytes_is_refused_all_at_once(drive, account):
    folder = drive.add_model(CONTENT)
    for kind in ("document", "spreadsheet", "shortcut"):
        drive.add(f"A {kind}", b"", folder, mimeType=f"application/vnd.google-apps.{kind}", sha256Checksum=None)
    failure = refusal(DriveFiles(folder, account))
    assert failure.code is ExitCode.REFUSED
    assert len(failure.problems) == 3
    assert "'A document' in Drive is of Google's own kind 'document' and has no bytes" in str(failure)


UNFIT = {
    "a name with a slash": ({"name": "a/b"}, "a name with a '/'"),
    "a name that leads out": ({"name": ".."}, "has the part '..'"),
    "a name that is there already": ({"name": "config.json"}, "is there twice"),
    "no digest": ({"name": "x", "sha256Checksum": None}, "knows no SHA-256"),
    "a download that is turned off": ({"name": "x", "capabilities": {"canDownload": False}}, "may not be downloaded"),
}


@pytest.mark.parametrize(("said", "problem"), UNFIT.values(), ids=UNFIT)
def test_a_file_that_no_model_may_have_is_refused(drive, account, said, problem):
    folder = drive.add_model(CONTENT)
    drive.add(said.pop("name"), b"x", folder, **said)
    assert problem in str(refusal(DriveFiles(folder, account)))


def test_an_empty_folder_and_one_that_is_not_there_are_said(drive, account):
    assert "holds no file" in str(refusal(DriveFiles(drive.add("empty"), account)))
    failure = refusal(DriveFiles("nothing", account))
    assert (failure.code, "not shared with the connection's account" in str(failure)) == (ExitCode.NOT_FOUND, True)


ERRORS = {
    "not shared": ((403, "insufficientFilePermissions"), ExitCode.DENIED, "Share it with the connection's account"),
    "too many requests": ((403, "userRateLimitExceeded"), ExitCode.UNREACHABLE, "limits or fails requests"),
    "out of order": ((503, "backendError"), ExitCode.UNREACHABLE, "limits or fails requests"),
}


@pytest.mark.parametrize(("error", "code", "problem"), ERRORS.values(), ids=ERRORS)
def test_what_drive_answers_is_said(drive, account, monkeypatch, error, code, problem):
    drive.error = error
    failure = refusal(DriveFiles(drive.add_model(CONTENT), account))
    assert failure.code is code
    assert problem in str(failure)


# Links. ---------------------------------------------------------------------------------------------------------------


def test_a_public_file_is_fetched_without_any_account(drive, shipped):
    shipped(PublicDriveFile(drive.add("model.gguf", b"GGUF", public=True)), {"model.gguf": b"GGUF"})


def test_what_is_too_large_for_a_virus_scan_is_confirmed_and_comes(drive, shipped):
    large = CONTENT["model.safetensors"]
    shipped(PublicDriveFile(drive.add("model.safetensors", large, public=True)), {"model.safetensors": large})
    assert any(path == "download" for path, _ in drive.web.requests)


def test_two_public_files_are_two_versions_though_drive_says_the_same_of_them(drive):
    large = CONTENT["model.safetensors"]
    first, second = (PublicDriveFile(drive.add("model.safetensors", large, public=True)) for _ in range(2))
    before = first.resolve()
    assert before.held.files[0].etag == second.resolve().held.files[0].etag
    assert second.resolve().name != before.name
    assert first.resolve().name == before.name


def test_a_page_instead_of_a_file_is_never_taken_for_one(drive):
    private = refusal(PublicDriveFile(drive.add("model.gguf", b"GGUF")))
    assert private.code is ExitCode.DENIED
    assert "web page ('Sign in - Google Accounts') instead of the file" in str(private)
    drive.error = (403, "x")
    assert "Quota exceeded" in str(refusal(PublicDriveFile(drive.add("model.gguf", b"GGUF", public=True))))


def test_a_page_that_comes_while_the_file_is_fetched_is_found(drive, fetched):
    source = PublicDriveFile(drive.add("model.gguf", b"GGUF" * 500, public=True))
    found = source.resolve()
    drive.error = (403, "x")
    ran = fetched(source, found)
    assert (ran.code, "It is a web page" in ran.problem) == (ExitCode.CHANGED, True)
