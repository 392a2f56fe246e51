"""Which pods of a service come first, and whether they can."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelberth.core.plan import Canary
from modelberth.kubernetes import workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modelberth import catalog as catalogs
    from modelberth.catalog import Service, Workload
    from modelberth.core.plan import Target

Document = dict[str, Any]


def canary_of(service: Service, one: Workload, *, last: bool, changes: bool) -> Canary | None:
    """Return what *one*, a workload of *service*, is as a canary; None where nothing is watched.

    canary of the service | changes | the workload                                | is
    ----------------------+---------+---------------------------------------------+-----------------
    none                  | any     | any                                         | none
    any                   | no      | any                                         | none: nothing to watch
    partition             | yes     | the service's own                           | partition, soak
    partition             | yes     | a further one                               | none
    soak only             | yes     | its only one, or not its last               | the whole, soak
    soak only             | yes     | its last of several                         | none: nothing comes after it

    :param last: It is the last of the service's that the release goes to.
    """
    asked, several = service.canary, len(service.workloads()) > 1
    if asked is None or not changes:
        return None
    if asked.partition is not None:
        return Canary(asked.partition, asked.soak) if one == service.workload else None
    return None if several and last else Canary(None, asked.soak)


def with_what_is_tried_first(planned: Iterable[Target], targets: Sequence[catalogs.Target]) -> Iterator[Target]:
    """Yield the *planned* targets with their canary and preview: a rollback to what was live before has neither."""
    for target in planned:
        one = next(each for each in targets if each.name == target.name)
        names = [each.name for each in targets if each.service.name == target.service]
        changes = any(binding.from_ != binding.to for binding in target.bindings)
        first = canary_of(one.service, one.workload, last=target.name == names[-1], changes=changes)
        yield replace(target, canary=first, preview=one.service.preview and target.name == names[0])


def problems(target: catalogs.Target, document: Document) -> list[str]:
    """Return why *document*, which *target* is now, can have no canary by partition.

    canary's partition | the workload          | its own partition     | problem
    -------------------+-----------------------+-----------------------+--------------------------
    none               | any                   | any                   | none
    any                | a further one, gone   | any                   | none: it is no canary
    >= replicas        | the service's own     | any                   | no pod would come first
    < replicas         | the service's own     | >= the canary's       | the canary would widen it
    < replicas         | the service's own     | less                  | none
    """
    service = target.service
    asked = service.canary.partition if service.canary else None
    if asked is None or not document or target.workload != service.workload:
        return []
    return partition_problems(document, asked, f"canary.partition in services/{service.name}.yaml")


def partition_problems(document: Document, asked: int, where: str) -> list[str]:
    """Return why *asked*, which comes from *where*, can be no canary's partition of *document*."""
    name = f"{document['kind']} {document['metadata']['namespace']}/{document['metadata']['name']}"
    replicas = workload.replicas(document)
    live = (workload.strategy(document).get("rollingUpdate") or {}).get("partition") or 0
    if asked >= replicas:
        return [f"{name} has {replicas} pods, none of them number {asked} of {where}: take a lower."]
    if live >= asked:
        return [f"{name} has partition {live} already, so {asked} of {where} is no part of it: take a higher."]
    return []
