"""P7: how much memory and processor a copy takes."""

from __future__ import annotations

import data
from contest import GB, Contest, measured, tell
from data import GIB, MIB
from peers import Way, our_sync
from servers import served
from table import Line, mib

from bench import Bench, Figure, uploaded
from figures.sync_speed import EIGHT, HTTP, TLS, copies

_MOST = 256
_BIG = 20 * GIB


def run(bench: Bench) -> list[Line]:
    """Take 2 GiB from P1's runs, HTTP and TLS; move 20 GiB once, from disk to disk."""
    contests = copies(bench, EIGHT).contests
    lines = [_peak(f"sync of 2 GiB over {way}", contests[way].ours.peak) for way in (HTTP, TLS)]
    lines += [_cpu(way, contests[way]) for way in (HTTP, TLS)]
    return lines + _big(bench)


def _big(bench: Bench) -> list[Line]:
    source, claim, size = bench.disk / "source", bench.disk / "claim", bench.size(_BIG)
    source.mkdir()
    claim.mkdir()
    data.sparse(source / "model.bin", size)
    with served(bench.disk / "weed") as server:
        revision, up = uploaded(server, source)
        tell(f"upload of {mib(size)}: {up.wall:.1f} s, {up.cpu * GB / size:.2f} CPU s/GB")
        down = measured(our_sync(Way(server, server.http), claim, revision), server.cpu)
        tell(f"sync of {mib(size)}: {down.wall:.1f} s, {down.cpu * GB / size:.2f} CPU s/GB")
    return [_peak("upload of 20 GiB", up.peak), _peak("sync of 20 GiB", down.peak)]


def _peak(what: str, peak: int) -> Line:
    return Line("P7", f"{what}: resident", mib(peak), "", peak / MIB, _MOST, unit=" MiB")


def _cpu(way: str, contest: Contest) -> Line:
    per_gb = GB / contest.size
    theirs = ", ".join(f"{name} {one.cpu * per_gb:.2f}" for name, one in contest.series.items() if name != "ours")
    ours = contest.ours.cpu * per_gb
    return Line("P7", f"client's CPU s/GB over {way}", f"{ours:.2f}", theirs, ours, None, unit=" s")


FIGURE = Figure("P7", "memory and processor time", run, shared=7 * GIB, disk=42 * GIB)
