"""Builders: a plan, a target, and the Deployment that it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelberth.core.digest import Digest
from modelberth.core.plan import Approver, Binding, Confirm, Difference, Plan, Smoke, Target, Workload
from modelberth.core.revision import Revision, Snapshot

DIGEST = Digest("1f" * 32)


def a_target(**changes) -> Target:
    target = Target(
        service="embedder",
        connection="modelberth_kubernetes",
        namespace="serving",
        claim="models",
        workload=Workload("Deployment", "embedder", "6d4f"),
        replicas=2,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        snapshot=Snapshot(DIGEST, 1),
        bindings=(Binding("server", "MODEL_PATH", None, f"/models/minilm/{DIGEST.hex}.1/files"),),
        revision_from=None,
        ready_within=120,
        confirm=Confirm("behaved", 8000, "/modelz", Smoke("/embed", {"text": "hello"}, 200, None)),
        difference=Difference(None, 5, 0, 0, 91_000_000),
    )
    return replace(target, **changes)


def a_plan(**changes) -> Plan:
    plan = Plan(
        model="minilm",
        release_id="20260102t030405z-9f86d08188",
        revision=Revision("minilm", DIGEST),
        source_version="sha256:77",
        files=5,
        bytes=91_000_000,
        approvers=(Approver("alice", "Alice"),),
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
