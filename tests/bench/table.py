"""The last table: each figure's value, its goal, and whether it is reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Line:
    """One goal.

    :param goal: None for what is only told.
    :param value: Compared with *goal* as it is printed, that is with two decimals.
    :param at_least: The value has to be as great as the goal, not as small.
    :param unit: Follows the value and the goal: `` x``, `` %``, `` s``.
    """

    figure: str
    what: str
    ours: str
    theirs: str
    value: float
    goal: float | None
    unit: str = " x"
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """
        Whether the goal is reached; None when there is none.

        | value | goal | at_least | answer |
        |---|---|---|---|
        | 1.004 | 1.0 | no | yes: 1.00 is what is printed |
        | 1.006 | 1.0 | no | no |
        | 0.94 | 0.95 | yes | no |
        | 0.96 | 0.95 | yes | yes |
        """
        if self.goal is None:
            return None
        value = round(self.value, 2)
        return value >= self.goal if self.at_least else value <= self.goal

    def row(self) -> str:
        """Return the line in Markdown."""
        goal = "" if self.goal is None else f"{'>=' if self.at_least else '<='} {self.goal:g}{self.unit}"
        verdict = {None: "", True: "reached", False: "**not reached**"}[self.reached]
        cells = (self.figure, self.what, self.ours, self.theirs, f"{self.value:.2f}{self.unit}", goal, verdict)
        return f"| {' | '.join(cells)} |"

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"reached": self.reached}


def race(figure: str, what: str, ours: float, theirs: float, goal: float | None) -> Line:
    """Return the line of a goal that is a share of somebody else's seconds."""
    return Line(figure, what, f"{ours:.2f} s", f"{theirs:.2f} s", ours / theirs, goal)


def table(lines: Iterable[Line]) -> str:
    """Return all lines in Markdown."""
    head = "| figure | what | ours | theirs | value | goal | |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *(line.row() for line in lines)])


def seconds(value: float) -> str:
    """Return seconds for a cell."""
    return f"{value:.2f} s"


def mib(value: float) -> str:
    """Return bytes for a cell."""
    return f"{value / 2**20:.0f} MiB"
