"""The cluster's own machine: namespaces in which one checkout's Kubernetes has processes, mounts and network to itself.

Paths are the standard ones inside (/run/containerd, /var/lib/kubelet, ...), and nothing outside sees them: machine.sh.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import cgroups
from capsule import Capsule
from settings import API_PORT, GCS_PORT
from supervise import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settings import Settings
    from supervise import Part

SCRIPT = Path(__file__).with_name("machine.sh")


def machine(settings: Settings) -> Supervisor:
    """Return the supervisor of the cluster's parts."""
    return Supervisor(capsule(settings, "machine"), settings.log, entered=True)


def host(settings: Settings) -> Supervisor:
    """Return the supervisor of what runs beside the cluster, on this machine's own network: Airflow."""
    return Supervisor(capsule(settings, "host"), settings.log)


def others(settings: Settings) -> list[Capsule]:
    """Return the capsules of tests, which may have been killed before they could end them."""
    names = {path.stem for path in settings.run.glob("*.pid")} - {"machine", "host"}
    return [capsule(settings, name) for name in sorted(names)]


def capsule(settings: Settings, name: str) -> Capsule:
    """Return the capsule called *name*."""
    return Capsule(name, settings.run, settings.state / f"{name}.conf", settings.log / f"{name}.log")


def start_machine(settings: Settings, parts: Sequence[Part]) -> Supervisor:
    """Start the cluster's machine unless it runs, without any of its parts."""
    supervisor = machine(settings)
    supervisor.configure(parts)
    if supervisor.capsule.outer is None:
        cgroups.remove(settings.cgroup)  # of a machine that was killed
        groups = cgroups.create(settings.cgroup)
        own = {
            "CGROUPS": " ".join(str(group) for group in groups),
            "STATE": str(settings.state / "cluster"),
            "RUN": str(settings.run),
            "INTERFACE": settings.interface,
            "HERE": settings.here,
            "THERE": settings.there,
            "POD_PORTS": f"{API_PORT},{settings.weed_ports.s3},{GCS_PORT}",
        }
        command = ["sh", str(SCRIPT), *supervisor.command]
        supervisor.capsule.start(command, unshare=["--net"], environment=plain_environment() | own)
    return supervisor


def start_host(settings: Settings, parts: Sequence[Part]) -> Supervisor:
    """Start the supervisor of what runs beside the cluster unless it runs, without any of its parts."""
    supervisor = host(settings)
    supervisor.configure(parts)
    if supervisor.capsule.outer is None:
        supervisor.capsule.start(supervisor.command, environment=plain_environment())
    return supervisor


def plain_environment() -> dict[str, str]:
    """Return what programs need of this environment, and nothing that differs between the shells of two people."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
