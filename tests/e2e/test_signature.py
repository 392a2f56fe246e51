"""A model that must be signed, in a real Airflow: it ends before anything is staged, and goes on once it is signed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from signers import KeyPair

if TYPE_CHECKING:
    from conftest import Stand

GATE = "gate.approve"


def test_a_release_waits_for_a_signature_and_goes_on_when_its_task_is_cleared(stand: Stand, tmp_path: Path) -> None:
    key = KeyPair.make(tmp_path)
    model = stand.model("signed", {"weights.bin": b"weights"}, signature={"policy": "require", "key": str(key.public)})
    stand.dag(model.dag_id)
    run = model.start()
    model.ended(run, "failed")
    assert "have the revision signed (modelberth sign)" in stand.admin.log(run, "bucket.signature")
    assert model.receipts(run) == ["01-resolve.json", "02-signature.json", "02-upload.json"]
    assert not model.claim.exists()
    sign(stand, model.receipt(run, "02-upload")["revision"], key)
    stand.admin.clear(run, "bucket.signature")
    model.parked(run)
    assert "valid, by key sha256:" in stand.admin.question(run, GATE)["body"]
    stand.alice.answer(run, GATE, "Reject")


def sign(stand: Stand, revision: str, key: KeyPair) -> None:
    """Sign as a person does, with the credentials of who may write to the bucket."""
    env = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": os.environ["S3_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"],
        "AWS_REGION": "us-east-1",
    }
    words = ["sign", f"s3://{stand.bucket}/models", "--revision", revision, "--key", str(key.private)]
    program = str(Path(sys.executable).parent / "modelberth")
    done = subprocess.run([program, *words], env=env, capture_output=True, check=True)
    assert json.loads(done.stdout)["signed"] == "now"
