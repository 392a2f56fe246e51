"""What is read from a workload, and from its pods."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from modelberth.core.revision import Snapshot
from modelberth.kubernetes import workload
from modelberth.kubernetes.client import (
    ClusterRefusedError,
    ClusterUnreachableError,
    ForbiddenError,
    ObjectChangedError,
    ObjectMissingError,
    _refusal,
)
from modelberth.kubernetes.pods import is_ready, newest_pods, trouble
from modelberth.kubernetes.target import rollout_problems
from plans import DIGEST, a_deployment


@pytest.mark.parametrize(
    ("env", "live"),
    [
        (None, None),
        ([], None),
        ([{"name": "OTHER", "value": "1"}], None),
        ([{"name": "MODEL_PATH", "value": "/a"}], "/a"),
        ([{"name": "MODEL_PATH"}], ""),
        ([{"name": "MODEL_PATH", "value": "/a"}, {"name": "MODEL_PATH", "value": "/b"}], "/b"),
        ([{"name": "MODEL_PATH", "valueFrom": {"configMapKeyRef": {}}}], workload.SET_ELSEWHERE),
    ],
)
def test_a_variable_is_what_kubernetes_makes_of_it(env, live):
    [container] = workload.containers(a_deployment(env))
    assert workload.live_value(container, "MODEL_PATH") == live


def test_a_mount_gives_the_path_that_a_container_sees():
    document = a_deployment()
    mount = workload.mount(document, workload.containers(document)[0], "models")
    assert mount.read_only
    assert mount.serving_path("minilm", Snapshot(DIGEST, 2)) == f"/models/minilm/{DIGEST.hex}.2/files"
    assert workload.mount(document, workload.containers(document)[0], "other") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"replicas": 0}, "wants no pods"),
        ({"strategy": {"type": "OnDelete"}}, "OnDelete"),
    ],
)
def test_what_could_not_be_rolled_out_is_said(changes, said):
    problems = " ".join(rollout_problems(a_deployment(**changes)))
    assert said in problems
    assert bool(said) == bool(problems)


OTHERS = {"manager": "kubectl-edit", "time": "2026-01-02T09:00:00Z"}
STATUS = {"manager": "modelberth", "time": "2026-01-02T09:00:00Z", "subresource": "status"}


@pytest.mark.parametrize(
    ("managed", "exceeded"),
    [
        ([], True),
        ([{"manager": "modelberth", "time": "2026-01-02T03:04:04Z"}], True),
        ([{"manager": "modelberth", "time": "2026-01-02T03:04:05Z"}], False),
        ([{"manager": "modelberth", "time": "2026-01-02T03:04:06Z"}], False),
        ([OTHERS, STATUS], True),
    ],
)
def test_a_deadline_that_was_exceeded_before_our_change_is_not_that_of_our_change(managed, exceeded):
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    document = a_deployment()
    document["metadata"]["managedFields"] = managed
    document["status"]["conditions"] = [condition | {"lastUpdateTime": "2026-01-02T03:04:05Z"}]
    assert workload.counts(document).deadline_exceeded is exceeded


def test_pods_are_asked_for_by_the_whole_selector():
    asked = []
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    document = a_deployment(selector={"matchLabels": {"app": "embedder"}, "matchExpressions": expressions})
    cluster = SimpleNamespace(get=lambda path: asked.append(path) or {"items": []})
    assert newest_pods(cluster, document | {"kind": "StatefulSet", "status": {"updateRevision": "r"}}) == []
    assert unquote(asked[0]).endswith("/pods?labelSelector=app=embedder,tier in (a,b),!old")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ObjectMissingError),
        (409, ObjectChangedError),
        (422, ObjectChangedError),
        (429, ClusterUnreachableError),
        (500, ClusterUnreachableError),
        (503, ClusterUnreachableError),
        (400, ClusterRefusedError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (0, ClusterRefusedError),
    ],
)
def test_the_api_servers_no_is_told_from_its_silence(status, kind):
    body = '{"kind": "Status", "message": "pods is forbidden"}'
    error = _refusal(SimpleNamespace(status=status, reason="r", body=body), "GET", "/api", "conn")
    assert type(error) is kind
    assert "pods is forbidden" in str(error)


def test_what_is_not_the_api_servers_own_is_not_repeated():
    error = _refusal(SimpleNamespace(status=400, reason="r", body="password hunter2"), "GET", "/api", "conn")
    assert "hunter2" not in str(error)


def a_pod(ready: str = "False", state: dict | None = None, **last) -> dict:
    container = {"name": "server", "state": state or {"running": {}}, "lastState": last}
    condition = {"type": "Ready", "status": ready}
    reason = {"type": "ContainersReady", "status": ready, "message": "containers with unready status: [server]"}
    status = {"conditions": [condition, reason], "containerStatuses": [container]}
    return {"metadata": {"name": "a"}, "status": status}


CRASHED = a_pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, terminated={"exitCode": 137})
PULLING = a_pod(state={"waiting": {"reason": "ErrImagePull"}})
NO_NODE = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: insufficient nvidia.com/gpu"}


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (a_pod("True"), []),
        (a_pod(), ["pod a: containers with unready status: [server]"]),
        (CRASHED, ["pod a: server CrashLoopBackOff, last exit code 137"]),
        (PULLING, ["pod a: server ErrImagePull"]),
        (
            {"metadata": {"name": "a"}, "status": {"conditions": [NO_NODE]}},
            ["pod a: 0/3 nodes: insufficient nvidia.com/gpu"],
        ),
        ({"metadata": {"name": "a"}}, []),
    ],
)
def test_a_pod_says_what_keeps_it_from_being_ready(pod, said):
    assert trouble([pod]) == said


def test_a_pod_without_a_word_is_not_ready():
    assert not is_ready({"metadata": {"name": "a"}})
