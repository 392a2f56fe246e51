"""P2: to a disk, beside what dd reaches with an fsync."""

from __future__ import annotations

import subprocess

import data
from contest import Arena, Contender, compete
from data import GIB
from peers import Way, our_sync
from servers import served
from table import Line, seconds

from bench import Bench, Figure, emptied, refuse_less, uploaded


def run(bench: Bench) -> list[Line]:
    """Measure one file of 2 GiB: dd has only its own fsync to wait for."""
    source, target, size = bench.shared / "source", bench.disk / "copy", bench.size(2 * GIB)
    data.files(source, 1, size)
    file = next(source.iterdir())

    def before() -> None:
        emptied(target)
        subprocess.run(["sync"], check=True)

    with served(bench.shared / "weed") as server:
        revision, _ = uploaded(server, source)
        words = ("dd", f"if={file}", f"of={target / 'copy'}", "bs=8M", "conv=fsync", "status=none")
        contenders = [our_sync(Way(server, server.http), target, revision), Contender("dd", words, {})]
        arena = Arena(server.cpu, before, lambda _: refuse_less(target, size))
        contest = compete("P2 1 x 2 GiB to disk", size, contenders, arena, bench.rounds)
    bench.show(contest)
    ours, theirs = contest.ours.median, contest["dd"].median
    what = "1 x 2 GiB to disk, rate to that of dd conv=fsync"
    return [Line("P2", what, seconds(ours), seconds(theirs), theirs / ours, 0.95, at_least=True)]


FIGURE = Figure("P2", "to disk, beside dd with fsync", run, shared=5 * GIB, disk=2 * GIB)
