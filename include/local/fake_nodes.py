"""Nodes that nobody has, such as ones with GPUs, in the real cluster: kwok keeps them and what is scheduled to them.

They are in groups: each has its own kwok, label and taint, so that no pod gets there that was not made for the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from binaries import KWOK
from kubectl import kubectl

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings

LABEL = "modelberth.dev/fake-nodes"
ADDRESSES = "10.200.0.0/16"
LEASE = 40
"""Seconds after which the nodes of a kwok that died are not ready any more."""


def keeper(settings: Settings, group: str, log: Path) -> list[str]:
    """Return the command that keeps the nodes of *group*, in the foreground.

    :param log: Of the compiler, should kwok have to be built.
    """
    return [
        str(KWOK.ensure(log) / "kwok"),
        f"--kubeconfig={settings.kubeconfig}",
        f"--config={KWOK.module / 'stages.yaml'}",
        f"--manage-nodes-with-label-selector={LABEL}={group}",
        f"--node-lease-duration-seconds={LEASE}",
        f"--cidr={ADDRESSES}",
        "--node-ip=127.0.0.1",
    ]


def node(name: str, group: str, has: dict[str, str], labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    """Return a node of *group*.

    :param has: What it can give to pods, beside room for 20 of them.
    :param spec: What else its spec says; taints come to that of the group.
    """
    taints = [{"key": LABEL, "value": group, "effect": "NoSchedule"}, *spec.pop("taints", [])]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {LABEL: group, "kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": taints, **spec},
        "status": {"allocatable": {"pods": "20", **has}, "capacity": {"pods": "20", **has}},
    }


def bound_to(group: str, labels: dict[str, str]) -> dict[str, Any]:
    """Return what in a pod's spec brings it to nodes of *group* that have *labels*, and nowhere else."""
    return {
        "nodeSelector": {LABEL: group, **labels},
        "tolerations": [{"key": LABEL, "value": group, "effect": "NoSchedule"}],
    }


def remove(settings: Settings, group: str | None = None) -> None:
    """Delete the nodes of *group*, or of all groups."""
    which = f"--selector={LABEL}={group}" if group else f"--selector={LABEL}"
    kubectl(settings, "delete", "nodes", which, "--ignore-not-found", "--wait=false")
