"""What all figures share: how big, how often, where, and what was found so far."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contest import measured
from data import MIB
from peers import BUCKET, Way, our_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contest import Contest, Sample
    from servers import Server
    from table import Line

_PREFIX = "modelberth-bench-"


@dataclass(frozen=True)
class Figure:
    """One figure of docs/benchmarks.md.

    :param shared: Bytes of tmpfs, that is memory, that it needs at full size.
    :param disk: Bytes of disk.
    """

    name: str
    title: str
    run: Callable[[Bench], list[Line]]
    shared: int
    disk: int = 0


@dataclass
class Bench:
    """One run.

    :param scale: What sizes and counts are multiplied by: 1 for figures that count, less for a try.
    :param shared: A directory of this run's on tmpfs. :param disk: One on a disk.
    :param kept: What one figure found that another one needs too.
    """

    scale: float
    rounds: int
    shared: Path
    disk: Path
    contests: list[Contest] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)

    def size(self, full: int) -> int:
        """Return *full* bytes at this run's scale, in whole MiB."""
        return max(round(full * self.scale / MIB), 1) * MIB

    def count(self, full: int) -> int:
        """Return *full* things at this run's scale."""
        return max(round(full * self.scale), 1)

    def show(self, contest: Contest) -> None:
        """Print a contest's table and keep its numbers."""
        print(f"\n{contest.title}\n\n{contest.report()}", flush=True)
        self.contests.append(contest)


@contextmanager
def workplaces(shared: Path, disk: Path) -> Iterator[tuple[Path, Path]]:
    """Make a directory of this run's own in each of two; remove them in the end, and what killed runs left."""
    mine = [root / f"{_PREFIX}{os.getpid()}" for root in (shared, disk)]
    for root in (shared, disk):
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{_PREFIX}*"):
            if not Path("/proc", left.name.removeprefix(_PREFIX)).exists():
                removed(left)
    try:
        for directory in mine:
            directory.mkdir()
        yield mine[0], mine[1]
    finally:
        for directory in mine:
            removed(directory)


def removed(directory: Path) -> None:
    """Remove a directory, with snapshots in it: their directories are read-only, which stops anybody but root."""
    subprocess.run(["rm", "-rf", directory], check=True)


def emptied(directory: Path) -> None:
    """Leave an empty directory."""
    removed(directory)
    directory.mkdir(parents=True)


def size_of(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def refuse_less(directory: Path, size: int) -> None:
    """:raises RuntimeError: There is less than that: a contender said that it did what it did not."""
    if (found := size_of(directory)) < size:
        raise RuntimeError(f"{str(directory)!r} should hold {size} bytes, but has {found}.")


def uploaded(server: Server, source: Path) -> tuple[str, Sample]:
    """Upload a directory into the bucket that all figures read; return the revision."""
    server.create_bucket(BUCKET)
    sample = measured(our_upload(Way(server, server.http), source), server.cpu)
    return sample.result["revision"], sample


def free(directory: Path) -> int:
    """Return the bytes that are free in a directory's file system."""
    while not directory.exists():
        directory = directory.parent
    return shutil.disk_usage(directory).free
