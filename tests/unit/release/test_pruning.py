"""What releases and rollbacks need of a claim, read from what is on record; no cluster uses anything here."""

import re
from types import SimpleNamespace

import pytest
from chains import FIRST, SECOND, STEPS, THIRD, Shelf, a_release

from modelberth import receipts
from modelberth.catalog import Catalog
from modelberth.core.digest import Digest
from modelberth.core.prune import Lying
from modelberth.core.revision import Snapshot
from modelberth.kubernetes.pruning import Pruning
from modelberth.kubernetes.volumes import Storage
from modelberth.receipts.staged import staged_record


class Unused:
    """A cluster in which nothing has the claim."""

    connection = "modelberth_kubernetes"

    def get(self, path):
        return {"items": [], "metadata": {}}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    found = Shelf(tmp_path)
    monkeypatch.setattr(receipts, "open_store", lambda url, connection: found.store)
    monkeypatch.setattr(receipts, "signing_key", lambda: found.key)
    return found


def service(name, *models, claim="models", stage=None):
    bindings = [SimpleNamespace(model=model) for model in models]
    place = {"connection": "modelberth_kubernetes", "namespace": "serving", "claim": claim}
    return SimpleNamespace(
        name=name, bindings=bindings, bindings_of=lambda model: model in models, stage=stage, **place
    )


def pruning(tmp_path, keep_live=1, models=("minilm",), problems=None, stage=None):
    place = SimpleNamespace(url="s3://r/x", connection="c")
    retention = SimpleNamespace(keep_live=keep_live, grace=3600)
    files = {name: SimpleNamespace(name=name, receipts=place, retention=retention) for name in models}
    services = {"embedder": service("embedder", *models, stage=stage)}
    catalog = Catalog(tmp_path, files, services, problems or {})
    return Pruning(catalog, Unused(), tuple(services.values()), Storage("path", "", "/srv"))


LYING = [Lying("minilm", Snapshot(Digest(digit * 64), 1), "ready") for digit in "1234"]


def used(ours):
    seen = ours.seen(LYING)
    return {one.snapshot.digest.hex[0]: " ".join(seen.users(one)) for one in LYING if seen.users(one)}


def test_the_last_that_were_live_are_kept_for_a_rollback(shelf, tmp_path):
    for release_id, digit in ((FIRST, "1"), (SECOND, "2"), (THIRD, "3")):
        shelf.release(release_id, digit)
    assert set(used(pruning(tmp_path, keep_live=1))) == {"3"}
    assert set(used(pruning(tmp_path, keep_live=2))) == {"2", "3"}
    assert set(used(pruning(tmp_path, keep_live=9))) == {"1", "2", "3"}
    assert "service embedder (minilm keeps the last 2" in used(pruning(tmp_path, keep_live=2))["2"]


def test_what_a_rollback_serves_again_was_live_last(shelf, tmp_path):
    shelf.release(FIRST, "1")
    shelf.release(SECOND, "2")
    shelf.rollback(THIRD, FIRST)
    assert set(used(pruning(tmp_path, keep_live=1))) == {"1"}


@pytest.mark.parametrize("until", ["sync", "verify", "plan", "approve", "rollout"])
def test_a_release_that_has_not_ended_keeps_what_it_staged(shelf, tmp_path, until):
    shelf.release(FIRST, "1", until=until)
    assert re.search(rf"release {FIRST} of minilm, which has not ended", used(pruning(tmp_path))["1"])


@pytest.mark.parametrize("event", ["rejected", "superseded", "put-back"])
def test_a_release_that_ended_keeps_nothing(shelf, tmp_path, event):
    shelf.release(FIRST, "1", until="plan")
    shelf.book().record(event, FIRST)
    assert used(pruning(tmp_path)) == {}


@pytest.mark.parametrize(("until", "keeps"), [("resolve", False), ("verify", False), ("plan", True), ("approve", True)])
def test_a_release_that_failed_keeps_what_its_plan_brings_while_it_goes_on_when_cleared(shelf, tmp_path, until, keeps):
    shelf.release(FIRST, "1", until=until)
    shelf.book().record("failed", FIRST)
    assert ("goes on if its tasks are cleared" in used(pruning(tmp_path)).get("1", "")) is keeps
    shelf.release(SECOND, "2", until="resolve")
    assert set(used(pruning(tmp_path))) == set(), "a newer proposal supersedes it"


