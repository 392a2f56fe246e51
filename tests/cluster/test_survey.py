"""``python -m modelberth check``: the catalog against a real cluster and real buckets."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import yaml

from modelberth.__main__ import main

PROJECT = Path(__file__).resolve().parents[2]


def alone(*words):
    """Run it as people do; it takes seconds to begin, since it loads Airflow."""
    env = os.environ | {"PYTHONPATH": str(PROJECT / "plugins")}
    command = [sys.executable, "-m", "modelberth", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def inside(*words):
    """Run it inside this process."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["modelberth", *words])
        code = main()
    return subprocess.CompletedProcess(words, code, out.getvalue(), "")


@pytest.fixture
def check(stand, tmp_path, monkeypatch):
    """Runs the command over a catalog of one model and one service, whose files a test may change."""
    name = f"m-{uuid.uuid4().hex[:6]}"
    stand.deploy(name, path="/models/none")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/weights.bin").write_bytes(b"weights")
    model = yaml.safe_load((PROJECT / "include/models/minilm.yaml").read_text())
    service = yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text())
    model |= {
        "source": {"type": "directory", "path": str(tmp_path / "source")},
        "bucket": {"url": f"s3://{stand.bucket}/models", "connection": "test_receipts"},
        "receipts": {"url": f"s3://{stand.bucket}/receipts", "connection": "test_receipts"},
    }
    service |= {"connection": "test_kubernetes", "namespace": stand.namespace, "ready_within": 60}
    service["workload"] = {"kind": "Deployment", "name": name}
    service["bindings"] = [{"container": "server", "variable": "MODEL_PATH", "model": "tiny"}]

    def run(*words, models=(), services=(), ask=inside):
        for folder, file, document in (
            ("models", "tiny", model | dict(models)), ("services", "served", service | dict(services)),
        ):  # fmt: skip
            path = tmp_path / f"include/{folder}/{file}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(document))
        monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path / "include"))
        return ask("check", *words)

    yield run
    stand.remove(name)


def test_a_catalog_that_fits_its_world_is_well(check):
    done = check(ask=alone)
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert rows[0] == ["MODEL", "WHAT", "STATE"], done.stdout
    assert {(what, state) for _, what, state in rows[1:]} == {
        (what, "well") for what in ("source", "bucket", "receipts", "served")
    }, done.stdout + done.stderr
    assert done.returncode == 0


def test_all_that_is_wrong_is_in_one_table(check, stand):
    done = check(
        models={
            "source": {"type": "directory", "path": "/nowhere"},
            "bucket": {"url": "s3://no-such-bucket/models", "connection": "test_receipts"},
            "receipts": {"url": f"s3://{stand.bucket}/receipts", "connection": "test_wrong"},
        },
        services={"claim": "other-claim"},
    )
    assert done.returncode == 1
    for what, said in {
        "source": "/nowhere", "bucket": "no-such-bucket", "receipts": "test_wrong", "served": "other-claim",
    }.items():  # fmt: skip
        assert any(line.split()[1] == what and said in line for line in done.stdout.splitlines()), done.stdout


def test_a_connection_that_is_missing_or_leads_nowhere_is_said(check):
    for connection, said in (("no_such", "no connection 'no_such'"), ("test_nowhere", "did not answer")):
        done = check(services={"connection": connection})
        assert done.returncode == 1
        assert said in done.stdout


def test_rights_that_are_missing_are_said(check):
    done = check(services={"namespace": "default"})
    assert done.returncode == 1
    assert "apply include/kubernetes" in done.stdout.lower()


def test_a_model_that_nobody_serves_or_has_a_file_for_is_said(check):
    assert "No service binds model 'tiny'" in check(services={"bindings": []}).stdout
    done = check("tinny")
    assert "There is no models/tinny.yaml" in done.stdout
    assert done.returncode == 1
