"""A service as a plan sees it: the workload as it is now, where it has the claim, and why a rollout could not work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelberth.kubernetes import preflight, workload
from modelberth.kubernetes.client import Cluster, ObjectMissingError, workload_path

if TYPE_CHECKING:
    from modelberth.catalog import Service
    from modelberth.core.revision import Snapshot

Document = dict[str, Any]

_DEFAULT_DEADLINE = 600
"""Seconds: the progressDeadlineSeconds of a Deployment that sets none."""


@dataclass(frozen=True)
class Found:
    """What was found of a service for one model.

    :param document: The workload; empty if there is none.
    :param mounts: Where each of the model's bindings has the claim, in the bindings' order; empty with problems.
    :param problems: Whole sentences.
    """

    document: Document
    mounts: list[workload.Mount] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def serving_paths(self, model: str, snapshot: Snapshot) -> list[str]:
        """Return what each binding's variable has to be for *snapshot* of *model*."""
        return [mount.serving_path(model, snapshot) for mount in self.mounts]


def find(service: Service, model: str, cluster: Cluster | None = None) -> Found:
    """Return what is there of *service* for *model*.

    :raises ClusterUnreachableError: The API server does not answer.
    :raises ClusterRefusedError: The connection has not the rights to look.
    """
    cluster = cluster or Cluster(service.connection)
    try:
        document = cluster.get(workload_path(service.namespace, service.workload.kind, service.workload.name))
    except ObjectMissingError:
        return Found({}, problems=preflight.workload_problems(None, service))
    problems = preflight.workload_problems(document, service) + rollout_problems(document, service.ready_within)
    if problems:
        return Found(document, problems=problems)
    bound = [workload.container(document, binding.container) for binding in service.bindings_of(model)]
    mounts = [workload.mount(document, one, service.claim) for one in bound if one]
    return Found(document, mounts=[mount for mount in mounts if mount])


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
