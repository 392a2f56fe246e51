"""P5: what a sync that was killed at half leaves to its next run."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import data
from contest import begun, end, measured, tell
from data import GIB, MIB
from peers import Way, our_sync
from servers import served
from table import Line, mib

from bench import Bench, Figure, uploaded
from modelberth.core.chunks import CHUNK_SIZE, run_length

_STREAMS = 8


def run(bench: Bench) -> list[Line]:
    """Kill a sync of 8 x 256 MiB when it has written half, and run it again."""
    source, claim = bench.shared / "source", bench.shared / "claim"
    data.files(source, 8, bench.size(256 * MIB))
    claim.mkdir()
    with served(bench.shared / "weed") as server:
        revision, sample = uploaded(server, source)
        size = int(sample.result["bytes"])
        sync = our_sync(Way(server, server.http), claim, revision, "--concurrency", str(_STREAMS))
        process = begun(sync)
        try:
            while (written := _written(process.pid)) < size // 2 and process.poll() is None:
                time.sleep(0.002)
        finally:
            end(process)
        second = measured(sync, server.cpu)
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"The sync ended with {process.returncode} before it was half done.")
    tell(f"killed when {mib(written)} of {mib(size)} were written")
    fetched = int(second.result["bytes_fetched"])
    request = run_length(size // CHUNK_SIZE, _STREAMS) * CHUNK_SIZE
    goal = round((size / 2 + _STREAMS * request) / MIB)
    what = f"killed at half of {mib(size)}: the second run fetches, to half and {_STREAMS} requests of {mib(request)}"
    return [Line("P5", what, mib(fetched), "all again", fetched / MIB, goal, unit=" MiB")]


def _written(pid: int) -> int:
    """Return the bytes that a process and its children have written so far."""
    try:
        children = [
            int(one)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for one in (thread / "children").read_text().split()
        ]
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields["wchar"]) + sum(_written(child) for child in children)


FIGURE = Figure("P5", "killed at half", run, shared=7 * GIB)
