"""The whole chain on the real cluster: what is served, what is refused, and what is left when something went wrong."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import minilm
import pytest
from airflow_client import AirflowError

if TYPE_CHECKING:
    from airflow_client import Run
    from conftest import Model, Stand

GATE = "gate.approve"
TINY = {"weights.bin": os.urandom(300_000), "config.json": b"{}"}


EMBEDDER = {"ready_within": 45}
GATED = ("not-you", "rejected", "forged", "corrupted", "bitrot", "swapped")


@pytest.fixture(scope="module")
def embedder(stand: Stand) -> Model:
    """The real model, served by the reference server."""
    model = stand.model("embedder", {}, EMBEDDER)
    minilm.put_model(model.source, "fp32")
    stand.dag(model.dag_id)
    return model


@pytest.fixture(scope="module")
def gated(stand: Stand) -> dict[str, tuple[Model, Run]]:
    """Small models on their way to their gates, all at once, beside a catalog file that is broken."""
    stand.write("models", "broken", "source: {type: directory}\nbuckets: 7\n")
    return started(stand, [stand.model(name, TINY) for name in GATED])


@pytest.fixture(scope="module")
def refused(stand: Stand) -> dict[str, tuple[Model, Run]]:
    """Releases that resolve has to refuse, each for its own reason, all at once."""
    models = [stand.model(name, TINY, service, **model) for name, (service, model, _) in BAD_PLACES.items()]
    for name, (spoil_source, _) in BAD_SOURCES.items():
        models.append(stand.model(name, TINY))
        spoil_source(models[-1].source)
    return started(stand, models)


def started(stand: Stand, models: list[Model]) -> dict[str, tuple[Model, Run]]:
    for model in models:
        stand.dag(model.dag_id)
    return {model.name: (model, model.start()) for model in models}


def upload_of(stand: Stand, run: Run) -> dict[str, str]:
    return stand.admin.result(run, "bucket.upload")


# --- what is served -------------------------------------------------------------------------------------------------


def test_a_first_release_serves_the_model_and_records_every_step(stand, embedder):
    run = embedder.released()
    served = embedder.ask("/modelz")
    assert served["revision"] == upload_of(stand, run)["revision"]
    assert embedder.bound().endswith(f"/embedder/{served['snapshot']}/files")
    assert len(embedder.ask("/embed", {"text": "a ship"})["embedding"]) == 384
    steps = {name.partition(".")[0] for name in embedder.receipts(run)}  # a step that Airflow retried may have two
    assert sorted(steps) == [
        "01-resolve", "02-upload", "03-sync-embedder", "04-verify-embedder", "05-plan", "06-approve",
        "07-check-embedder", "08-decided-embedder", "08-started-embedder", "09-outcome-embedder", "10-record",
    ]  # fmt: skip


def test_a_release_of_the_same_bytes_moves_none(stand, embedder):
    before = embedder.objects()
    run = embedder.released()
    assert upload_of(stand, run)["bytes_uploaded"] == "0"
    assert stand.admin.result(run, embedder.task(run, "sync"))["bytes_fetched"] == "0"
    assert embedder.objects() == before
    assert len(embedder.snapshots()) == 1


def test_a_freeze_stops_a_rollout_until_it_is_lifted_and_the_approval_still_counts(stand, embedder):
    run = embedder.parked()
    stand.admin.send("POST", "variables", {"key": "modelberth_freeze", "value": "inventory: ask Carol"})
    try:
        stand.alice.answer(run, GATE, "Approve")
        embedder.ended(run, "failed")
    finally:
        stand.admin.send("DELETE", "variables/modelberth_freeze", {})
    assert "rollouts are frozen: inventory: ask Carol" in stand.admin.log(run, embedder.task(run, "rollout"))
    assert "08-started-embedder.json" not in embedder.receipts(run)
    stand.admin.clear(run, embedder.task(run, "check"))
    embedder.ended(run, "success")


def test_refresh_proposes_what_is_new_once_and_the_answer_changes(stand, embedder):
    old, before = embedder.ask("/embed", {"text": "a ship"}), stand.admin.runs(embedder.dag_id)
    minilm.put_model(embedder.source, "int8")
    stand.admin.wait_finished(stand.admin.trigger("refresh_models"))
    assert stand.admin.runs(embedder.dag_id) == before, "its file says that it is paused"
    stand.catalog(embedder.name, embedder.source, EMBEDDER, {"refresh": {"paused": False}})
    stand.admin.wait_finished(stand.admin.trigger("refresh_models"))
    stand.admin.wait_finished(stand.admin.trigger("refresh_models"))
    (run,) = [run for run in stand.admin.runs(embedder.dag_id) if run not in before]
    embedder.parked(run)
    assert embedder.ask("/embed", {"text": "a ship"}) == old
    stand.alice.answer(run, GATE, "Approve")
    embedder.ended(run, "success")
    new = embedder.ask("/embed", {"text": "a ship"})
    assert new["revision"] != old["revision"]
    assert new["embedding"] != old["embedding"]
    assert len(embedder.snapshots()) == 2


# --- what is refused at the gate ------------------------------------------------------------------------------------


def test_only_an_approver_of_the_service_can_answer(stand, gated):
    model, run = gated["not-you"]
    model.parked(run)
    with pytest.raises(AirflowError, match="403"):
        stand.bob.answer(run, GATE, "Approve")
    with pytest.raises(AirflowError, match="403"):
        stand.admin.answer(run, GATE, "Approve")


def test_a_rejection_leaves_the_deployment_untouched(stand, gated):
    model, run = gated["rejected"]
    before = model.deployment().spec
    model.parked(run)
    stand.alice.answer(run, GATE, "Reject")
    stand.admin.wait_finished(run)
    assert model.deployment().spec == before
    assert stand.admin.tasks(run)[model.task(run, "rollout")] == "skipped"
    assert "08-started-rejected.json" not in model.receipts(run)


def test_a_gate_marked_success_with_a_forged_answer_rolls_out_nothing(stand, gated):
    model, run = gated["forged"]
    before = model.deployment().spec
    model.parked(run)
    plan = stand.admin.result(run, "gate.plan")
    answer = {"approved": "true", "plan_digest": plan["plan_digest"], "responder": "alice"}
    path = f"{run.path}/taskInstances/{GATE}/xcomEntries"
    stand.admin.mark(run, GATE, "success")
    stand.admin.send("POST", path, {"key": "return_value", "value": json.dumps(answer)})
    model.ended(run, "failed")
    assert model.deployment().spec == before
    assert "08-started-forged.json" not in model.receipts(run)


# --- bytes that are not what they were ------------------------------------------------------------------------------


def test_a_corrupted_object_fails_on_arrival_and_nothing_appears(stand, gated):
    model, run = gated["corrupted"]
    model.parked(run)
    (key,) = [key for key in model.objects() if key.endswith("/weights.bin")]
    shutil.rmtree(model.claim)
    stand.s3.put_object(Bucket=stand.bucket, Key=key, Body=bytes(len(TINY["weights.bin"])))
    stand.admin.clear(run, model.task(run, "sync"))
    model.ended(run, "failed")
    assert "weights.bin" in stand.admin.log(run, model.task(run, "sync"))
    assert model.snapshots() == []


def test_a_snapshot_changed_after_sync_fails_at_verify_and_the_next_release_makes_another(stand, gated):
    model, run = gated["bitrot"]
    model.parked(run)
    spoil(model)
    stand.admin.clear(run, model.task(run, "verify"))
    model.ended(run, "failed")
    assert stand.admin.tasks(run)[model.task(run, "verify")] == "failed"
    again = model.parked()
    assert [path.name[-2:] for path in model.snapshots()] == [".1", ".2"]
    assert stand.admin.result(again, model.task(again, "verify"))["snapshot"].endswith(".2")


def test_a_snapshot_changed_after_verify_fails_at_check(stand, gated):
    model, run = gated["swapped"]
    before = model.deployment().spec
    model.parked(run)
    spoil(model)
    stand.alice.answer(run, GATE, "Approve")
    model.ended(run, "failed")
    assert stand.admin.tasks(run)[model.task(run, "check")] == "failed"
    assert model.deployment().spec == before


def spoil(model: Model) -> None:
    """Change a byte of the weights as nobody would notice who looks at size and time only."""
    (path,) = model.claim.glob("*/files/weights.bin")
    times = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(bytes([TINY["weights.bin"][1000] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    path.chmod(0o444)


# --- a rollout that fails -------------------------------------------------------------------------------------------


def test_a_model_that_the_server_cannot_load_is_put_back(stand, embedder):
    good = embedder.bound()
    (embedder.source / "model.safetensors").write_bytes(b"not tensors")
    run = embedder.parked()
    stand.alice.answer(run, GATE, "Approve")
    embedder.ended(run, "failed")
    assert embedder.bound() == good
    assert embedder.ask("/modelz")["path"] == good
    assert "was put back" in stand.admin.log(run, embedder.task(run, "rollout"))


# --- the catalog ----------------------------------------------------------------------------------------------------


def test_a_broken_catalog_file_says_all_that_is_wrong_and_disturbs_no_other_model(stand, gated):
    dag = stand.dag("release_broken")
    assert "catalog-error" in [tag["name"] for tag in dag["tags"]]
    run = stand.admin.trigger("release_broken")
    assert stand.admin.wait_finished(run) == "failed"
    (task,) = stand.admin.tasks(run)
    said = stand.admin.log(run, task)
    assert "'buckets'" in said
    assert "source.path" in said
    assert all(stand.dag(model.dag_id) for model, _ in gated.values())


# --- bad input: said once, at the first task that can know it, and nothing changes ------------------------------------


def nothing(source):
    shutil.rmtree(source)


def no_files(source):
    (source / "weights.bin").unlink()
    (source / "config.json").unlink()


def link_out(source):
    (source / "stolen").symlink_to("/etc/hostname")


NO_BUCKET = {"url": "s3://modelberth-nowhere/models", "connection": "modelberth_s3"}
BAD_KEYS = {"url": "s3://modelberth-receipts/receipts", "connection": "wrong_s3"}

BAD_SOURCES = {
    "no-source": (nothing, "No directory"),
    "empty-source": (no_files, "holds no file"),
    "link-out": (link_out, "stolen"),
}
BAD_PLACES = {
    "no-bucket": ({}, {"bucket": NO_BUCKET}, "modelberth-nowhere"),
    "no-connection": ({"connection": "nobody"}, {}, "nobody"),
    "no-claim": ({"claim": "elsewhere"}, {}, "elsewhere"),
    "no-workload": ({"workload": {"kind": "Deployment", "name": "ghost"}}, {}, "ghost"),
    "no-cluster": ({"connection": "unreachable_kubernetes"}, {}, "unreachable_kubernetes"),
    "bad-credentials": ({}, {"receipts": BAD_KEYS}, "wrong_s3"),
}


SAID = {name: bad[-1] for name, bad in (BAD_SOURCES | BAD_PLACES).items()}


@pytest.mark.parametrize("name", SAID)
def test_bad_input_is_refused_by_resolve_and_changes_nothing(stand, refused, name):
    model, run = refused[name]
    model.ended(run, "failed")
    assert SAID[name] in stand.admin.log(run, "bucket.resolve")
    assert stand.admin.tasks(run)["bucket.upload"] == "upstream_failed"
    assert model.objects() == {}
    assert model.deployment().metadata.generation == 1
