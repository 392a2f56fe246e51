"""The cluster's own cgroup in every hierarchy of this machine, so that it can be measured, limited and removed as one.

Debian mounts cgroup v2 at /sys/fs/cgroup; older set-ups mount one v1 hierarchy per controller, perhaps v2 beside
them. The kubelet is told this cgroup as its root and makes its own below it, but demands that it exist everywhere.
"""

from __future__ import annotations

import time
from pathlib import Path

from problems import LocalError


def hierarchies(mountinfo: str) -> list[tuple[Path, str]]:
    """Return where cgroups are mounted, and whether as ``cgroup`` or ``cgroup2``, from /proc/self/mountinfo's text."""
    found = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            found[Path(before.split()[4])] = kind
    return sorted(found.items())


def create(name: str) -> list[Path]:
    """
    Make the cgroup in every hierarchy.

    :param name: Absolute in each hierarchy, like ``/modelberth-1a2b3c``.
    :returns: A cgroup below each, for the machine's own processes: in v2 a cgroup with children may have none.
    """
    leaves = []
    for mount, kind in hierarchies(Path("/proc/self/mountinfo").read_text()):
        group = mount / name.lstrip("/")
        leaf = group / "machine"
        leaf.mkdir(parents=True, exist_ok=True)
        if kind == "cgroup2":
            enable_controllers(mount)
            enable_controllers(group)
        elif (mount / "cpuset.cpus").exists():  # v1: a new cpuset is empty, and nothing can run in it
            for child, file in ((child, file) for child in (group, leaf) for file in ("cpuset.cpus", "cpuset.mems")):
                (child / file).write_text((mount / file).read_text())
        leaves.append(leaf)
    return leaves


def enable_controllers(group: Path) -> None:
    """Let the children of a v2 group be limited by every controller that it has itself."""
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))


def remove(name: str, within: float = 10) -> None:
    """
    Remove the cgroup and everything below it, in every hierarchy.

    Its processes must have ended; the kernel may take a moment to notice.

    :param within: Seconds to wait for that.
    :raises LocalError: Something still runs in one of them.
    """
    deadline = time.monotonic() + within
    for mount, _ in hierarchies(Path("/proc/self/mountinfo").read_text()):
        root = mount / name.lstrip("/")
        while not remove_tree(root):
            if time.monotonic() > deadline:
                raise LocalError(
                    f"Could not remove cgroup {root}: processes {processes(root)} still run in it. End them first."
                )
            time.sleep(0.1)


def remove_tree(root: Path) -> bool:
    """Remove a cgroup and its children, deepest first; say whether all are gone."""
    if not root.exists():
        return True
    groups = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for group in sorted(groups, key=lambda path: len(path.parts), reverse=True):
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def processes(root: Path) -> list[int]:
    """Return the ids of what runs in a cgroup or below it."""
    return sorted({int(pid) for file in root.rglob("cgroup.procs") for pid in file.read_text().split()})
