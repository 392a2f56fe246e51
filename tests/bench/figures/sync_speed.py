"""P1: a verified copy beside unverified ones, from SeaweedFS to tmpfs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import data
from contest import Arena, Contender, Contest, Sample, Tuning, compete, measured, tell
from data import GIB, MIB
from peers import Way, digest_pass, downloads, our_sync
from servers import served, served_over_link
from table import Line, race

from bench import Bench, Figure, emptied, refuse_less, removed, size_of, uploaded

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """So many files of so many bytes."""

    name: str
    files: int
    size: int


EIGHT = Shape("8 x 256 MiB", 8, 256 * MIB)
ONE = Shape("1 x 2 GiB", 1, 2 * GIB)
HTTP, TLS, LINK = "HTTP", "TLS", "HTTP at 400 MB/s"

PASSES = ("blake3", "sha256")
_FEWER = 3
"""Rounds over TLS and the link, where runs are long and differ less."""


@dataclass
class Copies:
    """What was found for one shape: a contest for each way, seconds of each digest pass."""

    contests: dict[str, Contest]
    passes: dict[str, float]


def run(bench: Bench) -> list[Line]:
    """Measure both shapes."""
    return [line for shape in (EIGHT, ONE) for line in _lines(shape, copies(bench, shape))]


def copies(bench: Bench, shape: Shape) -> Copies:
    """Return what was found for a shape; it is measured once in a run."""
    if shape.name not in bench.kept:
        bench.kept[shape.name] = _measured(bench, shape)
    found: Copies = bench.kept[shape.name]
    return found


def _measured(bench: Bench, shape: Shape) -> Copies:
    source = bench.shared / "source"
    data.files(source, shape.files, bench.size(shape.size))
    race = _Race(bench, shape, source)
    with served(bench.shared / "weed") as server:
        revision, _ = uploaded(server, source)
        over_http = race.run(Way(server, server.http), revision, HTTP)
        passes = digest_seconds(race.target, bench.rounds)
        over_tls = race.run(Way(server, server.https), revision, TLS)
    with served_over_link(bench.shared / "weed") as server:
        revision, _ = uploaded(server, source)
        over_link = race.run(Way(server, server.http), revision, LINK)
    removed(source)
    removed(race.target)
    return Copies({HTTP: over_http, TLS: over_tls, LINK: over_link}, passes)


class _Race:
    """The contests of one shape. The settings that were best in the first one are kept for the others."""

    def __init__(self, bench: Bench, shape: Shape, source: Path) -> None:
        self._bench = bench
        self._shape = shape
        self._size = size_of(source)
        self._tuning = Tuning()
        self.target = bench.shared / "copy"

    def run(self, way: Way, revision: str, name: str) -> Contest:
        """Let all contenders take turns."""
        arena = Arena(way.server.cpu, lambda: emptied(self.target), lambda _: refuse_less(self.target, self._size))
        peers = [self._tuning.best(candidates, arena) for candidates in downloads(way, self.target)]
        contenders = [our_sync(way, self.target, revision), *peers]
        rounds = self._bench.rounds if name == HTTP else min(self._bench.rounds, _FEWER)
        contest = compete(f"P1 {self._shape.name} over {name}", self._size, contenders, arena, rounds)
        self._bench.show(contest)
        return contest


def digest_seconds(directory: Path, rounds: int) -> dict[str, float]:
    """Return how long a pass over a directory takes, the median, for each algorithm."""
    found = {}
    for algorithm in PASSES:
        samples = [digest_sample(digest_pass(algorithm, directory)) for _ in range(rounds)]
        found[algorithm] = median(sample.wall for sample in samples)
        tell(f"a pass with {algorithm}: {found[algorithm]:.2f} s")
    return found


def digest_sample(contender: Contender) -> Sample:
    """Return what a digest pass took without its interpreter's start."""
    sample = measured(contender)
    return replace(sample, wall=sample.result["seconds"])


def _lines(shape: Shape, found: Copies) -> list[Line]:
    http, fastest = found.contests[HTTP], found.contests[HTTP].fastest()
    what, ours = f"{shape.name} over {HTTP}", http.ours.median
    lines = [
        race("P1", f"{what}, to s5cmd", ours, http["s5cmd"].median, 1.0),
        race("P1", f"{what}, to {http.fastest_named()}", ours, fastest.median, 1.05),
    ]
    for algorithm, pass_seconds in found.passes.items():
        theirs = f"{fastest.contender.name}, then {algorithm}"
        lines.append(race("P1", f"{what}, to {theirs}", ours, fastest.median + pass_seconds, 0.8))
    for way, goal in ((TLS, 1.1), (LINK, 1.0)):
        contest = found.contests[way]
        what = f"{shape.name} over {way}, to {contest.fastest_named()}"
        lines.append(race("P1", what, contest.ours.median, contest.fastest().median, goal))
    return lines


FIGURE = Figure("P1", "verified sync to tmpfs, beside copies that are not verified", run, shared=7 * GIB)
