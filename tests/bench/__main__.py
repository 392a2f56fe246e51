"""``python tests/bench [FIGURE ...]``: our program beside its peers, in one run on one machine. See docs/benchmarks.md.

What is printed on stdout is Markdown. The exit code is 0 when everything ran, whether or not goals are reached.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from contest import tell
from data import GIB
from figures import ALL
from host import described, memory_free
from peers import refuse_missing
from table import Line, table

from bench import Bench, emptied, free, workplaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench import Figure

_PROGRAMS = 2 * GIB
"""What servers and contenders take beside the files."""


def main() -> int:
    """Measure what the command line asks for."""
    arguments = _arguments()
    figures = [ALL[name] for name in arguments.figures] or list(ALL.values())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by an exception, so that everything is cleaned up
    try:
        _refuse_too_little(figures, arguments)
        refuse_missing()
        with workplaces(arguments.shared, arguments.disk) as (shared, disk):
            return _measured(figures, Bench(arguments.scale, arguments.rounds, shared, disk), arguments.json)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    titles = "\n".join(f"  {name:8}{figure.title}" for name, figure in ALL.items())
    parser = argparse.ArgumentParser(
        prog="python tests/bench", description=__doc__, epilog=f"figures:\n{titles}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("figures", nargs="*", metavar="FIGURE", type=_figure, help="default: all")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies sizes and counts; below 1 it is only a try"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--shared", type=Path, default=Path("/dev/shm"), help="a tmpfs; default: %(default)s")
    parser.add_argument("--disk", type=Path, default=Path(__file__).parents[2] / ".local/bench", help="on a disk")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    return parser.parse_args()


def _figure(text: str) -> str:
    if text.upper() not in ALL:
        raise argparse.ArgumentTypeError(f"no figure {text!r}; expected some of {', '.join(ALL)}")
    return text.upper()


def _refuse_too_little(figures: Sequence[Figure], arguments: argparse.Namespace) -> None:
    """:raises RuntimeError: There is less memory or disk than the greatest figure needs."""
    shared = round(max(figure.shared for figure in figures) * arguments.scale)
    disk = round(max(figure.disk for figure in figures) * arguments.scale)
    there = (memory_free(), free(arguments.shared), free(arguments.disk))
    tell(f"needs {(shared + _PROGRAMS) / GIB:.1f} GiB of memory, {shared / GIB:.1f} of it in {arguments.shared}; "
         f"{disk / GIB:.1f} GiB in {arguments.disk}")  # fmt: skip
    if there < (shared + _PROGRAMS, 0, 0) or there[1] < shared or there[2] < disk:
        free_now = "{:.1f} GiB of memory, {:.1f} in the tmpfs, {:.1f} on the disk".format(*(x / GIB for x in there))
        raise RuntimeError(f"Too little is free: {free_now}. Choose fewer figures or a smaller --scale.")


def _measured(figures: Sequence[Figure], bench: Bench, record: Path | None) -> int:
    machine = described()
    print("\n".join(f"- {name}: {value}" for name, value in machine.items()), flush=True)
    lines: list[Line] = []
    failed: list[str] = []
    began = time.monotonic()
    for figure in figures:
        print(f"\n## {figure.name}: {figure.title}", flush=True)
        try:
            lines += figure.run(bench)
        except Exception:  # the others are measured all the same
            traceback.print_exc()
            failed.append(figure.name)
        emptied(bench.shared)
        emptied(bench.disk)
        tell(f"{time.monotonic() - began:.0f} s so far")
    print(f"\n## Goals\n\n{table(lines)}")
    if record:
        found = {
            "machine": machine,
            "goals": [line.record() for line in lines],
            "contests": [c.record() for c in bench.contests],
        }
        record.write_text(json.dumps(found, indent=1))
    if failed:
        print(f"\nDid not run: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
