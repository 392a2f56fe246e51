"""The last look before a target's first change: what the plan was made for may have changed while people decided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelberth.core import patience
from modelberth.kubernetes import canary, capacity, declared, workload
from modelberth.kubernetes.patience import limits
from modelberth.kubernetes.target import rollout_problems
from modelberth.receipts.proof import RolloutRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelberth.core.plan import Plan, Target
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]


def require_possible(cluster: Cluster, plan: Plan, target: Target, document: Document) -> None:
    """Let the rollout begin only if the workload is as it was approved, a plan of it would be made, and it has room.

    :param document: The workload of *target*, one of *plan*'s, as it is now.
    :raises RolloutRefusedError: With everything that stands in the way; nothing was changed.
    """
    found = problems(plan, target, document)
    # Where nothing changes no pod is replaced, and no room is needed.
    if not found and any(one.from_ != one.to for one in target.bindings):
        found = capacity.problems(cluster, document)
    if found:
        said = " ".join(found)
        advice = "Put it right and clear the task 'check', or start a new release."
        raise RolloutRefusedError(f"{target} was not changed: {said} {advice}")


def problems(plan: Plan, target: Target, document: Document) -> list[str]:
    """Return what of *document* is not as it was approved, and all for which a plan of it would be refused now.

    the workload by now                                    | a release | a rollback
    -------------------------------------------------------+-----------+-----------
    has another strategy, a StatefulSet another partition  | refused   | refused
    has a variable that somebody else keeps                | refused   | refused
    wants no pods, or nothing replaces them                | refused   | refused
    has no pod that would come first, as the canary        | refused   | -
    leads a path elsewhere than to its snapshot, read-only | refused   | refused
    gives up before ready_within                           | refused   | goes on: what comes was live before
    else                                                   | goes on   | goes on
    """
    return [
        *_strategy(target, document),
        *_kept(target, document),
        *rollout_problems(document),
        *_canary(target, document),
        *(f"{said}." for said in declared.to_declare(target, document)),
        *([] if plan.rollback else _impatient(target, document)),
    ]


def _strategy(target: Target, document: Document) -> Iterator[str]:
    live = workload.strategy(document)
    if live != target.strategy:
        yield f"Its strategy is {json.dumps(live)}, the plan was approved with {json.dumps(target.strategy)}."


def _kept(target: Target, document: Document) -> Iterator[str]:
    for binding in target.bindings:
        if keeper := workload.kept_by(document, binding):
            yield f"{binding} is kept by {keeper} by now."


def _canary(target: Target, document: Document) -> list[str]:
    if target.canary is None or target.canary.partition is None:
        return []
    return canary.partition_problems(document, target.canary.partition, "the plan's canary")


def _impatient(target: Target, document: Document) -> list[str]:
    found = limits(document, {binding.container for binding in target.bindings})
    return patience.problems(found, target.ready_within, "ready_within of the plan")
