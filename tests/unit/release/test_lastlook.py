"""The last look: what may have changed on a workload between the plan and its first change, row by row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from modelberth.core.plan import Canary, Workload
from modelberth.kubernetes.lastlook import problems, require_possible
from modelberth.receipts.proof import RolloutRefusedError
from plans import RELEASE, a_binding, a_deployment, a_plan, a_released, a_target

if TYPE_CHECKING:
    from collections.abc import Callable

Document = dict[str, Any]

BEFORE = "/models/minilm/old/files"
SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
PARTITIONED = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
TARGET = a_target(bindings=(a_binding(from_=BEFORE),), strategy=SURGE)
STATEFUL = {
    "bindings": TARGET.bindings,
    "strategy": PARTITIONED,
    "workload": Workload("StatefulSet", "embedder", "6d4f"),
}
ROLLBACK = a_plan("20260103t000000z-0123456789", models=(a_released(release_id=RELEASE),))


def a_workload(change: Callable[[Document, Document], object]) -> Document:
    """Return the Deployment as the plan found it, but for *change*."""
    document = a_deployment([{"name": "MODEL_PATH", "value": BEFORE}], strategy=SURGE)
    change(document, document["spec"]["template"]["spec"]["containers"][0])
    return document


def a_set(**spec: Any) -> Document:
    whole = {"updateStrategy": PARTITIONED, "replicas": 3} | spec
    return a_deployment([{"name": "MODEL_PATH", "value": BEFORE}], **whole) | {"kind": "StatefulSet"}


def spec(**changes: Any) -> Callable[[Document, Document], object]:
    return lambda document, server: document["spec"].update(changes)


def server_with(**changes: Any) -> Callable[[Document, Document], object]:
    return lambda document, server: server.update(changes)


def volume(**source: Any) -> Callable[[Document, Document], object]:
    return lambda document, server: document["spec"]["template"]["spec"]["volumes"][0].update(
        persistentVolumeClaim={"claimName": "models", **source}
    )


def kept(document: Document, server: Document) -> None:
    document["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}


CHANGED = {
    "nothing": (lambda document, server: None, []),
    "its-pods": (spec(replicas=5), []),
    "recreate": (
        spec(strategy={"type": "Recreate"}),
        ['Its strategy is {"type": "Recreate"}, the plan was approved with {"type": "RollingUpdate", '],
    ),
    "another-surge": (spec(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}), ["Its strategy is"]),
    "on-delete": (spec(strategy={"type": "OnDelete"}), ["Its strategy is", "has the strategy OnDelete"]),
    "no-pods": (spec(replicas=0), ["wants no pods"]),
    "a-shorter-deadline": (spec(progressDeadlineSeconds=119), ["119 s, but a rollout may take 120 s (ready_within of"]),
    "a-long-enough-deadline": (spec(progressDeadlineSeconds=120), []),
    "a-shorter-probe": (server_with(startupProbe={"failureThreshold": 11, "periodSeconds": 10}), ["startup probe"]),
    "another-keeper": (kept, ["server/MODEL_PATH is kept by Helm by now."]),
    "a-writable-volume": (volume(), ["does not lead to snapshot"]),
    "a-sub-path": (
        server_with(volumeMounts=[{"name": "models", "mountPath": "/models", "subPath": "x"}]),
        ["does not lead to snapshot"],
    ),
    "a-fixed-path": (server_with(args=["serve", BEFORE.replace("old", "1f" * 32 + ".2")]), ["fixed in its command"]),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_changed_after_the_approval_is_refused_with_all_its_reasons(name):
    change, expected = CHANGED[name]
    found = problems(a_plan(), TARGET, a_workload(change))
    assert len(found) == len(expected), found
    assert all(said in problem for said, problem in zip(expected, found, strict=True)), found


def test_a_rollback_is_not_refused_for_how_long_it_may_take():
    impatient = a_workload(spec(progressDeadlineSeconds=30))
    assert problems(ROLLBACK, TARGET, impatient) == []
    assert problems(ROLLBACK, TARGET, a_workload(spec(strategy={"type": "Recreate"})))


@pytest.mark.parametrize(
    ("changes", "canary", "said"),
    [
        ({}, None, []),
        ({}, Canary(2, 60), []),
        ({"replicas": 2}, Canary(2, 60), ["has 2 pods, none of them number 2 of the plan's canary"]),
        ({"replicas": 2}, Canary(None, 60), []),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}, None, ["Its strategy is"]),
    ],
)
def test_a_partition_that_was_moved_is_refused_and_a_canary_that_has_no_pods(changes, canary, said):
    found = problems(a_plan(), a_target(**STATEFUL, canary=canary), a_set(**changes))
    assert len(found) == len(said), found
    assert all(one in problem for one, problem in zip(said, found, strict=True)), found


def test_all_that_stands_in_the_way_is_one_error_and_the_cluster_is_not_asked_for_room():
    asked: list[str] = []
    cluster: Any = SimpleNamespace(get=asked.append)
    change = a_workload(spec(strategy={"type": "Recreate"}, progressDeadlineSeconds=5))
    with pytest.raises(RolloutRefusedError) as caught:
        require_possible(cluster, a_plan(), TARGET, change)
    for part in (
        "Deployment serving/embedder was not changed: Its strategy",
        "gives up after 5 s",
        "clear the task 'check'",
    ):
        assert part in str(caught.value)
    assert asked == []
