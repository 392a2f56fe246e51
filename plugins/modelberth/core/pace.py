"""How a workload replaces its pods: how many at a time, beside or instead of the old ones. Kubernetes' own rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Document = dict[str, Any]

_DEFAULT = "25%"
"""Of maxSurge and maxUnavailable, where a Deployment says nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many pods are replaced, how many more than that may be there meanwhile, and how many fewer.

    :param said: The strategy, for people.
    """

    replicas: int
    surge: int
    unavailable: int
    said: str


def pace_of(kind: str, strategy: Document, replicas: int) -> Pace:
    """Return the pace of a workload of *replicas* pods.

    kind        | type          | surge            | unavailable        | both 0          | replaced
    ------------+---------------+------------------+--------------------+-----------------+---------------------
    Deployment  | RollingUpdate | %: rounded up    | %: rounded down    | unavailable: 1  | all
    Deployment  | Recreate      | 0                | all                | -               | all
    StatefulSet | RollingUpdate | 0                | 1                  | -               | from the partition on
    StatefulSet | OnDelete      | 0                | 1 (by hand)        | -               | all

    A StatefulSet's maxUnavailable is behind a feature gate that is off, so one at a time is what can be relied on.
    """
    rolling = strategy.get("rollingUpdate") or {}
    if kind == "StatefulSet":
        return Pace(max(0, replicas - int(rolling.get("partition") or 0)), 0, 1, "one pod at a time")
    if strategy.get("type") == "Recreate":
        return Pace(replicas, 0, replicas, "Recreate")
    asked = {name: rolling.get(name, _DEFAULT) for name in ("maxSurge", "maxUnavailable")}
    surge = _scaled(asked["maxSurge"], replicas, math.ceil)
    unavailable = min(replicas, _scaled(asked["maxUnavailable"], replicas, math.floor))
    if surge == 0 and unavailable == 0:
        unavailable = 1
    said = [_said(name, asked[name], count) for name, count in zip(asked, (surge, unavailable), strict=True)]
    return Pace(replicas, surge, unavailable, " and ".join(said))


def _said(name: str, value: object, count: int) -> str:
    return f"{name} {value}" if value == count else f"{name} {value} (= {count})"


def course(pace: Pace, old: int, seats: Callable[[int], int]) -> list[int]:
    """Return how many new pods run after each round of a rollout; it completes where that reaches all of them.

    Each round is what the controller does: it makes as many new pods as the surge allows beside the old ones that are
    left, those that find a seat run, and then it takes away as many old ones as may be unavailable.

    :param old: How many old pods the controller counts.
    :param seats: How many new pods can run once so many old ones are gone.
    """
    new, left, rounds = 0, old, []
    while new < pace.replicas:
        wanted = min(pace.replicas, pace.replicas + pace.surge - left)
        placed = max(new, min(wanted, seats(old - left)))
        staying = min(left, max(0, pace.replicas - pace.unavailable - placed))
        if (placed, staying) == (new, left):
            break
        if placed > new:
            rounds.append(placed)
        new, left = placed, staying
    return rounds or [0]


def rounds(pace: Pace) -> int:
    """Return after how many pods' starts, one after the other, a rollout is done that always finds room."""
    return len(course(pace, pace.replicas, lambda _: pace.replicas))


def _scaled(value: object, replicas: int, rounded: Callable[[float], int]) -> int:
    """Return a number, or that share of *replicas*."""
    if isinstance(value, str) and value.endswith("%"):
        return rounded(int(value[:-1]) * replicas / 100)
    return int(str(value))
