"""Whether what came first stays well while it is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Watched:
    """One pod of what came first, as it is now.

    :param restarts: How often its containers were started again, all together.
    """

    name: str
    uid: str
    ready: bool
    restarts: int


def problems(before: Mapping[str, int], now: Iterable[Watched]) -> list[str]:
    """Return in what the pods *now* are not as well as when the soak began, a sentence each.

    in *before* | ready | restarts more than before | problem
    ------------+-------+---------------------------+----------------------------------------------------
    yes         | yes   | no                        | none
    yes         | no    | any                       | it was ready and is not
    any         | any   | yes                       | it crashed, though it may have come up since
    no          | no    | no                        | none: it was scaled up or moved, and has time
    none there  | -     | -                         | none: others have taken their place, and are asked
    no pod at all is ready                          | nothing is watched

    :param before: The restarts of each pod when the soak began, by its uid.
    """
    found, pods = [], list(now)
    for pod in pods:
        if pod.restarts > before.get(pod.uid, 0):
            found.append(f"pod {pod.name} was started again")
        elif pod.uid in before and not pod.ready:
            found.append(f"pod {pod.name} is not ready any more")
    if not any(pod.ready for pod in pods):
        found.append("no new pod is ready")
    return found
