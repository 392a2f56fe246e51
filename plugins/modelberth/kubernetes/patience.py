"""How long a rollout of a workload may take, and where Kubernetes is less patient than that. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core import patience
from modelberth.core.pace import pace_of, rounds
from modelberth.core.patience import CUSTOMARY, Limit, Load
from modelberth.core.units import human
from modelberth.kubernetes import workload

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modelberth.catalog import Service

Document = dict[str, Any]

_NEVER = 2**31 - 1
"""A progressDeadlineSeconds that Kubernetes itself takes for none."""


def ready_within(service: Service, document: Document, containers: Collection[str], verified: Mapping[str, Any]) -> int:
    """Return after how many seconds a rollout of *document* is put back.

    :param containers: Those that load the models.
    :param verified: What verify said: bytes, and in how many seconds it read them.
    """
    return patience.ready_within(service.ready_within, limits(document, containers), load(document, verified))


def problems(
    service: Service, document: Document, containers: Collection[str], verified: Mapping[str, Any] | None = None
) -> list[str]:
    """Return what of *document* gives up before a rollout has to be done; without *verified*, as far as that is set."""
    found = limits(document, containers)
    if service.ready_within is not None:
        return patience.problems(found, service.ready_within, f"ready_within in services/{service.name}.yaml")
    if verified is None:
        return []
    loading = load(document, verified)
    why = (
        f"{human(loading.bytes)} at the {human(loading.rate or 0)}/s that verify read, twice over, and a minute to "
        f"start, {loading.rounds} times; services/{service.name}.yaml sets no ready_within"
    )
    return patience.problems(found, patience.ready_within(None, found, loading), why)


def load(document: Document, verified: Mapping[str, Any]) -> Load:
    """Return what each pod of *document* reads, and how many start one after the other."""
    pace = pace_of(document["kind"], workload.strategy(document), workload.replicas(document))
    between = int(document["spec"].get("minReadySeconds") or 0)
    if pace.surge == 0:  # the old pod ends before the new one starts
        between += int(document["spec"]["template"]["spec"].get("terminationGracePeriodSeconds") or 0)
    seconds = float(verified.get("seconds") or 0)
    rate = verified["bytes"] / seconds if seconds else None
    return Load(verified["bytes"], rate, rounds(pace), between)


def limits(document: Document, containers: Collection[str]) -> list[Limit]:
    """Return after how long Kubernetes gives up on pods of *document*.

    kind        | progressDeadlineSeconds | startup probe of *containers* | limits
    ------------+-------------------------+-------------------------------+-----------------------------------
    Deployment  | not set                 | -                             | 600
    Deployment  | d                       | -                             | d; none if it is the largest number
    StatefulSet | -                       | -                             | none
    any         | any                     | i + f x p                     | that as well
    """
    name = f"{document['kind']} {document['metadata']['namespace']}/{document['metadata']['name']}"
    probes = [_startup(name, one) for one in workload.containers(document) if one["name"] in containers]
    found = [probe for probe in probes if probe]
    deadline = int(document["spec"].get("progressDeadlineSeconds", CUSTOMARY))
    if document["kind"] == "Deployment" and deadline != _NEVER:
        said = f"{name} with progressDeadlineSeconds {deadline}"
        found.append(Limit(said, deadline, "raise progressDeadlineSeconds, or set ready_within lower"))
    return found


def _startup(name: str, container: Document) -> Limit | None:
    probe = container.get("startupProbe")
    if not probe:
        return None
    delay, failures, period = (
        int(probe.get(key, default))
        for key, default in (("initialDelaySeconds", 0), ("failureThreshold", 3), ("periodSeconds", 10))
    )
    said = f"initialDelaySeconds {delay} + failureThreshold {failures} x periodSeconds {period}"
    return Limit(
        f"{name}: the startup probe of container {container['name']} ({said})",
        delay + failures * period,
        "raise its failureThreshold, or set ready_within lower",
    )
