"""What a person would type to do the same as a rollout does: words to copy from an error or a receipt."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from modelberth.kubernetes import partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.plan import Target


def commands(target: Target, pods: Sequence[str]) -> dict[str, list[str]]:
    """Return what puts *target* back, and what shows how it is and what became of *pods*."""
    return {"put_back": put_back(target), "look": look(target, pods)}


def put_back(target: Target) -> list[str]:
    """Return how the variables, and a canary's partition, become what the plan found."""
    kubectl = f"kubectl --namespace {target.namespace}"
    containers = dict.fromkeys(binding.container for binding in target.bindings)
    commands = [
        f"{kubectl} set env {_workload(target)} --containers={container} {_variables(target, container)}"
        for container in containers
    ]
    if target.canary and target.canary.partition is not None:
        former = [
            {"op": "replace", "path": "/spec/updateStrategy/rollingUpdate/partition", "value": partition.found(target)}
        ]
        commands.append(f"{kubectl} patch {_workload(target)} --type=json -p {shlex.quote(json.dumps(former))}")
    return commands


def look(target: Target, pods: Sequence[str]) -> list[str]:
    """Return how to see how the workload is, and what was said about *pods*, which may be gone."""
    kubectl = f"kubectl --namespace {target.namespace}"
    events = [f"{kubectl} get events --field-selector involvedObject.name={pod}" for pod in pods]
    return [f"{kubectl} rollout status {_workload(target)} --timeout=10s", *events]


def _workload(target: Target) -> str:
    return f"{target.workload.kind.lower()}/{target.workload.name}"


def _variables(target: Target, container: str) -> str:
    bindings = [binding for binding in target.bindings if binding.container == container]
    return " ".join(
        f"{one.variable}-" if one.from_ is None else shlex.quote(f"{one.variable}={one.from_}") for one in bindings
    )
