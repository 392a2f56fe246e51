"""ROLLOUT: the requests that a switch and an automatic rollback lose, and the longest time without an answer.

It is the test of the same thing, run in the local environment, which it starts where it does not run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from contest import tell
from data import MIB
from table import Line

from bench import Bench, Figure

PROJECT = Path(__file__).resolve().parents[3]
TEST = "tests/cluster/test_zero_downtime.py::test_a_switch_and_an_automatic_rollback_lose_no_request"


def run(bench: Bench) -> list[Line]:
    """Measure one switch that stays and one that is put back, under the load of eight clients."""
    report = bench.disk / "rollout.xml"
    program = [sys.executable, str(PROJECT / "include/local"), "run", "--"]
    done = subprocess.run(
        [*program, sys.executable, "-m", "pytest", "-q", TEST, f"--junitxml={report}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    tell(done.stdout[-300:])
    found = properties(report)
    what = "requests lost by a switch and a rollback under load"
    sent = f"{found['lost']:.0f} of {found['sent']:.0f}"
    return [
        Line("ROLLOUT", what, sent, "", found["lost"], 0, unit=""),
        Line("ROLLOUT", "longest time without an answer", "", "", found["longest_gap"], None, unit=" s"),
    ]


def properties(report: Path) -> dict[str, float]:
    """Return the numbers that the test left.

    :raises RuntimeError: It did not come so far.
    """
    tree = ElementTree.parse(report) if report.exists() else None  # noqa: S314 - pytest wrote it
    found = {one.get("name", ""): float(one.get("value", "")) for one in tree.iter("property")} if tree else {}
    if "lost" not in found:
        raise RuntimeError(f"{TEST} measured nothing; run it by itself: see docs/local.md.")
    return found


FIGURE = Figure("ROLLOUT", "requests lost by a switch", run, shared=0, disk=MIB)
