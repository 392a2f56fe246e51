"""MLflow: a real tracking server, models registered by its own client, artifacts in S3 and behind the server."""

import json

import pytest

from model_files import CONTENT
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources import web as asking
from modelberth.sources.mlflow import RegisteredModel

OTHER = CONTENT | {"config.json": b'{"v": 2}'}

REGISTER = """
import json, sys
from pathlib import Path
from mlflow import MlflowClient
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
at, home = sys.argv[1:]
client = MlflowClient(at, at)
s3, proxied = client.create_experiment("s3", "s3://mlflow/runs"), client.create_experiment("proxied")
for name, experiment in {"minilm": s3, "proxied": proxied}.items():
    client.create_registered_model(name)
    for directory, tags in (("one", {"service": "chat"}), ("two", {"service": "chat", "tuned": "yes"}), ("one", {})):
        run = client.create_run(experiment).info
        client.log_artifacts(run.run_id, f"{home}/{directory}", "model")
        client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id, tags=tags)
    client.set_registered_model_alias(name, "champion", "1")
client.create_registered_model("empty")
"""


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    for name, content in {"one": CONTENT, "two": OTHER}.items():
        for path, data in content.items():
            (home / name / path).parent.mkdir(parents=True, exist_ok=True)
            (home / name / path).write_bytes(data)
    return home


@pytest.fixture(scope="session")
def server(files, mlflow):
    """A tracking server with three versions of two models."""
    mlflow.client(REGISTER, str(files))
    return mlflow.url


@pytest.fixture
def tracking(server, mlflow, connect):
    return connect("tracking", **mlflow.connection)


@pytest.fixture
def model(tracking, store):
    return lambda name="minilm", **choice: RegisteredModel(name, tracking, store, **choice)


def refusal(source, version=""):
    with pytest.raises(Failure) as refused:
        source.resolve(version)
    return refused.value


CHOICES = {
    "a version": ({"version": "1"}, "1", CONTENT),
    "an alias": ({"alias": "champion"}, "1", CONTENT),
    "a tag": ({"tags": (("service", "chat"),)}, "2", OTHER),
    "two tags": ({"tags": (("service", "chat"), ("tuned", "yes"))}, "2", OTHER),
    "the newest": ({}, "3", CONTENT),
}


@pytest.mark.parametrize(("choice", "number", "content"), CHOICES.values(), ids=CHOICES)
def test_a_version_whose_artifacts_are_in_s3_is_the_revision_that_its_files_are(
    model, shipped, choice, number, content
):
    assert shipped(model(**choice), content).label == number


def test_artifacts_that_the_server_hands_out_are_fetched_from_it(tracking, shipped):
    shipped(RegisteredModel("proxied", tracking, alias="champion"), CONTENT)


def test_an_alias_that_moves_is_another_version_and_what_was_proposed_is_still_to_be_had(server, model, shipped):
    source = model(alias="champion")
    before = source.resolve()
    moved(server, "champion", "2")
    try:
        after = source.resolve()
        assert (before.label, after.label) == ("1", "2")
        assert after.name != before.name
        assert source.resolve(before.label) == before
        moved(server, "champion", "1")
        assert source.resolve() == before
    finally:
        moved(server, "champion", "1")


def moved(server, alias, version):
    """Let an alias lead to a version, as people do in MLflow's UI."""
    from urllib.request import Request, urlopen

    body = json.dumps({"name": "minilm", "alias": alias, "version": version}).encode()
    where = f"{server}/api/2.0/mlflow/registered-models/alias"
    urlopen(Request(where, body, {"Content-Type": "application/json"})).close()  # noqa: S310 - our own server


def test_two_versions_of_the_same_bytes_are_two_versions(model):
    first, third = model(version="1").resolve(), model(version="3").resolve()
    assert first.name != third.name


def test_versions_are_the_numbers_and_the_aliases(model):
    assert model().versions() == {"1": "1", "2": "2", "3": "3", "champion": "1"}


MISSING = {
    "a version": ({"version": "7"}, "no version '7', or not any more; there are:"),
    "an alias": ({"alias": "challenger"}, "no alias 'challenger', or not any more; there are:"),
    "a tag": ({"tags": (("service", "search"),)}, "no version with the tags service=search that is ready; there are:"),
}


@pytest.mark.parametrize(("choice", "problem"), MISSING.values(), ids=MISSING)
def test_what_the_registry_does_not_have_is_named_with_what_it_has(model, choice, problem):
    failure = refusal(model(**choice))
    assert failure.code is ExitCode.NOT_FOUND
    assert problem in str(failure)
    assert "champion" in str(failure)


def test_a_model_that_is_not_there_or_has_no_version_is_said(model):
    for name in ("nothing", "empty"):
        failure = refusal(model(name))
        assert failure.code is ExitCode.NOT_FOUND
        assert repr(name) in str(failure)


def test_artifacts_in_a_store_without_a_connection_to_it_are_refused(tracking):
    failure = refusal(RegisteredModel("minilm", tracking, version="1"))
    assert failure.code is ExitCode.REFUSED
    assert "name the connection that may read them as the source's 'artifacts'" in str(failure)


def test_a_connection_without_a_host_names_no_server(connect):
    failure = refusal(RegisteredModel("minilm", connect("hostless", conn_type="http", password="x")))
    assert "names no tracking server" in str(failure)


def test_a_server_that_is_down_is_worth_another_try(connect, monkeypatch):
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    failure = refusal(RegisteredModel("minilm", connect("down", conn_type="http", host="127.0.0.1", port=9)))
    assert failure.code is ExitCode.UNREACHABLE
