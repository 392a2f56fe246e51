"""P3: a sync that has nothing to do."""

from __future__ import annotations

import data
from contest import Contest, Sample, Series, measured, tell
from data import MIB
from peers import Way, again, our_sync
from servers import served
from table import Line, seconds

from bench import Bench, Figure, uploaded

_FILES, _SIZE = 10_000, 4096


def run(bench: Bench) -> list[Line]:
    """Measure 10,000 files on a disk, each contender with the copy that it made itself."""
    source, count = bench.shared / "source", bench.count(_FILES)
    data.small_files(source, count, _SIZE)
    with served(bench.shared / "weed") as server:
        revision, _ = uploaded(server, source)
        way = Way(server, server.http)
        names = ("ours", *(peer.name for peer in again(way, bench.disk)))
        targets = {name: bench.disk / name.replace(" ", "-") for name in names}
        contenders = [our_sync(way, targets["ours"], revision)]
        contenders += [next(peer for peer in again(way, targets[name]) if peer.name == name) for name in names[1:]]
        contest = Contest("P3 nothing changed, 10,000 files", count * _SIZE)
        for one in contenders:
            targets[one.name].mkdir()
            measured(one)
            contest.series[one.name] = Series(one)
        for number in range(bench.rounds):
            for one in contenders:
                if number < one.rounds:
                    contest[one.name].samples.append(measured(one, server.cpu))
                    tell(f"{one.name}: {contest[one.name].samples[-1].wall:.2f} s")
    bench.show(contest)
    return _lines(contest)


def _lines(contest: Contest) -> list[Line]:
    ours, fastest = contest.ours.median, contest.fastest()
    fetched = max(_fetched(sample) for sample in contest.ours.samples)
    theirs = f"{fastest.contender.name}: {seconds(fastest.median)}"
    return [
        Line("P3", "nothing changed, 10,000 files: wall", seconds(ours), theirs, ours, 1.0, unit=" s"),
        Line("P3", "nothing changed, 10,000 files: data", f"{fetched} bytes", "", fetched, 0, unit=" bytes"),
    ]


def _fetched(sample: Sample) -> int:
    return int(sample.result["bytes_fetched"])


FIGURE = Figure("P3", "nothing changed", run, shared=1024 * MIB, disk=1024 * MIB)
