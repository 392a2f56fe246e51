"""Cgroups are found as Debian mounts them and as older set-ups do."""

from __future__ import annotations

from pathlib import Path

import cgroups
import pytest

V2 = """\
33 24 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
24 1 0:22 / /sys rw - sysfs sysfs rw
"""
V1 = """\
40 24 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
41 40 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
42 40 0:32 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
43 40 0:33 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        ("", []),
        (V2, [("/sys/fs/cgroup", "cgroup2")]),
        (
            V1,
            [
                ("/sys/fs/cgroup/cpuset", "cgroup"),
                ("/sys/fs/cgroup/systemd", "cgroup"),
                ("/sys/fs/cgroup/unified", "cgroup2"),
            ],
        ),
    ],
)
def test_hierarchies_are_what_is_mounted(mountinfo: str, expected: list[tuple[str, str]]) -> None:
    assert cgroups.hierarchies(mountinfo) == [(Path(path), kind) for path, kind in expected]


def test_every_controller_of_a_v2_group_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    cgroups.enable_controllers(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_removing_a_group_takes_the_deepest_first(tmp_path: Path) -> None:
    (tmp_path / "root/pods/one").mkdir(parents=True)
    (tmp_path / "root/pods/two").mkdir()
    assert cgroups.remove_tree(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_group_that_is_gone_counts_as_removed(tmp_path: Path) -> None:
    assert cgroups.remove_tree(tmp_path / "never")
