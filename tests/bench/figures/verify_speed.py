"""VERIFY: every byte of a snapshot again, beside a digest of the same files that is compared with nothing."""

from __future__ import annotations

import data
from contest import Contest, Series, measured
from data import GIB, MIB
from peers import Way, digest_pass, our_sync, our_verify
from servers import served
from table import Line, race

from bench import Bench, Figure, uploaded
from figures.sync_speed import PASSES, digest_sample


def run(bench: Bench) -> list[Line]:
    """Measure 8 x 256 MiB on tmpfs."""
    source, claim = bench.shared / "source", bench.shared / "claim"
    data.files(source, 8, bench.size(256 * MIB))
    claim.mkdir()
    with served(bench.shared / "weed") as server:
        revision, sample = uploaded(server, source)
        measured(our_sync(Way(server, server.http), claim, revision))
    contest = Contest("VERIFY 8 x 256 MiB", int(sample.result["bytes"]))
    ours, passes = our_verify(claim, revision), [digest_pass(algorithm, source) for algorithm in PASSES]
    contest.series = {one.name: Series(one) for one in (ours, *passes)}
    for _ in range(bench.rounds):
        contest["ours"].samples.append(measured(ours))
        for one in passes:
            contest[one.name].samples.append(digest_sample(one))
    bench.show(contest)
    pairs = [(f"8 x 256 MiB, to a pass with {name}", contest[name].median) for name in PASSES]
    return [race("VERIFY", what, contest.ours.median, theirs, None) for what, theirs in pairs]


FIGURE = Figure("VERIFY", "every byte again, beside a pass of digests", run, shared=7 * GIB)
