"""Who signed it, from the program that signs to the rollout, on a real bucket and a real cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from rollouts import drive
from test_fetch import FILES, context, fetch, models, release  # noqa: F401 - fixtures
from test_rollout_gate import catalog, run  # noqa: F401 - fixtures

from modelberth.operators.signature import VerifySignatureOperator
from signers import KeyPair, sign_in_bucket

if TYPE_CHECKING:
    from test_rollout_gate import Run


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """Who is to sign."""
    return KeyPair.make(tmp_path_factory.mktemp("key"))


def ask(model: str, **keys: Any) -> None:
    """Add *keys* to a model's file."""
    path = Path(os.environ["MODELBERTH_CATALOG"], "models", f"{model}.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def looked(one: Run) -> dict[str, str]:
    """Do what the task ``signature`` does."""
    return VerifySignatureOperator(task_id="signature", model=one.name).execute(one.context)


def test_a_model_that_must_be_signed_reaches_the_gate_and_service_once_it_is(stand, run, key):  # noqa: F811
    one = run()
    ask(one.name, signature={"policy": "require", "key": str(key.public)})
    for step in (lambda: looked(one), one.plan):
        with pytest.raises(AirflowFailException, match=r"is none by key sha256:.*modelberth sign"):
            step()
    assert one.evidence.find("plan") is None
    assert sign_in_bucket(stand.bucket, one.evidence.read("upload")["revision"], key)["signed"] == "now"
    assert looked(one)["revision"].startswith("valid, by key sha256:")
    one.plan()
    one.answer()
    assert "| revision | valid, by key sha256:" in one.asked["body"]
    assert one.evidence.read("plan")["previous"]["02-signature"] == str(one.evidence.digest("signature"))
    one.check()
    assert drive(one.rollout()).status == "live"


def test_a_plan_sees_what_was_signed_since_the_task_looked(stand, run, key):  # noqa: F811
    one = run()
    ask(one.name, signature={"key": str(key.public)})
    assert looked(one)["revision"].startswith("none by")
    sign_in_bucket(stand.bucket, one.evidence.read("upload")["revision"], key)
    one.plan()
    [signed] = one.evidence.read("plan")["plan"]["models"][0]["signed"]
    assert signed["result"] == "valid"


def test_a_bundle_that_is_too_large_is_not_read_and_shown_as_such(stand, run, key):  # noqa: F811
    one = run()
    ask(one.name, signature={"key": str(key.public)})
    hex_digits = one.evidence.read("upload")["revision"].rpartition(":")[2]
    at = f"models/{one.name}/revisions/{hex_digits}/manifest.json.sig"
    stand.s3.put_object(Bucket=stand.bucket, Key=at, Body=bytes(1024**2 + 1))
    assert "is larger than 1048576 bytes" in looked(one)["revision"]


def test_a_pod_takes_what_a_publishers_signature_is_compared_with(
    stand,
    release,  # noqa: F811
    context,  # noqa: F811
    key,
    tmp_path,
    monkeypatch,
):
    folder = tmp_path / "published"
    folder.mkdir()
    for path, data in FILES.items():
        (folder / path).write_bytes(data)
    for path, data in {**FILES, "model.sig": key.sign(folder)}.items():
        stand.s3.put_object(Bucket=stand.bucket, Key=f"signed/{path}", Body=data)
    evidence = release(context, url=f"s3://{stand.bucket}/signed")
    ask("minilm", publisher_signature={"policy": "require", "key": str(key.public)})
    fetch(context, monkeypatch)
    assert evidence.read("upload")["files"] == 3
    said = VerifySignatureOperator(task_id="signature", model="minilm").execute(context)
    assert said["publisher"].startswith("valid, by key sha256:")
