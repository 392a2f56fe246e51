"""The last look before a target's first change: what the plan was made for may have changed while people decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.kubernetes import capacity, workload
from modelberth.receipts.proof import RolloutRefusedError

if TYPE_CHECKING:
    from modelberth.core.plan import Target
    from modelberth.kubernetes.client import Cluster


def require_possible(cluster: Cluster, target: Target, document: dict[str, Any]) -> None:
    """Let the rollout begin only if nobody else keeps a binding by now and there is room for its pods.

    :param document: The target's workload as it is now.
    :raises RolloutRefusedError: Somebody does, or there is none; nothing was changed.
    """
    keepers = ((binding, workload.kept_by(document, binding)) for binding in target.bindings)
    if kept := [f"{binding} is kept by {keeper} by now" for binding, keeper in keepers if keeper]:
        raise RolloutRefusedError(f"{target} was not changed: {'; '.join(kept)}. Start a new release.")
    # Where nothing changes no pod is replaced, and no room is needed.
    changes = any(one.from_ != one.to for one in target.bindings)
    if problems := capacity.problems(cluster, document) if changes else []:
        raise RolloutRefusedError(f"{target} was not changed: {' '.join(problems)}")
