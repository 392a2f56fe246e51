"""Whether what is missing of a revision fits on its claim, judged before the first byte."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.units import human

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from modelberth.core.manifest import Manifest
    from modelberth.core.revision import Revision

_SLACK = 16 * 1024 * 1024
"""Bytes for directories, the journal and the manifest."""

_OTHERS = 16
"""Inodes that a run needs beside its files': for journal, manifest and READY, and the model's directory."""


def refuse_too_little(
    root: Path,
    revision: Revision,
    manifest: Manifest,
    files: Path,
    shared: Mapping[int, int],
    linked: Collection[int] = (),
) -> None:
    """Refuse a revision that does not fit, by its bytes or by the number of its files.

    :param files: Where its files are made, in directories that are there; what they have already is not needed again.
    :param shared: Bytes of files, by their numbers, that will use no space.
    :param linked: Numbers of files that will be other names of files that are there.
    :raises Failure: What is missing does not fit.
    """
    system = os.statvfs(files)
    needed, inodes = _SLACK, _OTHERS
    for number, entry in enumerate(manifest.files):
        blocks = -(-entry.size // system.f_frsize) * system.f_frsize
        allocated = _allocated(files / entry.path)
        needed += max(0, blocks - (allocated or 0) - shared.get(number, 0))
        inodes += allocated is None and number not in linked
    problems = []
    free = system.f_bavail * system.f_frsize
    if system.f_blocks and needed > free:
        problems.append(
            f"{revision} needs {human(needed)} more in {str(root)!r}, where {human(free)} are free: "
            "prune snapshots or enlarge the volume."
        )
    if _counts_inodes(system) and inodes > system.f_favail:
        problems.append(
            f"{revision} needs {inodes} more inodes (one a file) in {str(root)!r}, whose file system has "
            f"{system.f_favail} of {system.f_files} free: prune snapshots, enlarge the volume (ext4 gets inodes with "
            "its blocks), or use one that was made with more of them (mkfs.ext4 -N; xfs makes them as needed)."
        )
    if problems:
        raise Failure(ExitCode.NO_SPACE, *problems)


def _counts_inodes(system: os.statvfs_result) -> bool:
    """Whether a file system has a number of inodes, and tells it.

    | | f_files | f_favail |
    |---|---|---|
    | ext4, tmpfs | all | those that are free |
    | btrfs, EFS, CIFS | 0 | 0 |
    | CephFS | all that are used | -1 |

    None free is not believed: where that is true, no run gets here, since it makes files before.
    """
    return system.f_files > 0 and system.f_favail > 0


def _allocated(file: Path) -> int | None:
    """Return the bytes of its blocks; None when there is no such file."""
    with suppress(FileNotFoundError):
        return file.lstat().st_blocks * 512
    return None
