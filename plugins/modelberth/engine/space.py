"""Whether what is missing of a revision fits on its claim, judged before the first byte."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.units import human

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelberth.core.manifest import Manifest
    from modelberth.core.revision import Revision

_SLACK = 16 * 1024 * 1024
"""Bytes for directories, the journal and the manifest."""


def refuse_too_little(
    root: Path, revision: Revision, manifest: Manifest, files: Path, shared: Mapping[int, int]
) -> None:
    """Refuse a revision that does not fit.

    :param files: Where its files are made; the blocks that they have already are not needed again.
    :param shared: Bytes of files, by their numbers, that will use no space.
    :raises Failure: What is missing does not fit.
    """
    system = os.statvfs(files)
    needed = _SLACK
    for number, entry in enumerate(manifest.files):
        blocks = -(-entry.size // system.f_frsize) * system.f_frsize
        needed += max(0, blocks - _allocated(files / entry.path) - shared.get(number, 0))
    free = system.f_bavail * system.f_frsize
    if system.f_blocks and needed > free:
        raise Failure(
            ExitCode.NO_SPACE,
            f"{revision} needs {human(needed)} more in {str(root)!r}, where {human(free)} are free: "
            "prune snapshots or enlarge the volume.",
        )


def _allocated(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.lstat().st_blocks * 512
    return 0
