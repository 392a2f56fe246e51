"""kubectl, as the cluster's admin."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import binaries
from problems import LocalError

if TYPE_CHECKING:
    from settings import Settings


def kubectl(
    settings: Settings, *arguments: str, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """
    Run kubectl with the environment's kubeconfig.

    :param check: Whether a failure raises.
    :raises LocalError: It failed; with what it said.
    """
    command = [program(), f"--kubeconfig={settings.kubeconfig}", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise LocalError(f"kubectl {' '.join(arguments)} failed (exit {done.returncode}): {done.stderr.strip()}")
    return done


def program() -> str:
    """Return the kubectl that was built here, else the one on PATH.

    :raises LocalError: There is neither.
    """
    own = binaries.KUBERNETES.folder() / "kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        raise LocalError(
            "Cannot talk to the cluster: there is no kubectl on PATH. Install it (https://kubernetes.io/docs/tasks/tools)."
        )
    return found


def apply(settings: Settings, objects: list[dict[str, Any]], namespace: str | None = None) -> None:
    """Create or update objects.

    :param namespace: For those that have none.
    """
    where = [f"--namespace={namespace}"] if namespace else []
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl(settings, "apply", *where, "--filename=-", stdin=manifest)
