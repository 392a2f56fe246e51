"""What a pod declares: where its spec, as Kubernetes runs it, is not as the plan has it. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core import variable
from modelberth.core.variable import Container
from modelberth.kubernetes import patch, workload

if TYPE_CHECKING:
    from modelberth.catalog import Service, Workload
    from modelberth.core.binding import Binding
    from modelberth.core.plan import Target

Document = dict[str, Any]


def declared(target: Target, pod: Document) -> list[str]:
    """Return where *pod*'s own spec is not as the plan has it: the variable, the mount, and what goes by other paths.

    Triton's report names no path, so where that is asked for the command line has to: see ``core.reports``.
    """
    spec = as_template(pod)
    problems = []
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
    return problems + _fixed(spec, target) + _unproven(spec, target)


def to_declare(target: Target, document: Document) -> list[str]:
    """Return where pods of the workload *document* would not be as the plan has it, once it has the values to come."""
    return declared(target, patch.template_to_come(document, target))


def other_ways(document: Document, service: Service, one: Workload) -> list[str]:
    """Return how *one*, a workload of *service*, would go on by a path that no variable sets, whatever was released."""
    containers = [container_of(each) for each in workload.containers(document)]
    bound = [binding for binding in service.bindings if service.workload_of(binding) == one]
    models = dict.fromkeys(binding.model for binding in bound)
    problems = [
        said
        for model in models
        for said in variable.problems(
            containers, {(each.container, each.variable): "" for each in bound if each.model == model}, model
        )
    ]
    if service.confirm.style == "triton" and service.confirm.level != "declared":
        problems += [
            _triton(each.container, each.variable)
            for each in bound
            if not any(variable.refers_to(there, each.variable) for there in containers if there.name == each.container)
        ]
    return problems


def as_template(pod: Document) -> Document:
    """Return *pod* as the document of a workload that makes it, whose functions then read it."""
    return {"spec": {"template": {"spec": pod["spec"]}}}


def named_in_command(spec: Document, binding: Binding) -> bool:
    """Return whether the command line of *binding*'s container names its variable; the process may read it anyway."""
    one = workload.container(spec, binding.container)
    return one is not None and variable.names_in_command(container_of(one), binding.variable, binding.to)


def container_of(one: Document) -> Container:
    """Return what the container *one* runs."""
    words = [*(one.get("command") or ()), *(one.get("args") or ())]
    env = [
        (entry["name"], None if "valueFrom" in entry else str(entry.get("value", ""))) for entry in one.get("env") or ()
    ]
    return Container(one["name"], tuple(words), tuple(env))


def _fixed(spec: Document, target: Target) -> list[str]:
    containers = [container_of(one) for one in workload.containers(spec)]
    bound = {(one.container, one.variable): one for one in target.bindings}
    models = [one.model for one in target.served]
    paths = {model: {at: one.to for at, one in bound.items() if one.model == model} for model in models}
    return [said for model in models for said in variable.problems(containers, paths[model], model)]


def _unproven(spec: Document, target: Target) -> list[str]:
    if target.confirm.style != "triton" or target.confirm.level == "declared":
        return []
    return [
        _triton(binding.container, binding.variable)
        for binding in target.bindings
        if not named_in_command(spec, binding)
    ]


def _triton(container: str, name: str) -> str:
    return (
        f"Triton's report names no path, so the command of container {container!r} has to: --model-repository=$({name})"
    )


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
