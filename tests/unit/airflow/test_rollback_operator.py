"""What a rollback does of its own where no cluster is needed: who may, and what is left when nothing can be proven."""

from __future__ import annotations

import json
from dataclasses import replace as changed
from types import SimpleNamespace

import pytest

from modelberth.catalog import load
from modelberth.core.plan import Approver
from modelberth.kubernetes.rollback import BREAK_GLASS_LASTS, Asked, gate, gate_problems
from modelberth.operators.outcome import Outcome
from modelberth.operators.pod import ModelPodOperator
from modelberth.operators.rollback import ListSnapshotsOperator, asked, held

ASKED = Asked("minilm", "embedder", "", "it lies", break_glass=True, requested_by="carol")


@pytest.fixture
def service(catalog):
    def made(**keys):
        catalog.write("services/embedder.yaml", catalog.service | {"break_glass": ["carol"]} | keys)
        return load().service("embedder")

    return made


@pytest.mark.parametrize(
    ("ask", "keys", "said"),
    [
        ({}, {}, []),
        ({"reason": " "}, {}, ["reason"]),
        ({"requested_by": "bob"}, {}, ["bob may not"]),
        ({"requested_by": None}, {}, ["Whoever started this run may not"]),
        ({}, {"break_glass": []}, ["names nobody"]),
        ({"reason": "", "requested_by": "bob"}, {}, ["reason", "bob may not"]),
        ({"break_glass": False, "requested_by": "bob", "reason": ""}, {}, []),
        ({"break_glass": False, "requested_by": None}, {}, []),
        ({"break_glass": False, "requested_by": None}, {"four_eyes": True}, ["Nobody knows"]),
        ({"break_glass": False, "requested_by": "bob"}, {"four_eyes": True}, []),
    ],
)
def test_who_may_roll_back_and_how(service, ask, keys, said):
    found = gate_problems(service(**keys), changed(ASKED, **ask))
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_one_approver_is_enough_and_who_breaks_the_glass_is_the_only_one(service):
    strict = service(
        approvals=2,
        four_eyes=True,
        approvers=[{"id": "1", "name": "Alice"}, {"id": "2", "name": "Bob"}],
        answer_within=60,
    )
    usual = gate(strict, changed(ASKED, break_glass=False))
    assert (usual.approvals, usual.four_eyes, usual.requested_by, usual.answer_within) == (1, True, "carol", 60)
    assert [one.id for one in usual.approvers] == ["1", "2"]
    broken = gate(strict, ASKED)
    assert broken.approvers == (Approver("carol", "carol"),)
    assert (broken.approvals, broken.four_eyes, broken.answer_within) == (1, False, BREAK_GLASS_LASTS)


def test_nobody_can_say_who_started_the_run_but_airflow(context):
    context["params"] = {"model": "m", "service": "s", "to": " x ", "reason": " y ", "break_glass": False}
    context["dag_run"].conf = {"requested_by": "carol", "triggering_user_name": "carol"}
    found = asked(context)
    assert (found.to, found.reason, found.requested_by) == ("x", "y", "bob")


def test_a_list_that_was_cut_is_read_from_the_log(monkeypatch):
    """Python's own spelling of the JSON, which the client would make of it, is no JSON."""
    whole = json.dumps({"command": "list", "exit_code": 0, "models": [{"model": "minilm", "snapshots": []}]})
    status = SimpleNamespace(exit_code=0, message='{"command": "list", "truncated": true}', reason="Completed")
    container = SimpleNamespace(name="base", state=SimpleNamespace(terminated=status))
    pod = SimpleNamespace(
        metadata=SimpleNamespace(name="list-x", namespace="serving"),
        spec=SimpleNamespace(node_name="a", volumes=[]),
        status=SimpleNamespace(container_statuses=[container], init_container_statuses=[]),
    )
    deleted = []

    def clean(self, *_):
        deleted.append(True)
        self._outcome = Outcome(0, status.message, "Pod serving/list-x")

    def log(name, namespace, container, tail_lines, _preload_content):
        assert not deleted, "a pod that is gone has no log"
        assert (name, namespace, container, tail_lines, _preload_content) == ("list-x", "serving", "base", 1, False)
        return SimpleNamespace(data=f"{whole}\n".encode())

    monkeypatch.setattr(ModelPodOperator, "cleanup", clean)
    task = ListSnapshotsOperator(task_id="list", model="minilm", target="embedder")
    monkeypatch.setattr(type(task), "client", SimpleNamespace(read_namespaced_pod_log=log))
    task.cleanup(pod, pod)
    assert task._outcome.result("list")["models"] == [{"model": "minilm", "snapshots": []}]
    status.message = '{"command": "list", "exit_code": 0, "models": []}'
    task.cleanup(pod, pod)
    assert task._outcome.message == status.message, "a whole message needs no log"


def test_snapshots_come_in_the_order_in_which_they_were_staged():
    rows = [
        {"snapshot": f"{digit * 64}.1", "state": "ready", "at": at}
        for digit, at in (("a", "2026-02"), ("b", "2026-01"))
    ]
    assert [one.snapshot.digest.hex[0] for one in held([{"snapshots": rows}])] == ["b", "a"]
