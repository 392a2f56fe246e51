"""What one look at a workload shows: which of its pods are given up, and which are deleted since nothing else ends."""

from __future__ import annotations

from typing import Any

import pytest

from modelberth.kubernetes.sight import Sight
from plans import a_binding, a_deployment, a_target

BEFORE, TO = "/models/minilm/old/files", a_binding().to
TARGET = a_target(bindings=(a_binding(from_=BEFORE),))


class FakeCluster:
    """A cluster whose workload has *pods* and, as a Deployment, one ReplicaSet that it takes for the newest."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = pods

    def get(self, path: str) -> dict[str, Any]:
        if "/pods?" in path:
            return {"items": list(self.pods)}
        owned = {"ownerReferences": [{"uid": "6d4f"}], "labels": {"pod-template-hash": "new"}}
        return {"items": [{"metadata": {**owned, "annotations": {"deployment.kubernetes.io/revision": "2"}}}]}


def a_workload(kind: str = "Deployment", generation: int = 2, value: str = TO, **spec: Any) -> dict[str, Any]:
    document = a_deployment([{"name": "MODEL_PATH", "value": value}], **spec) | {"kind": kind}
    document["metadata"] |= {"generation": generation, "annotations": {"deployment.kubernetes.io/revision": "2"}}
    document["status"] = {"observedGeneration": 2, "updateRevision": "new"}
    return document


def a_pod(value: str = TO, restarts: int = 4, name: str = "embedder-0", owner: str = "6d4f") -> dict[str, Any]:
    spec = a_deployment([{"name": "MODEL_PATH", "value": value}])["spec"]["template"]["spec"]
    labels = {"pod-template-hash": "new", "controller-revision-hash": "new"}
    server = {"name": "server", "ready": False, "restartCount": restarts, "state": {"running": {}}}
    status = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [server]}
    owners = [{"kind": "StatefulSet", "uid": owner, "controller": True}]
    meta = {"name": name, "namespace": "serving", "labels": labels, "ownerReferences": owners}
    return {"metadata": meta, "spec": spec, "status": status}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
@pytest.mark.parametrize(
    ("document", "pod", "given_up"),
    [
        ({}, a_pod(), True),
        ({}, a_pod(restarts=2), False),
        ({"generation": 3}, a_pod(), False),
        ({}, a_pod(BEFORE), False),
        ({"generation": 3}, a_pod(BEFORE), False),
    ],
)
def test_only_pods_of_the_template_that_its_controller_has_seen_are_given_up(kind, document, pod, given_up):
    sight = Sight(FakeCluster(pod), TARGET, a_workload(kind, **document))
    assert (sight.hopeless is not None) is given_up


def test_pods_that_a_release_does_not_change_are_given_up():
    target = a_target(bindings=(a_binding(from_=TO),))
    assert Sight(FakeCluster(a_pod()), target, a_workload()).hopeless


@pytest.mark.parametrize(
    ("start", "partition", "stuck"),
    [
        (None, None, ["5", "6", "7"]),
        (5, None, ["5", "6", "7"]),
        (5, 2, ["7"]),
        (5, 3, []),
        (None, 6, ["6", "7"]),
    ],
)
def test_a_stuck_pod_is_one_that_the_partition_lets_change_wherever_ordinals_start(start, partition, stuck):
    spec = {"updateStrategy": {"rollingUpdate": {"partition": partition}}} if partition else {}
    spec |= {"ordinals": {"start": start}} if start else {}
    pods = [a_pod(BEFORE, name=f"embedder-{ordinal}") for ordinal in (5, 6, 7)]
    others = [a_pod(name="embedder-8"), a_pod(BEFORE, name="embedder-9", owner="another")]
    sight = Sight(FakeCluster(*pods, *others), TARGET, a_workload("StatefulSet", **spec))
    assert sight.stuck == tuple(f"embedder-{one}" for one in stuck)
