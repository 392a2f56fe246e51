"""A target as a plan sees it: the workload as it is now, where it has the claim, and why a rollout could not work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelberth.core.plan import CANNOT_KNOW, Capacity
from modelberth.kubernetes import capacity, patience, preflight, workload
from modelberth.kubernetes.client import Cluster, ObjectMissingError, workload_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.catalog import Binding, Target

Document = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What was found of a target for some models.

    :param document: The workload; empty if there is none.
    :param bindings: The models' bindings, each with where its container has the claim; empty with problems.
    :param problems: Whole sentences.
    :param room: Whether a rollout finds room.
    """

    document: Document
    bindings: list[tuple[Binding, workload.Mount]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    room: Capacity = field(default_factory=lambda: Capacity(CANNOT_KNOW))

    @property
    def containers(self) -> set[str]:
        """Those that load the models."""
        return {binding.container for binding, _ in self.bindings}


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
    bound = [binding for model in models for binding in service.bindings_of(model, wanted)]
    problems += rollout_problems(document)
    problems += patience.problems(service, document, {one.container for one in bound})
    if problems:
        return Found(document, problems=problems)
    room = capacity.judge(cluster, document)
    places = [(one, workload.container(document, one.container)) for one in bound]
    mounts = [(one, workload.mount(document, container, service.claim)) for one, container in places if container]
    return Found(
        document,
        bindings=[(one, mount) for one, mount in mounts if mount],
        problems=capacity.refusals(document, room),
        room=room,
    )


def rollout_problems(document: Document) -> list[str]:
    """Return why no rollout of *document* could complete and confirm.

    replicas | strategy | problem
    ---------+----------+----------------------
    0        | any      | none could confirm
    any      | OnDelete | nothing replaces pods
    else     | else     | none
    """
    name = f"{document['kind']} {document['metadata']['namespace']}/{document['metadata']['name']}"
    problems = []
    if workload.replicas(document) == 0:
        problems.append(f"{name} wants no pods, so none could confirm: scale it up first.")
    if workload.strategy(document).get("type") == "OnDelete":
        problems.append(f"{name} has the strategy OnDelete, so nothing replaces its pods: set RollingUpdate.")
    return problems
