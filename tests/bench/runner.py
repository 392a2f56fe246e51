"""Runs one program and writes down what it took: ``python -I -S runner.py REPORT WORDS...``.

A process of its own, and a small one: Linux counts the parent's resident memory at the fork as the child's peak, so a
program that is started by a big process looks as big.
"""

import json
import os
import select
import sys
import time

_EVERY = 200  # milliseconds between two looks at the memory


def main() -> None:
    """Run the words, report the seconds and bytes, and end with their exit code."""
    report, *words = sys.argv[1:]
    began = time.monotonic()
    pid = os.posix_spawnp(words[0], words, os.environ)
    peaks = _watched(pid)
    wall = time.monotonic() - began
    _, status, usage = os.wait4(pid, 0)
    found = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": max(usage.ru_maxrss * 1024, peaks),
    }
    with open(report, "w") as stream:  # noqa: PTH123 - pathlib costs memory
        json.dump(found, stream)
    sys.exit(os.waitstatus_to_exitcode(status) % 256)


def _watched(pid: int) -> int:
    """Wait for the process to end; return the most that it and its children had resident together, bytes."""
    ended, most = select.poll(), 0
    ended.register(os.pidfd_open(pid), select.POLLIN)
    while not ended.poll(_EVERY):
        most = max(most, sum(_peak(one) for one in _family(pid)))
    return most


def _family(pid: int) -> list[int]:
    """Return the process and what it started. One process has its peak from wait4; this is for those with several."""
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with open(f"/proc/{pid}/task/{thread}/children") as stream:  # noqa: PTH123
                children += map(int, stream.read().split())
    except OSError:
        return []  # it ended meanwhile
    return [pid, *(one for child in children for one in _family(child))]


def _peak(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status") as stream:  # noqa: PTH123
            return sum(int(line.split()[1]) * 1024 for line in stream if line.startswith("VmHWM:"))
    except OSError:
        return 0


main()
