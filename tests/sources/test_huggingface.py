"""The Hugging Face Hub: pinned commits, digests of large files, who may see what; against a server with its API."""

import hashlib

import pytest
from huggingface_hub import HfApi, snapshot_download

from hub_server import Hub
from model_files import CONTENT
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources import web as asking
from modelberth.sources.huggingface import HubRepository

OTHER = CONTENT | {"config.json": b'{"v": 2}'}


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    server.commit(CONTENT | {".gitattributes": b"*.safetensors filter=lfs"}, "main", "v1")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    yield server
    server.close()


@pytest.fixture
def token(hub, connect):
    return connect("hub", conn_type="http", password=hub.token)


def refusal(source, version=""):
    with pytest.raises(Failure) as refused:
        source.resolve(version)
    return refused.value


def test_the_hubs_own_client_can_read_from_this_server(hub, tmp_path):
    where = snapshot_download("org/minilm", endpoint=hub.url, local_dir=tmp_path / "hub", token=False)
    assert {path: (tmp_path / "hub" / path).read_bytes() for path in CONTENT} == CONTENT, where
    refs = HfApi(endpoint=hub.url, token=False).list_repo_refs("org/minilm")
    assert {one.name for one in refs.branches} == {"main", "v1"}


@pytest.mark.parametrize("page_size", [1000, 1], ids=["one page", "a page a file"])
def test_a_repository_is_the_revision_that_its_files_are(hub, shipped, page_size):
    hub.page_size = page_size
    found = shipped(HubRepository("org/minilm"), CONTENT)
    assert found.label == hub.refs["main"]
    large = next(file for file in found.held.files if file.path == "model.safetensors")
    assert large.sha256 == hashlib.sha256(CONTENT["model.safetensors"]).hexdigest()


def test_the_signed_urls_of_large_files_are_asked_for_again_when_they_expire(hub, fetched):
    source = HubRepository("org/minilm")
    found = source.resolve()
    hub.uses = 2
    ran = fetched(source, found, "--concurrency", "1")
    assert ran.code == 0, ran.result
    assert len({path for path, _ in hub.storage.requests}) > 1


def test_what_the_hub_says_is_the_digest_is_compared(hub, fetched):
    source = HubRepository("org/minilm")
    found = source.resolve()
    hub.commits[found.label]["model.safetensors"] = bytes(len(CONTENT["model.safetensors"]))
    ran = fetched(source, found)
    assert (ran.code, ran.result["outcome"]) == (ExitCode.MISMATCH, "mismatch")


def test_a_small_file_that_is_not_the_one_of_the_commit_is_not_taken(hub, fetched):
    source = HubRepository("org/minilm")
    found = source.resolve()
    hub.commits[found.label]["config.json"] = b"[]"
    ran = fetched(source, found)
    assert (ran.code, ran.result["outcome"]) == (ExitCode.CHANGED, "changed")


def test_a_branch_that_moves_is_another_version_and_the_commit_is_still_to_be_had(hub, shipped):
    source = HubRepository("org/minilm")
    before = source.resolve()
    hub.commit(OTHER, "main")
    assert source.resolve().name != before.name
    assert source.resolve(before.label) == before
    shipped(source, CONTENT, version=before.label)


def test_versions_are_the_branches_and_tags(hub):
    moved = hub.commit(OTHER, "main")
    assert HubRepository("org/minilm").versions() == {"main": moved, "v1": hub.refs["v1"]}
    assert HubRepository("org/minilm", "v1").resolve().label == hub.refs["v1"]


def test_files_that_are_not_wanted_are_left_out_and_do_not_make_a_version(hub, shipped):
    source = HubRepository("org/minilm", include=("*.json", "*.safetensors"), exclude=("sub/*",))
    wanted = {path: data for path, data in CONTENT.items() if not path.startswith("sub/")}
    before = shipped(source, wanted)
    hub.commit(CONTENT | {"README.md": b"new"}, "main")
    assert source.resolve().name == before.name
    assert "that include and exclude leave" in str(refusal(HubRepository("org/minilm", include=("*.onnx",))))


def test_a_private_repository_is_read_with_a_token_and_not_without(hub, token, shipped, connect):
    hub.private = True
    shipped(HubRepository("org/minilm", connection=token), CONTENT)
    without = refusal(HubRepository("org/minilm"))
    assert without.code is ExitCode.DENIED
    assert "is private or not at" in str(without)
    wrong = refusal(HubRepository("org/minilm", connection=connect("other", conn_type="http", password="hf_wrong")))
    assert wrong.code is ExitCode.NOT_FOUND
    assert "hf_wrong" not in str(wrong)


def test_a_gated_model_needs_somebody_who_accepted_its_terms(hub, token, shipped, connect):
    hub.gated = True
    for source in (
        HubRepository("org/minilm"),
        HubRepository("org/minilm", connection=connect("other", conn_type="http", password="hf_stranger")),
    ):
        failure = refusal(source)
        assert failure.code is ExitCode.DENIED
        assert "is gated: accept its terms" in str(failure)
    shipped(HubRepository("org/minilm", connection=token), CONTENT)


def test_a_repository_that_is_not_there_is_said(hub, token):
    assert "is private or not at" in str(refusal(HubRepository("org/nothing")))
    failure = refusal(HubRepository("org/nothing", connection=token))
    assert (failure.code, "is not at" in str(failure)) == (ExitCode.NOT_FOUND, True)


def test_a_revision_that_was_deleted_is_named_with_those_that_are_left(hub):
    failure = refusal(HubRepository("org/minilm", "v9"))
    assert failure.code is ExitCode.NOT_FOUND
    assert "has no revision 'v9'; there are: main, v1" in str(failure)
    before = HubRepository("org/minilm").resolve()
    hub.commits.clear()
    assert refusal(HubRepository("org/minilm"), before.label).code is ExitCode.NOT_FOUND


def test_a_hub_that_limits_requests_is_asked_later(hub):
    hub.web.refuse = lambda path, headers: (429, {"Retry-After": "300"}, b"")
    failure = refusal(HubRepository("org/minilm"))
    assert failure.code.worth_retrying
    assert "limits how often it is asked" in str(failure)


def test_another_hub_is_the_host_of_the_connection(hub, connect, shipped, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    host, _, port = hub.url.removeprefix("http://").partition(":")
    name = connect("mirror", conn_type="http", schema="http", host=host, port=int(port), password=hub.token)
    shipped(HubRepository("org/minilm", connection=name), CONTENT)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", ".modelberth/x"])
def test_a_path_that_no_model_may_have_is_refused(hub, path):
    hub.commit(CONTENT | {path: b"x"}, "main")
    assert refusal(HubRepository("org/minilm")).code is ExitCode.REFUSED


def test_an_answer_that_is_no_hubs_is_said(hub):
    hub.web.refuse = lambda path, headers: (200, {"Content-Type": "text/html"}, b"<html>Welcome")
    failure = refusal(HubRepository("org/minilm"))
    assert (failure.code, "is no JSON" in str(failure)) == (ExitCode.REFUSED, True)
