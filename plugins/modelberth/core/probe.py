"""What a probe pod is told to ask, and what it says about it: one text each, small enough for Kubernetes.

    {"scheme": "https", "confirm": {"level": "behaved", "port": 8000, ...}, "named": [{"path": ..., ...}],
     "pods": [{"name": "embedder-6d4f-x2", "address": "10.88.0.7"}]}

The pod judges what it is answered: answers are larger than a termination message, and it alone has the Secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core import canonical, strict
from modelberth.core.confirm import Confirm  # noqa: TC001  (strict asks for the fields' types)
from modelberth.core.reports import Named  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LISTED = 5
"""Problems that are told; of the others the number. A termination message has 4,096 bytes."""


@dataclass(frozen=True, slots=True)
class Serving:
    """One serving pod, and where it listens."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Order:
    """Which pods to ask, and what they have to show."""

    scheme: str
    confirm: Confirm
    named: tuple[Named, ...]
    pods: tuple[Serving, ...]

    def dump(self) -> str:
        """Return the order as one word of a command line."""
        return canonical.dump(strict.dump(self)).decode()


def parse(text: str) -> Order:
    """Return the order that *text* is.

    :raises ValueError: It is none.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("The order is nested too deeply.") from None
    return strict.load(Order, document, "order")


def told(problems: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return what the pod program says: how many pods it asked, and the first of their *problems*, by pod."""
    lines = [f"{pod}: {problem}" for pod, found in problems.items() for problem in found]
    return {"asked": len(problems), "problems": [line[:400] for line in lines[:_LISTED]], "problem_count": len(lines)}


def heard(result: Mapping[str, Any], pods: Iterable[Serving]) -> dict[str, list[str]]:
    """Return the problems by pod that *result*, of the pod program's, tells about *pods*.

    :raises ValueError: It does not tell about all of them.
    """
    found: dict[str, list[str]] = {pod.name: [] for pod in pods}
    if result.get("asked") != len(found):
        raise ValueError(f"it asked {result.get('asked')} of {len(found)} pods")
    listed = [str(line).partition(": ") for line in result.get("problems") or ()]
    for pod, _, problem in listed:
        found.setdefault(pod, []).append(problem)
    if more := int(result.get("problem_count", len(listed))) - len(listed):
        found[listed[-1][0]].append(f"and {more} problems more, of this and other pods")
    return found
