"""P11: many small files to a disk, durable when it ends."""

from __future__ import annotations

import subprocess

import data
from contest import Arena, compete, tell
from data import GIB
from peers import Way, our_sync, small_download
from servers import served
from table import Line, race

from bench import Bench, Figure, emptied, refuse_less, uploaded

_FILES, _SIZE = 100_000, 4096
_ROUNDS = 2


def run(bench: Bench) -> list[Line]:
    """Measure 100,000 files of 4 KiB; our upload brings them into the bucket."""
    source, target, count = bench.shared / "source", bench.disk / "copy", bench.count(_FILES)
    data.small_files(source, count, _SIZE)

    def before() -> None:
        emptied(target)
        subprocess.run(["sync"], check=True)

    with served(bench.shared / "weed") as server:
        revision, up = uploaded(server, source)
        tell(f"upload of {count} files: {up.wall:.1f} s")
        way = Way(server, server.http)
        arena = Arena(server.cpu, before, lambda _: refuse_less(target, count * _SIZE))
        contenders = [our_sync(way, target, revision), small_download(way, target)]
        title = "P11 100,000 files of 4 KiB to disk"
        contest = compete(title, count * _SIZE, contenders, arena, min(bench.rounds, _ROUNDS))
    bench.show(contest)
    what = "100,000 files of 4 KiB, to s5cmd and sync"
    return [race("P11", what, contest.ours.median, contest.fastest().median, 1.0)]


FIGURE = Figure("P11", "many small files", run, shared=3 * GIB, disk=GIB)