def test_a_release_that_failed_unanswered_keeps_nothing_when_its_gate_is_over(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr("modelberth.receipts.evidence.now", lambda: "2026-01-02T03:04:05Z")
    shelf.release(FIRST, "1", until="plan")
    shelf.book().record("failed", FIRST)
    assert used(pruning(tmp_path)) == {}
    STEPS["approve"](shelf, shelf.evidence(FIRST), a_release(FIRST, "1", "minilm"))
    assert set(used(pruning(tmp_path))) == {"1"}, "an approval counts until it is used"
    shelf.evidence(FIRST).write("outcome", {"result": "put back"}, target="second")
    assert used(pruning(tmp_path)) == {}


def test_evidence_that_is_not_ours_leaves_everything_in_doubt(shelf, tmp_path):
    shelf.release(FIRST, "1", until="plan")
    path = shelf.path(FIRST, "05-plan.json")
    path.write_bytes(path.read_bytes().replace(b"alice", b"mallory"))
    seen = pruning(tmp_path).seen(LYING)
    assert all("cannot be read" in " ".join(seen.doubts(one)) for one in LYING)


def test_a_model_whose_file_is_missing_or_broken_is_in_doubt_and_no_other(shelf, tmp_path):
    other = Lying("other", Snapshot(Digest("9" * 64), 1), "ready")
    for problems, said in (
        ({}, "has no file in the catalog"),
        ({"other": ["x"]}, "The file of model 'other' is broken"),
    ):
        seen = pruning(tmp_path, problems=problems).seen([*LYING, other])
        assert said in seen.doubts(other)[0]
        assert not any(seen.doubts(one) for one in LYING)


def test_each_decision_has_the_models_own_grace(shelf, tmp_path):
    ours = pruning(tmp_path)
    seen = ours.seen(LYING)
    assert [one.why for one in ours.decisions(LYING[:1], seen)] == ["Nothing uses it: it goes in 1 h if that stays so."]


STAGE = SimpleNamespace(receipts=SimpleNamespace(url="s3://r/x", connection="c"))


@pytest.fixture
def registry(shelf, monkeypatch):
    """What is on record of the registries of a service."""
    monkeypatch.setattr("modelberth.receipts.staged.open_store", lambda url, connection: shelf.store)
    monkeypatch.setattr("modelberth.receipts.staged.signing_key", lambda: shelf.key)
    return staged_record(STAGE.receipts, "embedder", service("embedder"))


def named(digit, **more):
    return {"model": "minilm", "version": digit, "revision": f"minilm@sha256:{digit * 64}", **more}


def test_what_a_registry_named_last_is_kept_and_what_it_named_before_is_not(registry, tmp_path):
    registry.note([named("1"), named("2", snapshot="2" * 64 + ".7")])
    assert set(used(pruning(tmp_path, stage=STAGE))) == {"1"}, "of 2 another copy is named"
    registry.note([named("3")])
    assert used(pruning(tmp_path, stage=STAGE)) == {"3": "the registry of service embedder"}
    assert used(pruning(tmp_path)) == {}, "a service without a registry has none that is asked"


def test_before_a_registry_was_asked_nobody_knows_what_it_names(registry, tmp_path):
    seen = pruning(tmp_path, stage=STAGE).seen(LYING)
    assert all("run stage_embedder" in seen.doubts(one)[0] for one in LYING)
    registry.note([named("1")])
    assert not any(pruning(tmp_path, stage=STAGE).seen(LYING).doubts(one) for one in LYING)


def test_a_record_of_what_is_named_that_is_not_ours_is_a_doubt(registry, shelf, tmp_path):
    registry.note([named("1")])
    for path in shelf.store.keys("inventory/"):
        data = shelf.store.read(path)
        file = next(file for file in tmp_path.rglob("*.json") if file.read_bytes() == data)
        file.write_bytes(data.replace(b"1" * 64, b"4" * 64))
    seen = pruning(tmp_path, stage=STAGE).seen(LYING)
    assert all("cannot be read" in seen.doubts(one)[0] for one in LYING)
