"""Programs that do the same in turn, and what each of them took."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RUNNER = Path(__file__).with_name("runner.py")
GB = 10**9


@dataclass(frozen=True)
class Contender:
    """One program with its settings.

    :param env: What it finds in its environment beside this program's own.
    :param rounds: In how many rounds it takes part at most: those that are never the fastest take part in few.
    """

    name: str
    words: Sequence[str | Path]
    env: Mapping[str, str]
    settings: str = ""
    rounds: int = 1000


@dataclass(frozen=True)
class Sample:
    """One run: seconds on the wall, of the processor and of the server's processor; most resident bytes; stdout."""

    wall: float
    cpu: float
    peak: int
    server: float
    out: str = field(repr=False)

    @property
    def result(self) -> dict[str, Any]:
        """What our program says in its last line."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


def measured(contender: Contender, server_cpu: Callable[[], float] = lambda: 0.0) -> Sample:
    """Run a contender once.

    :raises RuntimeError: It failed.
    """
    before = server_cpu()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        process = begun(contender, (sys.executable, "-I", "-S", RUNNER, report))
        try:
            out, problems = process.communicate()
        except BaseException:
            end(process)
            raise
        if process.returncode:
            raise RuntimeError(f"{contender.name} ended with {process.returncode}: {(out + problems)[-2000:]}")
        found = json.loads(report.read_text())
    return Sample(found["wall"], found["cpu"], found["peak"], server_cpu() - before, out)


def begun(contender: Contender, before: Sequence[str | Path] = ()) -> subprocess.Popen[str]:
    """Start a contender in a process group of its own, without proxies."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.Popen(
        [*before, *contender.words], env=env | dict(contender.env), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> None:
    """Kill a contender and all that it started."""
    with suppress(ProcessLookupError):  # it ended by itself, and was waited for
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@dataclass
class Series:
    """All runs of one contender."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return median(sample.wall for sample in self.samples)

    @property
    def best(self) -> float:
        """Seconds."""
        return min(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        """Seconds of the program's processor time in a run, the median."""
        return median(sample.cpu for sample in self.samples)

    @property
    def server_cpu(self) -> float:
        """Seconds of the server's processor time meanwhile, the median."""
        return median(sample.server for sample in self.samples)

    @property
    def peak(self) -> int:
        """Most resident bytes of any run."""
        return max(sample.peak for sample in self.samples)


@dataclass
class Contest:
    """What contenders took for the same work.

    :param size: Bytes that each of them moves in a run.
    """

    title: str
    size: int
    series: dict[str, Series] = field(default_factory=dict)

    @property
    def ours(self) -> Series:
        """Our own program's."""
        return self.series["ours"]

    def __getitem__(self, name: str) -> Series:
        return self.series[name]

    def fastest(self) -> Series:
        """Return the peer with the least median."""
        return min((one for name, one in self.series.items() if name != "ours"), key=lambda one: one.median)

    def fastest_named(self) -> str:
        """Return who that is, for a table."""
        return f"the fastest, {self.fastest().contender.name}"

    def report(self) -> str:
        """Return a table in Markdown."""
        head = ["", "median s", "best s", "ours/it", "best", "rounds", "CPU s/GB", "server's", "peak MiB", "settings"]
        rows = [head, ["---"] * len(head), *(self._row(one) for one in self.series.values())]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _row(self, one: Series) -> list[str]:
        ratios = [self.ours.median / one.median, self.ours.best / one.best]
        per_gb = GB / self.size
        return [
            one.contender.name, f"{one.median:.2f}", f"{one.best:.2f}",
            *("" if one is self.ours else f"{ratio:.2f}" for ratio in ratios), str(len(one.samples)),
            f"{one.cpu * per_gb:.2f}", f"{one.server_cpu * per_gb:.2f}", f"{one.peak / 2**20:.0f}",
            one.contender.settings,
        ]  # fmt: skip

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        samples = {
            name: [{"wall": s.wall, "cpu": s.cpu, "server_cpu": s.server, "peak": s.peak} for s in one.samples]
            for name, one in self.series.items()
        }
        return {"title": self.title, "bytes": self.size, "runs": samples}


@dataclass(frozen=True)
class Arena:
    """What happens round each run.

    :param before: Makes room. :param after: Raises unless the contender has done its work.
    """

    server_cpu: Callable[[], float]
    before: Callable[[], None]
    after: Callable[[Sample], None]

    def run(self, contender: Contender, title: str) -> Sample:
        """Run a contender once and say so."""
        self.before()
        sample = measured(contender, self.server_cpu)
        self.after(sample)
        tell(f"{title}: {contender.name} {sample.wall:.2f} s {contender.settings}")
        return sample


def compete(title: str, size: int, contenders: Sequence[Contender], arena: Arena, rounds: int) -> Contest:
    """Let contenders take turns; each round another one begins."""
    contest = Contest(title, size, {one.name: Series(one) for one in contenders})
    for number in range(rounds):
        turn = number % len(contenders)
        for one in [*contenders[turn:], *contenders[:turn]]:
            if number < one.rounds:
                contest[one.name].samples.append(arena.run(one, f"{title}, round {number + 1}"))
    return contest


class Tuning:
    """The settings that each contender is fastest with, in one run each; found when they are first asked for."""

    def __init__(self) -> None:
        self._settings: dict[str, str] = {}

    def best(self, candidates: Sequence[Contender], arena: Arena) -> Contender:
        """Return that of a contender's candidates which has its best settings."""
        name = candidates[0].name
        if len(candidates) > 1 and name not in self._settings:
            self._settings[name] = min(candidates, key=lambda one: arena.run(one, "tuning").wall).settings
        return next(one for one in candidates if one.settings == self._settings.get(name, one.settings))


def tell(text: str) -> None:
    """Say on stderr what goes on; stdout is for what is kept."""
    print(f"  {text}", file=sys.stderr, flush=True)
