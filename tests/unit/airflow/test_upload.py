"""Upload: the program as a process that outlives the task, with the credentials of one connection and no others."""

import json
import os
import time

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRuntimeError,
    AirflowTaskTimeout,
    ErrorType,
)
from airflow.sdk.execution_time.comms import ErrorResponse

from modelberth.catalog import load
from modelberth.operators import release_of
from modelberth.operators import upload as module
from modelberth.operators.credentials import environment
from modelberth.operators.keeping import Kept
from modelberth.operators.outcome import Outcome
from modelberth.operators.statefolder import StateFolder
from modelberth.operators.upload import UploadModelOperator
from modelberth.receipts import release_evidence
from modelberth.sources.directory import Directory

AWS = {
    "conn_type": "aws",
    "login": "key-id",
    "password": "key-secret",
    "extra": {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-central-1"},
}


class Commands(list):
    """The command lines that were asked for; ``limit`` is added to those that follow."""

    limit = ()


@pytest.fixture
def commands(tmp_path, monkeypatch):
    real, asked = module.words, Commands()

    def with_file_url(model, release_id):
        words = real(model, release_id)
        words[2] = f"file://{tmp_path}/bucket/models"
        asked.append([*words, *asked.limit])
        return asked[-1]

    monkeypatch.setattr(module, "words", with_file_url)
    return asked


@pytest.fixture
def bucket(tmp_path, monkeypatch, commands):
    """A directory that stands for the bucket, to which the program uploads over file://."""
    (tmp_path / "bucket/models").mkdir(parents=True)
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_S3", json.dumps(AWS))
    monkeypatch.setenv("MODELBERTH_STATE", str(tmp_path))
    return tmp_path / "bucket"


@pytest.fixture
def proposed(evidence, source):
    """The receipt of resolve."""
    evidence.write("resolve", {"source_version": str(Directory(source).resolve().name)})
    return evidence


@pytest.fixture
def upload(proposed, bucket, context):
    """Runs the operator."""
    return lambda: UploadModelOperator(task_id="upload", model="minilm").execute(context)


def test_the_model_is_in_the_bucket_under_the_releases_name(upload, bucket, proposed):
    result = upload()
    (data,) = bucket.rglob("model.onnx")
    assert data.read_bytes() == b"weights"
    assert data.parent.name == proposed.release_id
    receipt = proposed.read("upload")
    assert receipt["revision"] == result["revision"]
    assert (receipt["files"], receipt["bytes"], receipt["upload"]) == (1, 7, proposed.release_id)


def test_a_retry_sends_nothing_again(upload, proposed):
    assert upload()["revision"] == upload()["revision"]
    assert proposed.read("upload")["bytes_uploaded"] == 0


def test_the_same_bytes_are_not_uploaded_a_second_time_under_another_name(upload, context, objects, source):
    first = upload()
    context["dag_run"].run_id = "manual__2"
    release = release_evidence(load().model("minilm"), release_of(context))
    release.write("resolve", {"source_version": str(Directory(source).resolve().name)})
    assert upload()["revision"] == first["revision"]
    assert release.read("upload")["bytes_uploaded"] == 0


def test_a_source_that_moved_on_before_is_refused(upload, source, bucket):
    (source / "model.onnx").write_bytes(b"other")
    with pytest.raises(AirflowFailException, match="moved on during the release"):
        upload()
    assert not list(bucket.rglob("model.onnx"))


def test_a_source_that_moves_on_while_it_is_read_is_refused(upload, source, proposed, monkeypatch):
    follow = Kept.follow

    def and_then_it_changes(self, say, look):
        outcome = follow(self, say, look)
        (source / "model.onnx").write_bytes(b"other")
        return outcome

    monkeypatch.setattr(Kept, "follow", and_then_it_changes)
    with pytest.raises(AirflowFailException, match="moved on during the release"):
        upload()
    assert proposed.find("upload") is None


def test_without_a_proposal_nothing_is_uploaded(evidence, bucket, context):
    with pytest.raises(AirflowFailException, match="has no receipt 01-resolve"):
        UploadModelOperator(task_id="upload", model="minilm").execute(context)
    assert not list(bucket.rglob("model.onnx"))


LENT = {"extra": AWS["extra"] | {"aws_session_token": "lent"}}


@pytest.mark.parametrize(
    ("code", "connection", "kind"),
    [
        (14, {}, AirflowException),
        (143, {}, AirflowException),
        (25, {}, AirflowFailException),
        (25, LENT, AirflowException),  # they expire: the next try has others
    ],
)
def test_the_programs_end_decides_about_a_retry(upload, monkeypatch, code, connection, kind, proposed):
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_S3", json.dumps(AWS | connection))
    monkeypatch.setattr(Kept, "follow", lambda self, say, look: Outcome(code, "", "Process 1"))
    with pytest.raises(AirflowException) as raised:
        upload()
    assert type(raised.value) is kind
    assert proposed.find("upload") is None


@pytest.fixture
def running(proposed, bucket, context, commands, source):
    """The operator whose upload an earlier try started; the upload takes 40 s."""
    (source / "more.bin").write_bytes(os.urandom(1 << 20))
    (source / "most.bin").write_bytes(os.urandom(1 << 20))
    proposed.write("resolve", {"source_version": str(Directory(source).resolve().name)})
    commands.limit = ("--bandwidth-limit", "50KiB")
    command = module.words(load().model("minilm"), proposed.release_id)
    kept = Kept(proposed.release_id, command)
    kept.begin(lambda: environment(load().model("minilm").bucket))
    operator = UploadModelOperator(task_id="upload", model="minilm")
    folder = StateFolder.of(proposed.release_id, command)
    yield operator, folder
    while folder.path.exists() and folder.kept:
        folder.end.touch()
        time.sleep(0.05)


def refused(code=401):
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": code}))


def says(context, state):
    """Let the server say *state* of the task, or raise it."""

    def get_task_states(**asked):
        assert asked == {"dag_id": "release_minilm", "task_ids": ["t"], "run_ids": ["manual__1"]}
        if isinstance(state, Exception):
            raise state
        return {"manual__1": {"t": state}} if state != "gone" else {}

    context["ti"].get_task_states = get_task_states


@pytest.mark.parametrize("state", ["failed", "success", "restarting", "gone"])
def test_a_task_that_a_person_ends_ends_the_upload(running, context, state):
    operator, folder = running
    says(context, state)
    operator.on_kill()
    with pytest.raises(AirflowException, match=r"exit code .*its end was asked for"):
        operator.execute(context)
    assert not folder.path.exists()


@pytest.mark.parametrize("state", ["up_for_retry", "queued", "running", None, refused()])
def test_a_task_that_airflow_lost_leaves_the_upload_to_the_next_try(running, context, state):
    operator, folder = running
    says(context, state)
    operator.on_kill()
    with pytest.raises(AirflowException, match="The upload goes on: the next try on this host joins it") as raised:
        operator.execute(context)
    assert not isinstance(raised.value, AirflowFailException)
    assert folder.kept
    assert not folder.end.exists()


def test_a_task_that_took_too_long_ends_the_upload(running, context, monkeypatch):
    operator, folder = running
    monkeypatch.setattr(operator, "_look", lambda *_: (_ for _ in ()).throw(AirflowTaskTimeout()))
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(context)
    assert folder.end.exists()


def test_refused_credentials_of_an_earlier_try_are_tried_again_with_new_ones(running, context, monkeypatch):
    operator, _ = running
    monkeypatch.setattr(Kept, "follow", lambda self, say, look: Outcome(25, "", "Process 1"))
    with pytest.raises(AirflowException, match="The next try has credentials made anew") as raised:
        operator.execute(context)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_worker_without_a_place_for_states_is_tried_again(upload, monkeypatch):
    """Another worker may have one."""
    monkeypatch.setenv("MODELBERTH_STATE", "/proc/nowhere")
    with pytest.raises(AirflowException, match="MODELBERTH_STATE") as raised:
        upload()
    assert not isinstance(raised.value, AirflowFailException)


def test_nothing_is_left_on_the_worker(upload, tmp_path):
    upload()
    (host,) = (tmp_path / f"modelberth-{os.getuid()}").iterdir()
    assert not list(host.iterdir())


def test_the_environment_has_the_connections_credentials_and_no_others(catalog, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_S3", json.dumps(AWS))
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody-else")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/somebody/else.json")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    with environment(load().model("minilm").bucket) as variables:
        assert {name: value for name, value in variables.items() if name.startswith("AWS")} == {
            "AWS_ACCESS_KEY_ID": "key-id",
            "AWS_SECRET_ACCESS_KEY": "key-secret",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_REGION": "eu-central-1",
        }
        assert not [name for name in variables if name.startswith(("AIRFLOW", "GOOGLE"))]
        assert variables["HTTPS_PROXY"] == "http://proxy:3128"


def test_no_secret_is_on_the_command_line(upload, commands):
    upload()
    assert "key-secret" not in " ".join(commands[0])
