"""A model that must be signed, in a real Airflow: it ends before anything is staged, and goes on once it is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signers import KeyPair, sign_in_bucket

if TYPE_CHECKING:
    from pathlib import Path

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
    assert sign_in_bucket(stand.bucket, model.receipt(run, "02-upload")["revision"], key)["signed"] == "now"
    stand.admin.clear(run, "bucket.signature")
    model.parked(run)
    assert "valid, by key sha256:" in stand.admin.question(run, GATE)["body"]
    stand.alice.answer(run, GATE, "Reject")
