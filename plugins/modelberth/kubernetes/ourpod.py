"""A pod of our own: our program in one container with one volume, as the restricted Pod Security Standard wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

USER = 10001
"""The user of our image; any but root would do."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs.

    :param container: What logs and statuses call it.
    :param within: Seconds after which Kubernetes ends it.
    """

    container: str
    image: str
    service_account: str
    arguments: tuple[str, ...]
    within: int
    env: tuple[Document, ...] = ()


def document(metadata: Document, program: Program, volume: Document, mount: Document) -> Document:
    """Return the pod that runs *program*, once, with *volume* mounted as *mount* says."""
    container = {
        "name": program.container,
        "image": program.image,
        "command": ["modelberth"],
        "args": list(program.arguments),
        "env": list(program.env),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": volume["name"]} | mount],
    }
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": program.within,
        "serviceAccountName": program.service_account,
        "automountServiceAccountToken": False,
        "securityContext": _SECURITY,
        "containers": [container],
        "volumes": [volume],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # Without it kubelet walks the whole claim before every start and makes 0444 files writable for the group.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
