"""Whether the API server would allow a plan: the change itself, made as a dry run, before anybody is asked.

What no reading of objects can know is said here: missing rights, admission policies, webhooks, invalid results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core.plan import PlanRefusedError
from modelberth.kubernetes import patch
from modelberth.kubernetes.client import Cluster, ClusterRefusedError, ObjectChangedError, workload_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.core.plan import Plan


def rehearse(plan: Plan, documents: Mapping[str, dict[str, Any]]) -> None:
    """Let the API server say what it makes of *plan*; nothing is changed.

    :param documents: The workloads as the plan found them, by target.
    :raises PlanRefusedError: It would not allow it, in its words.
    """
    problems = []
    for target in plan.targets:
        path = workload_path(target.namespace, target.workload.kind, target.workload.name)
        operations = patch.rehearse(documents[target.name], plan, target)
        try:
            Cluster(target.connection).patch(f"{path}?dryRun=All", operations)
        except (ClusterRefusedError, ObjectChangedError) as error:
            problems.append(f"{target} may not be changed as planned: {error}")
    if problems:
        raise PlanRefusedError(f"Release {plan.release_id} cannot be rolled out: {' '.join(problems)}")
