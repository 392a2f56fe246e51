"""How long a rollout may take, and whether Kubernetes is as patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CUSTOMARY = 600
"""Seconds: what Kubernetes itself gives a Deployment that says nothing."""

_TO_START = 60
"""Seconds, each pod: image, volume, the server's own imports; generous, since being put back for nothing costs more."""

_SLACK = 2
"""How much slower a server may load a model than verify read it: it maps files, converts, fills a device."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Something of a workload after which Kubernetes gives up on a pod.

    :param name: What it is and how it comes to *seconds*.
    :param remedy: What raises it.
    """

    name: str
    seconds: int
    remedy: str


@dataclass(frozen=True, slots=True)
class Load:
    """What a pod has to read before it is ready, and how fast it can be read there.

    :param bytes: Of all models that the rollout brings.
    :param rate: Bytes in a second, as the claim was read by verify; None where that is not known.
    :param rounds: How many pods are started one after the other.
    :param between: Seconds that pass for each of them beside its own start: the old one's end, its time of probation.
    """

    bytes: int
    rate: float | None
    rounds: int = 1
    between: int = 0

    @property
    def seconds(self) -> int:
        """How long loading takes, generously, in whole minutes; 0 where that is not known."""
        if not self.rate:
            return 0
        each = _TO_START + self.between + _SLACK * self.bytes / self.rate
        return 60 * math.ceil(self.rounds * each / 60)


def ready_within(asked: int | None, limits: Sequence[Limit], load: Load) -> int:
    """Return after how many seconds a rollout is put back.

    the service asks | Kubernetes gives up after | loading takes | ready_within
    -----------------+---------------------------+---------------+---------------------------------
    a                | any                       | any           | a
    nothing          | g                         | <= g          | g: as long as the workload waits
    nothing          | g                         | l > g         | l, which ``problems`` then says
    nothing          | never                     | <= 600        | 600
    nothing          | never                     | l > 600       | l
    """
    if asked is not None:
        return asked
    own = min((limit.seconds for limit in limits), default=CUSTOMARY)
    return max(own, load.seconds)


def problems(limits: Sequence[Limit], within: int, why: str) -> list[str]:
    """Return which of *limits* end before *within* seconds do, so that Kubernetes would give up on what is well.

    :param why: Where *within* comes from.
    """
    return [
        f"{limit.name} gives up after {limit.seconds} s, but a rollout may take {within} s ({why}): {limit.remedy}."
        for limit in limits
        if limit.seconds < within
    ]
