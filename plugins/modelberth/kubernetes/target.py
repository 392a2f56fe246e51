"""A target as a plan sees it: the workload as it is now, where it has the claim, and why a rollout could not work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelberth.kubernetes import preflight, workload
from modelberth.kubernetes.client import Cluster, ObjectMissingError, workload_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.catalog import Binding, Target

Document = dict[str, Any]

_DEFAULT_DEADLINE = 600
"""Seconds: the progressDeadlineSeconds of a Deployment that sets none."""


@dataclass(frozen=True)
class Found:
    """What was found of a target for some models.

    :param document: The workload; empty if there is none.
    :param bindings: The models' bindings, each with where its container has the claim; empty with problems.
    :param problems: Whole sentences.
    """

    document: Document
    bindings: list[tuple[Binding, workload.Mount]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find(target: Target, models: Sequence[str], cluster: Cluster | None = None) -> Found:
    """Return what is there of *target* for *models*.

    :raises ClusterUnreachableError: The API server does not answer.
    :raises ClusterRefusedError: The connection has not the rights to look.
    """
    service, wanted = target.service, target.workload
    cluster = cluster or Cluster(service.connection)
    try:
        document = cluster.get(workload_path(service.namespace, wanted.kind, wanted.name))
    except ObjectMissingError:
        return Found({}, problems=preflight.workload_problems(None, service, wanted))
    problems = preflight.workload_problems(document, service, wanted)
    problems += rollout_problems(document, service.ready_within)
    if problems:
        return Found(document, problems=problems)
    bound = [binding for model in models for binding in service.bindings_of(model, wanted)]
    places = [(one, workload.container(document, one.container)) for one in bound]
    mounts = [(one, workload.mount(document, container, service.claim)) for one, container in places if container]
    return Found(document, bindings=[(one, mount) for one, mount in mounts if mount])


def rollout_problems(document: Document, ready_within: int) -> list[str]:
    """Return why no rollout of *document* could complete and confirm in *ready_within* seconds.

    replicas | strategy | progress deadline | problem
    ---------+----------+-------------------+-------------------------
    0        | any      | any               | none could confirm
    any      | OnDelete | any               | nothing replaces pods
    any      | any      | < ready_within    | Kubernetes gives up first
    else     | else     | else              | none
    """
    name = f"{document['kind']} {document['metadata']['namespace']}/{document['metadata']['name']}"
    problems = []
    if workload.replicas(document) == 0:
        problems.append(f"{name} wants no pods, so none could confirm: scale it up first.")
    if workload.strategy(document).get("type") == "OnDelete":
        problems.append(f"{name} has the strategy OnDelete, so nothing replaces its pods: set RollingUpdate.")
    deadline = document["spec"].get("progressDeadlineSeconds", _DEFAULT_DEADLINE)
    if document["kind"] == "Deployment" and deadline < ready_within:
        problems.append(
            f"{name} has progressDeadlineSeconds {deadline}, but its service's ready_within is {ready_within}: "
            "raise the former or lower the latter."
        )
    return problems
