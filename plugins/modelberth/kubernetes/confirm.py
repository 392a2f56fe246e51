"""Asking every ready pod of the newest template whether it serves what was approved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelberth.core.confirm import report_problem, smoke_problem
from modelberth.core.plan import LEVELS
from modelberth.kubernetes import workload
from modelberth.kubernetes.pods import is_ready, newest_pods

if TYPE_CHECKING:
    from modelberth.core.plan import Binding, Plan, Target
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]


@dataclass
class Shown:
    """What the pods have shown: a line of evidence for each, and what is missing."""

    pods: list[Document] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def confirm(cluster: Cluster, plan: Plan, target: Target, document: Document) -> Shown:
    """Return what the ready pods of *document*'s newest template show; zero ready pods show nothing, which fails."""
    shown = Shown()
    for pod in filter(is_ready, newest_pods(cluster, document)):
        problems = _problems(cluster, plan, target, pod)
        shown.problems += [f"pod {pod['metadata']['name']}: {problem}" for problem in problems]
        shown.pods.append(_evidence(pod, target, problems))
    wanted = max(1, workload.replicas(document) - (workload.counts(document).partition or 0))
    if len(shown.pods) < wanted:
        shown.problems.append(f"{len(shown.pods)} of {wanted} new pods are ready")
    return shown


def _problems(cluster: Cluster, plan: Plan, target: Target, pod: Document) -> list[str]:
    """Return what *pod* fails to show, up to the level that the plan asks for."""
    asked, level = target.confirm, LEVELS.index(target.confirm.level)
    problems = declared(target, pod)
    proxy = f"/api/v1/namespaces/{target.namespace}/pods/{pod['metadata']['name']}:{asked.port}/proxy"
    if level >= LEVELS.index("reported") and asked.report:
        report = cluster.ask(proxy + asked.report)
        for one in target.served:
            paths = [binding.to for binding in target.bindings_of(one.model)]
            problems.append(report_problem(report, paths, str(plan.revisions[one.model])))
    if level >= LEVELS.index("behaved"):
        problems += [smoke_problem(cluster.ask(proxy + smoke.path, smoke.body), smoke) for smoke in asked.smoke]
    return [problem for problem in problems if problem]


def declared(target: Target, pod: Document) -> list[str | None]:
    """Return where the pod's own spec, as Kubernetes runs it, is not as the plan has it."""
    spec = {"spec": {"template": {"spec": pod["spec"]}}}
    problems: list[str | None] = []
    for binding in target.bindings:
        one = workload.container(spec, binding.container)
        value = one and workload.live_value(one, binding.variable)
        if value != binding.to:
            problems.append(f"{binding} is {value!r}, expected {binding.to!r}")
        if not one or not _leads_to_snapshot(spec, one, binding, target):
            problems.append(
                f"{binding.to} in container {binding.container} does not lead to snapshot "
                f"{target.snapshot_of(binding.model)} on a read-only volume of claim {target.claim}"
            )
    return problems


def _leads_to_snapshot(spec: Document, one: Document, binding: Binding, target: Target) -> bool:
    """Return whether the path of *binding* leads to the plan's snapshot in the container *one*.

    the deepest mount on the path | subPath | its volume | the snapshot is there at | leads to it
    ------------------------------+---------+------------+--------------------------+------------
    the plan's claim              | none    | read-only  | the binding's path       | yes
    the plan's claim              | none    | read-only  | another path             | no
    the plan's claim              | none    | writable   | any                      | no
    the plan's claim              | any     | any        | any                      | no
    another volume, none          | any     | any        | any                      | no
    """
    deepest = workload.covering(one, binding.to)
    return any(
        mount.path == deepest
        and mount.read_only
        and not mount.sub_path
        and mount.serving_path(binding.model, target.snapshot_of(binding.model)) == binding.to
        for mount in workload.mounts(spec, one, target.claim)
    )


def _evidence(pod: Document, target: Target, problems: list[str]) -> Document:
    images = {status["name"]: status.get("imageID", "") for status in pod["status"].get("containerStatuses") or []}
    return {
        "pod": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
        "node": pod["spec"].get("nodeName", ""),
        "images": images,
        "level": target.confirm.level,
        "problems": problems,
    }
