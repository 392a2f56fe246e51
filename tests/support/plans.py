"""Builders: a plan, a target, and the Deployment that it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelberth.core.binding import Binding
from modelberth.core.confirm import Confirm, Smoke
from modelberth.core.digest import Digest
from modelberth.core.plan import Approver, Capacity, Difference, Gate, Plan, Released, Served, Target, Workload
from modelberth.core.revision import Revision, Snapshot

DIGEST = Digest("1f" * 32)
RELEASE = "20260102t030405z-9f86d08188"


def a_released(model: str = "minilm", **changes) -> Released:
    return replace(Released(model, RELEASE, Revision(model, DIGEST), "sha256:77", 5, 91_000_000), **changes)


def a_served(model: str = "minilm", **changes) -> Served:
    return replace(Served(model, Snapshot(DIGEST, 1), None, Difference(None, 5, 0, 0, 91_000_000)), **changes)


def a_binding(model: str = "minilm", variable: str = "MODEL_PATH", from_: str | None = None) -> Binding:
    return Binding(model, "server", variable, from_, f"/models/{model}/{DIGEST.hex}.1/files")


def a_gate(**changes) -> Gate:
    return replace(Gate((Approver("alice", "Alice"),), 1, False, "bob", 604_800), **changes)


def a_target(**changes) -> Target:
    target = Target(
        name="embedder",
        service="embedder",
        connection="modelberth_kubernetes",
        namespace="serving",
        claim="models",
        workload=Workload("Deployment", "embedder", "6d4f"),
        replicas=2,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        served=(a_served(),),
        bindings=(a_binding(),),
        ready_within=120,
        confirm=Confirm("behaved", 8000, "/modelz", smoke=(Smoke("/embed", {"text": "hello"}, 200, None),)),
        capacity=Capacity("fits"),
        canary=None,
    )
    return replace(target, **changes)


def a_plan(release_id: str = RELEASE, **changes) -> Plan:
    plan = Plan(
        model="minilm",
        release_id=release_id,
        models=(a_released(release_id=release_id),),
        gate=a_gate(),
        targets=(a_target(),),
    )
    return replace(plan, **changes)


def a_deployment(env: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a Deployment as the API server shows it, its container's *env* as given."""
    container = {"name": "server", "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}]}
    if env is not None:
        container["env"] = env
    claim = {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    document = {
        "kind": "Deployment",
        "metadata": {"name": "embedder", "namespace": "serving", "uid": "6d4f", "generation": 1, "annotations": {}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "embedder"}},
            "template": {"metadata": {}, "spec": {"containers": [container], "volumes": [claim]}},
        },
        "status": {"observedGeneration": 1},
    }
    document["spec"].update(changes)
    return document
