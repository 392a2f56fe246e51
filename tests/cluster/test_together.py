"""Base and adapter in one plan, and one model in several workloads: on a real cluster, with real receipts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from rollouts import drive
from test_rollout_gate import Run, catalog  # noqa: F401 - a fixture

from modelberth.core.plan import parse
from modelberth.kubernetes.workload import notes, revision_note, template_notes

if TYPE_CHECKING:
    from collections.abc import Callable

NONE = "/models/none"


class Pair:
    """A service that serves a base in MODEL_PATH and an adapter in ADAPTER_PATH, and a run of each."""

    def __init__(self, stand: Any, name: str, serve: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
        self.serve = serve
        self.stand, self.name, self.adapter_name = stand, name, f"{name}-adapter"
        self.adapter = Run(stand, self.adapter_name, 1, monkeypatch, service=name).staged(1)
        self.base = Run(stand, name, 2, monkeypatch).staged(2)
        self.base.context["params"] = {"with": [self.adapter_name]}

    def env(self) -> dict[str, str]:
        [container] = self.stand.read(self.name)["spec"]["template"]["spec"]["containers"]
        return {entry["name"]: entry.get("value") for entry in container["env"]}

    def flaw(self, run: Run, flaw: str) -> None:
        """Let the server not work with what *run* brings."""
        snapshot = run.evidence.read("verify", run.service)["snapshot"]
        (self.stand.claim / run.name / snapshot / "files" / flaw).touch()

    def approved(self) -> Run:
        """Return the base's run, its plan for both approved and checked."""
        self.base.plan()
        self.base.answer()
        self.base.check(self.adapter)
        return self.base


@pytest.fixture
def pair(stand, request, catalog, monkeypatch):  # noqa: F811
    name = f"t-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:6]}"
    stand.deploy(name, path=NONE)
    stand.wait_complete(name)
    binding = {"container": "server", "variable": "MODEL_PATH", "model": name}
    other = {"container": "server", "variable": "ADAPTER_PATH", "model": f"{name}-adapter"}
    catalog(f"{name}-adapter", bindings=[other])
    Path(os.environ["MODELBERTH_CATALOG"], f"services/{name}-adapter.yaml").unlink()

    def serve(**changes: Any) -> None:
        catalog(name, bindings=[binding, other], confirm={"level": "declared"}, **changes)

    serve(ready_within=30)
    yield Pair(stand, name, serve, monkeypatch)
    stand.apps.delete_namespaced_deployment(name, stand.namespace)


def test_one_patch_switches_both_and_both_ledgers_say_live(stand, pair):
    pair.adapter.plan()
    pair.adapter.park()
    one = pair.approved()
    plan = parse(one.evidence.read("plan")["plan"])
    assert [released.release_id for released in plan.models] == [one.release_id, pair.adapter.release_id]
    with pytest.raises(AirflowSkipException, match="superseded"):
        pair.adapter.gate().execute(pair.adapter.context)
    before = notes(stand.read(pair.name))["deployment.kubernetes.io/revision"]
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    [target] = plan.targets
    assert pair.env() == {"OTHER": "kept"} | {binding.variable: binding.to for binding in target.bindings}
    document = stand.read(pair.name)
    assert int(notes(document)["deployment.kubernetes.io/revision"]) == int(before) + 1
    for released in plan.models:
        assert template_notes(document)[revision_note(released.model)] == str(released.revision)
    one.record()
    one.settle()
    assert "live" in one.events()
    assert {"superseded", "live"} <= pair.adapter.events()
    assert pair.adapter.settle()["result"] == "it is live"


def test_both_are_put_back_together(pair):
    pair.serve(ready_within=6)
    pair.flaw(pair.base, "unready")
    one = pair.approved()
    stop = drive(one.rollout())
    assert stop.status == "put back", stop.reason
    assert pair.env() == {"OTHER": "kept", "MODEL_PATH": NONE}
    with pytest.raises(AirflowFailException):
        one.settle()
    assert "put-back" in one.events()
    assert "put-back" in pair.adapter.events()


def refused(run: Run) -> str:
    stop = drive(run.rollout())
    assert stop.status == "refused", stop
    assert run.evidence.find("started", run.service) is None
    return stop.reason


def test_what_was_taken_along_cannot_be_rolled_out_by_itself(pair):
    pair.adapter.plan()
    pair.approved()
    body = {"decision": "approve", "responder": {"id": "alice", "name": "Alice"}, "note": None}
    digest = pair.adapter.evidence.read("plan")["plan_digest"]
    answered = {"plan_digest": digest, "responded_at": "2026-01-02T03:04:05+00:00"}
    pair.adapter.evidence.write("approve", body | answered)
    pair.adapter.check()
    assert "another release has taken it along" in refused(pair.adapter)


def test_what_was_approved_by_itself_meanwhile_is_not_taken_along(pair):
    pair.adapter.plan()
    pair.base.plan()
    pair.adapter.answer()
    pair.base.answer()
    pair.base.check(pair.adapter)
    assert "was approved by itself" in refused(pair.base)


def test_a_check_that_shows_one_of_them_only_is_not_enough(pair):
    one = pair.approved()
    one.check()
    assert f"of {pair.adapter_name}" in refused(one)


def test_who_requested_the_adapter_does_not_answer_for_the_plan_that_takes_it_along(pair):
    carol = {"id": "carol", "name": "Carol"}
    pair.serve(four_eyes=True, approvers=[carol, {"id": "alice", "name": "Alice"}])
    pair.adapter.evidence.write("resolve", {"source_version": "v1", "requested_by": "carol"})
    pair.base.plan()
    assert [one["id"] for one in pair.base.evidence.read("plan")["plan"]["gate"]["approvers"]] == ["alice"]
    with pytest.raises(AirflowFailException, match="'carol'; approvers are alice"):
        pair.base.answer(responded_by_user=carol)


def test_what_nobody_offers_or_is_not_verified_cannot_be_taken_along(pair, monkeypatch):
    newer = Run(pair.stand, pair.adapter_name, 3, monkeypatch, service=pair.name)
    newer.ledger.record("proposed", newer.release_id, source_version="v3")
    with pytest.raises(AirflowFailException, match="has no receipt"):
        pair.base.plan()
    newer.ledger.record("rejected", newer.release_id)
    with pytest.raises(AirflowFailException, match="has no release that waits for a decision"):
        pair.base.plan()


def test_each_workload_of_a_service_is_rolled_out_by_itself_in_its_turn(stand, pair, catalog):  # noqa: F811
    far = {"kind": "StatefulSet", "name": f"{pair.name}-far"}
    stand.deploy(far["name"], "StatefulSet", NONE)
    binding = {"container": "server", "variable": "MODEL_PATH", "model": pair.name}
    catalog(pair.name, bindings=[binding | {"workload": far}, binding], confirm={"level": "declared"}, ready_within=60)
    one = pair.base
    one.context["params"] = {}
    one.plan()
    names = [target.name for target in parse(one.evidence.read("plan")["plan"]).targets]
    assert names == [f"{pair.name}-{far['name']}", pair.name]
    one.answer()
    for name in names:
        one.check(target=name)
    assert f"{names[0]!r}, which comes before {names[1]!r}, is not rolled out, not live" in refused(one)
    for name in names:
        stop = drive(one.rollout(name))
        assert stop.status == "live", stop.reason
    assert stand.bound(far["name"], "StatefulSet") == stand.bound(pair.name) != NONE
    one.record()
    assert "live" in one.events()
    stand.apps.delete_namespaced_stateful_set(far["name"], stand.namespace)
