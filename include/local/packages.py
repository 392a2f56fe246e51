"""The Debian packages that the local environment needs: installed when missing, and only by ``up``."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from problems import LocalError
from supervise import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NEEDED = {
    "ca-certificates": "what Go and pip trust when they fetch",
    "containerd": "runs the pods' containers",
    "runc": "what containerd starts them with",
    "containernetworking-plugins": "the pods' network",
    "iptables": "Services, and what pods may reach",
    "iproute2": "the link between this machine and the cluster's",
    "conntrack": "kube-proxy forgets connections to pods that are gone",
    "debootstrap": "the base of the images",
    "buildah": "builds the images",
    "e2fsprogs": "the tests' volumes of ext2 and ext4",
    "xfsprogs": "those of xfs, whose files share blocks",
    "btrfs-progs": "those of btrfs, with quotas",
    "fuse3": "those on a network, by SeaweedFS",
}
"""Package to what needs it."""


def ensure(log: Path, names: Sequence[str] = tuple(NEEDED), say: Callable[[str], None] = print) -> None:
    """Install those of the packages that are missing.

    :raises LocalError: Not Debian, not root, or apt-get failed.
    """
    packages = missing(names)
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise LocalError(
            f"Cannot install {', '.join(packages)}: that takes apt-get and root. Use a Debian machine as root."
        )
    say(f"installing {', '.join(packages)}; log: {log}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("a") as out:
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                raise LocalError(
                    f"{' '.join(command)} failed (exit {done.returncode}). Last lines of {log}:\n{tail(log)}"
                )


def missing(names: Sequence[str]) -> list[str]:
    """Return those of the packages that are not installed."""
    if not shutil.which("dpkg-query"):
        return list(names)
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Status}\n", *names]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith("install ok installed")}
    return [name for name in names if name not in installed]
