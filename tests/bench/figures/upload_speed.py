"""UPLOAD: with digests and whole-object checksums, beside uploads without digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import data
from contest import Arena, Contest, Tuning, compete
from data import GIB
from peers import BUCKET, Way, our_upload, uploads
from servers import served
from table import Line, race

from bench import Bench, Figure, removed, size_of
from figures.sync_speed import EIGHT, HTTP, ONE, TLS, Shape

if TYPE_CHECKING:
    from servers import Server

_ROUNDS, _TLS_ROUNDS = 3, 2
"""Few, since the server takes 9 CPU seconds per GB: it digests what comes twice, by MD5."""


def run(bench: Bench) -> list[Line]:
    """Measure both shapes over HTTP, the first over TLS."""
    return _lines(EIGHT, _measured(bench, EIGHT, (HTTP, TLS))) + _lines(ONE, _measured(bench, ONE, (HTTP,)))


def _measured(bench: Bench, shape: Shape, ways: tuple[str, ...]) -> dict[str, Contest]:
    source, tuning = bench.shared / "source", Tuning()
    data.files(source, shape.files, bench.size(shape.size))
    with served(bench.shared / "weed") as server:
        server.create_bucket(BUCKET)
        found = {name: _contest(bench, server, f"{shape.name} over {name}", tuning) for name in ways}
    removed(source)
    return found


def _contest(bench: Bench, server: Server, name: str, tuning: Tuning) -> Contest:
    source = bench.shared / "source"
    size, over_tls = size_of(source), name.endswith(TLS)
    way = Way(server, server.https if over_tls else server.http)
    arena = Arena(server.cpu, lambda: server.empty_bucket(BUCKET), lambda _: server.refuse_less(BUCKET, size))
    contenders = [our_upload(way, source), *(tuning.best(candidates, arena) for candidates in uploads(way, source))]
    rounds = min(bench.rounds, _TLS_ROUNDS if over_tls else _ROUNDS)
    contest = compete(f"UPLOAD {name}", size, contenders, arena, rounds)
    bench.show(contest)
    return contest


def _lines(shape: Shape, contests: dict[str, Contest]) -> list[Line]:
    http = contests[HTTP]
    lines = [race("UPLOAD", f"{shape.name} over {HTTP}, to s5cmd", http.ours.median, http["s5cmd"].median, 1.0)]
    for way, goal in ((HTTP, 1.05), (TLS, 1.1)):
        if contest := contests.get(way):
            what = f"{shape.name} over {way}, to {contest.fastest_named()}"
            lines.append(race("UPLOAD", what, contest.ours.median, contest.fastest().median, goal))
    return lines


FIGURE = Figure("UPLOAD", "with digests and checksums, beside uploads without digests", run, shared=7 * GIB)
