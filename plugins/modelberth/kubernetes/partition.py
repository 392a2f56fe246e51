"""A StatefulSet's partition, the one thing of a workload's strategy that a release may set: for a canary, for a while.

Set and put back by compare-and-set like a variable: docs/adr/0009-a-canary-sets-the-partition.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core.binding import Live
from modelberth.kubernetes import workload

if TYPE_CHECKING:
    from modelberth.core.plan import Target

Document = dict[str, Any]

_PATH = "/spec/updateStrategy"


def judge(document: Document, target: Target) -> Live | None:
    """Return what the partition of *document* is to the plan; None where it asks for none.

    live                   | is
    -----------------------+--------
    as the plan found it   | FROM
    the canary's           | TO
    another                | FOREIGN
    """
    if target.canary is None or target.canary.partition is None:
        return None
    live = _partition(workload.strategy(document))
    known = {target.canary.partition: Live.TO, found(target): Live.FROM}
    return known.get(live, Live.FOREIGN)


def narrow(document: Document, target: Target) -> list[Document]:
    """Return the operations after which only the canary's pods change."""
    wanted = target.canary.partition if target.canary else None
    return _set(document, wanted) if judge(document, target) is Live.FROM and wanted is not None else []


def widen(document: Document, target: Target) -> list[Document]:
    """Return the operations after which the partition is again what the plan found, if it is the canary's."""
    return _set(document, found(target)) if judge(document, target) is Live.TO else []


def found(target: Target) -> int:
    """Return the partition that the plan found; 0 is what Kubernetes takes where nothing is said."""
    return _partition(target.strategy)


def _partition(strategy: Document) -> int:
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def _set(document: Document, partition: int) -> list[Document]:
    seen = workload.strategy(document)
    wanted = {**seen, "rollingUpdate": {**(seen.get("rollingUpdate") or {}), "partition": partition}}
    return [
        {"op": "test", "path": _PATH, "value": seen},
        {"op": "replace", "path": _PATH, "value": wanted},
    ]
