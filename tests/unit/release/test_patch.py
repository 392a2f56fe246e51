"""The patches: what they test, what they change, and that they change nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from modelberth.core.binding import Binding
from modelberth.core.digest import Digest
from modelberth.kubernetes import patch
from modelberth.kubernetes.workload import CHANGE_CAUSE, LOCK, RECEIPT, revision_note
from plans import DIGEST, a_binding, a_deployment, a_plan, a_released, a_served, a_target

TO = f"/models/minilm/{DIGEST.hex}.1/files"
PLAN = a_plan()


def value(name: str, text: str) -> dict[str, str]:
    return {"name": name, "value": text}


def held(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"]["annotations"][LOCK] = PLAN.release_id
    return document


def applied(document: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the API server makes of it (RFC 6902, the three operations that are used)."""
    document = copy.deepcopy(document)
    for operation in operations:
        *steps, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].lstrip("/").split("/")]
        holder = document
        for step in steps:
            holder = holder[int(step)] if isinstance(holder, list) else holder[step]
        if operation["op"] == "test":
            assert holder.get(last) == operation["value"], operation
        elif operation["op"] == "add":
            holder[last] = operation["value"]
        else:
            del holder[last]
    return document


def env_of(document: dict[str, Any]) -> list[dict[str, Any]] | None:
    return document["spec"]["template"]["spec"]["containers"][0].get("env")


def bound(from_: str | None) -> Any:
    return a_target(bindings=(a_binding(from_=from_),))


FIELD = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}


@pytest.mark.parametrize(
    ("from_", "before", "after"),
    [
        (None, None, [value("MODEL_PATH", TO)]),
        (None, [FIELD], [FIELD, value("MODEL_PATH", TO)]),
        ("/a", [value("MODEL_PATH", "/a")], [value("MODEL_PATH", TO)]),
        ("/a", [value("A", "1"), value("MODEL_PATH", "/a"), FIELD], [value("A", "1"), value("MODEL_PATH", TO), FIELD]),
        ("", [{"name": "MODEL_PATH"}], [value("MODEL_PATH", TO)]),
    ],
)
def test_a_variable_is_brought_in_its_place_and_put_back(from_, before, after):
    document, target = held(a_deployment(before)), bound(from_)
    brought = applied(document, patch.bring(document, PLAN, target))
    assert env_of(brought) == after
    back = applied(brought, patch.put_back(brought, PLAN, target))
    assert (env_of(back) or None) in (before, [value("MODEL_PATH", "")])


def test_bringing_leaves_its_marks_and_putting_back_takes_them():
    document, target = held(a_deployment([value("MODEL_PATH", "/a")])), bound("/a")
    brought = applied(document, patch.bring(document, PLAN, target))
    notes = brought["spec"]["template"]["metadata"]["annotations"]
    assert notes[revision_note("minilm")] == str(PLAN.own.revision)
    assert PLAN.release_id in brought["metadata"]["annotations"][CHANGE_CAUSE]
    back = applied(brought, patch.put_back(brought, PLAN, target))
    assert back["spec"]["template"]["metadata"]["annotations"] == {}
    assert "put back" in back["metadata"]["annotations"][CHANGE_CAUSE]


def test_several_models_of_one_workload_are_brought_in_one_patch_and_put_back():
    models = ("minilm", "adapter")
    plan = a_plan(models=tuple(a_released(model) for model in models))
    bindings = (a_binding(from_="/a"), a_binding("adapter", "ADAPTER_PATH", "/b"))
    target = a_target(served=tuple(a_served(model) for model in models), bindings=bindings)
    document = held(a_deployment([value("MODEL_PATH", "/a"), value("ADAPTER_PATH", "/b")]))
    brought = applied(document, patch.bring(document, plan, target))
    assert env_of(brought) == [value("MODEL_PATH", bindings[0].to), value("ADAPTER_PATH", bindings[1].to)]
    assert brought["spec"]["template"]["metadata"]["annotations"] == {
        revision_note(model): f"{model}@{DIGEST}" for model in models
    }
    back = applied(brought, patch.put_back(brought, plan, target))
    assert env_of(back) == env_of(document)
    assert back["spec"]["template"]["metadata"]["annotations"] == {}


def test_putting_back_restores_the_former_mark():
    document = held(a_deployment([value("MODEL_PATH", "/a")]))
    document["spec"]["template"]["metadata"] = {"annotations": {revision_note("minilm"): "former", "mine": "1"}}
    target = a_target(bindings=bound("/a").bindings, served=(a_served(revision_from="former"),))
    brought = applied(document, patch.bring(document, PLAN, target))
    back = applied(brought, patch.put_back(brought, PLAN, target))
    assert back["spec"]["template"]["metadata"]["annotations"] == {revision_note("minilm"): "former", "mine": "1"}


def test_putting_back_touches_only_what_still_is_as_it_was_brought():
    other = Binding("minilm", "server", "ADAPTER_PATH", "/b", "/c")
    target = a_target(bindings=(*bound("/a").bindings, other))
    document = held(a_deployment([value("MODEL_PATH", TO), value("ADAPTER_PATH", "/by/hand"), value("A", "1")]))
    back = applied(document, patch.put_back(document, PLAN, target))
    assert env_of(back) == [value("MODEL_PATH", "/a"), value("ADAPTER_PATH", "/by/hand"), value("A", "1")]


def test_several_containers_are_changed_in_one_patch():
    document = held(a_deployment([value("MODEL_PATH", "/a")]))
    document["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar"})
    target = a_target(bindings=(*bound("/a").bindings, Binding("minilm", "sidecar", "MODEL_PATH", None, TO)))
    brought = applied(document, patch.bring(document, PLAN, target))
    assert [one["env"] for one in brought["spec"]["template"]["spec"]["containers"]] == [[value("MODEL_PATH", TO)]] * 2


@pytest.mark.parametrize(
    "between",
    [
        lambda d: d["metadata"].update(uid="another"),
        lambda d: d["metadata"]["annotations"].pop(LOCK),
        lambda d: d["metadata"]["annotations"].update({LOCK: "another"}),
        lambda d: env_of(d)[0].update(value="/by/hand"),
        lambda d: env_of(d).append(value("NEW", "1")),
        lambda d: d["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar", "env": env_of(d)}),
    ],
)
def test_what_changed_since_it_was_seen_fails_a_test(between):
    document, target = held(a_deployment([value("MODEL_PATH", "/a")])), bound("/a")
    operations = copy.deepcopy(patch.bring(document, PLAN, target))
    between(document)
    with pytest.raises(AssertionError):
        applied(document, operations)


def test_the_lock_is_taken_and_released_as_it_was_seen():
    document = a_deployment()
    document["metadata"].pop("annotations")
    locked = applied(document, patch.take_lock(document, "ours"))
    assert locked["metadata"]["annotations"] == {LOCK: "ours"}
    assert applied(locked, patch.release_lock(locked))["metadata"]["annotations"] == {}
    kept = Digest.of(b"decided")
    assert applied(locked, patch.release_lock(locked, kept))["metadata"]["annotations"] == {RECEIPT: str(kept)}
    taken = copy.deepcopy(locked)
    taken["metadata"]["annotations"][LOCK] = "theirs"
    for operations in (patch.take_lock(document, "ours"), patch.release_lock(locked)):
        with pytest.raises(AssertionError):
            applied(taken, operations)


def test_a_log_line_names_what_is_changed_only():
    document = a_deployment()
    assert patch.touched(patch.take_lock(document, "ours")) == ["/metadata/annotations/modelberth.dev~1rollout"]
