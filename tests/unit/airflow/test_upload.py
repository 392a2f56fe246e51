"""Upload: the program as a child of the task, with the credentials of one connection and no others."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.catalog import load
from modelberth.operators import child, release_of
from modelberth.operators.child import Child
from modelberth.operators.credentials import environment
from modelberth.operators.outcome import Outcome
from modelberth.operators.upload import UploadModelOperator
from modelberth.receipts import release_evidence
from modelberth.sources.directory import Directory

AWS = {
    "conn_type": "aws",
    "login": "key-id",
    "password": "key-secret",
    "extra": {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-central-1"},
}


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A directory that stands for the bucket, to which the program uploads over file://."""
    (tmp_path / "bucket/models").mkdir(parents=True)
    real = Child.__init__

    def with_file_url(self, arguments, environment):
        url = f"file://{tmp_path}/bucket/models"
        real(self, [url if one.startswith("s3://") else one for one in arguments], environment)

    monkeypatch.setattr(Child, "__init__", with_file_url)
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_S3", json.dumps(AWS))
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
    follow = Child.follow

    def and_then_it_changes(self, log):
        outcome = follow(self, log)
        (source / "model.onnx").write_bytes(b"other")
        return outcome

    monkeypatch.setattr(Child, "follow", and_then_it_changes)
    with pytest.raises(AirflowFailException, match="moved on during the release"):
        upload()
    assert proposed.find("upload") is None


def test_without_a_proposal_nothing_is_uploaded(evidence, bucket, context):
    with pytest.raises(AirflowFailException, match="has no receipt 01-resolve"):
        UploadModelOperator(task_id="upload", model="minilm").execute(context)
    assert not list(bucket.rglob("model.onnx"))


@pytest.mark.parametrize(
    ("code", "kind"), [(14, AirflowException), (143, AirflowException), (25, AirflowFailException)]
)
def test_the_programs_end_decides_about_a_retry(upload, monkeypatch, code, kind, proposed):
    monkeypatch.setattr(Child, "follow", lambda self, log: Outcome(code, "", "Process 1"))
    with pytest.raises(AirflowException) as raised:
        upload()
    assert type(raised.value) is kind
    assert proposed.find("upload") is None


@pytest.fixture
def program(monkeypatch):
    """Runs Python code as if it were the program; returns the child."""

    def run(code, environment=None):
        real = subprocess.Popen

        def replaced(command, **kwargs):
            return real([sys.executable, "-u", "-c", code], **kwargs)

        monkeypatch.setattr(child.subprocess, "Popen", replaced)
        return Child(["upload"], environment or dict(os.environ))

    return run


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def info(self, form, *values):
        self.lines.append(form % values)


def test_lines_are_logged_and_the_last_json_is_the_result(program):
    log = Log()
    code = """
import sys
print("one"); print("two", file=sys.stderr); print('{"a": 1}'); print('{"a": 2}'); print("late", file=sys.stderr)
sys.exit(11)
"""
    outcome = program(code).follow(log)
    assert log.lines == ["one", "two", "late"]
    assert (outcome.exit_code, outcome.message) == (11, '{"a": 2}\n')


def test_bytes_that_are_no_text_do_not_end_the_task(program):
    log = Log()
    assert program(r"import sys; sys.stdout.buffer.write(b'\xff\n')").follow(log).exit_code == 0
    assert log.lines == ["\N{REPLACEMENT CHARACTER}"]


def test_a_program_that_was_killed_is_named_by_the_signal(program):
    outcome = program("import os; os.kill(os.getpid(), 9)").follow(Log())
    assert (outcome.exit_code, outcome.reason) == (137, "SIGKILL")


def ends_on_sigterm():
    return "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(10)); print('up'); time.sleep(60)"


def ignores_sigterm():
    return "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"


@pytest.mark.parametrize(("code", "ended"), [(ends_on_sigterm(), 10), (ignores_sigterm(), 137)])
def test_killing_the_task_ends_the_program(program, monkeypatch, code, ended):
    monkeypatch.setattr(child, "PATIENCE", 0.5)
    running = program(code)
    outcomes, log = [], Log()
    follower = threading.Thread(target=lambda: outcomes.append(running.follow(log)))
    follower.start()
    while "up" not in log.lines:
        time.sleep(0.01)
    began = time.monotonic()
    running.end()
    follower.join(10)
    assert outcomes[0].exit_code == ended
    assert time.monotonic() - began < 5


def test_a_task_that_is_killed_before_the_upload_has_nothing_to_end():
    UploadModelOperator(task_id="upload", model="minilm").on_kill()


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


def test_no_secret_is_on_the_command_line(upload, monkeypatch):
    commands = []
    real = subprocess.Popen

    def watched(command, **kwargs):
        commands.append(command)
        return real(command, **kwargs)

    monkeypatch.setattr(child.subprocess, "Popen", watched)
    upload()
    assert "key-secret" not in " ".join(commands[0])
    assert commands[0][1:3] == ["-m", "modelberth.engine"]
