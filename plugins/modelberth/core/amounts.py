"""How much a pod asks for: Kubernetes' quantities, and its rule for adding up a pod's containers."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Amounts = dict[str, int]
"""By resource: ``cpu`` in thousandths, all else in whole units (bytes, pieces)."""

Document = dict[str, Any]
Exact = dict[str, Fraction]

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)")
_SCALE = {
    **{prefix: Fraction(1000) ** power for power, prefix in enumerate("num", start=-3)},
    **{prefix: Fraction(1000) ** power for power, prefix in enumerate("kMGTPE", start=1)},
    **{f"{prefix}i": Fraction(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)},
}
_POD_LEVEL = ("cpu", "memory")
_MILLI = ("cpu", "requests.cpu", "limits.cpu")


def quantity(text: object) -> Fraction:
    """Return the number that a Kubernetes quantity stands for: ``100m``, ``1.5``, ``16Gi``, ``1e3``.

    :raises ValueError: It is none.
    """
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"Not a Kubernetes quantity: {text!r}.")
    number, power, suffix = found.groups()
    if power:
        return Fraction(number) * Fraction(10) ** int(power)
    return Fraction(number) * _SCALE.get(suffix or "", Fraction(1))


def whole(exact: Mapping[str, Fraction]) -> Amounts:
    """Return *exact* as the scheduler counts: rounded up to whole units, cpu to thousandths."""
    return {name: math.ceil(value * (1000 if name in _MILLI else 1)) for name, value in exact.items()}


def listed(quantities: Mapping[str, object] | None) -> Amounts:
    """Return what a list of quantities says, such as a node's ``allocatable``."""
    return whole(_exact(quantities))


def requests(spec: Document) -> Amounts:
    """Return what a pod of *spec* asks of its node.

    A container that has a limit and no request asks for the limit; templates do not say so, pods do. The whole of it
    is what runs together, or what an init container takes with the sidecars before it, whichever is more.

    containers | sidecars    | init containers | pod-level | overhead | asks for
    -----------+-------------+-----------------+-----------+----------+------------------
    a          | -           | -               | -         | -        | a
    a          | s           | -               | -         | -        | a + s
    a          | -           | i               | -         | -        | max(a, i)
    a          | s, before i | i               | -         | -        | max(a + s, s + i)
    any        | any         | any             | p         | -        | p
    a          | -           | -               | -         | o        | a + o
    """
    total = _together(spec, container_requests)
    own = spec.get("resources") or {}
    total.update(_pod_level(_exact({**(own.get("limits") or {}), **(own.get("requests") or {})})))
    return whole(_sum(total, _exact(spec.get("overhead"))))


def limits(spec: Document) -> Amounts:
    """Return what a pod of *spec* may take at most; what no container limits is not in it."""
    total = _together(spec, container_limits)
    total.update(_pod_level(_exact((spec.get("resources") or {}).get("limits"))))
    overhead = {name: value for name, value in _exact(spec.get("overhead")).items() if total.get(name)}
    return whole(_sum(total, overhead))


def container_requests(container: Document) -> Exact:
    """Return what *container* requests, its limits where it requests nothing."""
    resources = container.get("resources") or {}
    return _exact({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def container_limits(container: Document) -> Exact:
    """Return what *container* is limited to."""
    return _exact((container.get("resources") or {}).get("limits"))


def _together(spec: Document, of: Any) -> Exact:
    running: Exact = {}
    for container in spec["containers"]:
        running = _sum(running, of(container))
    sidecars: Exact = {}
    starting: Exact = {}
    for container in spec.get("initContainers") or []:
        one = _sum(of(container), sidecars)
        if container.get("restartPolicy") == "Always":
            running, sidecars = _sum(running, of(container)), one
        starting = _most(starting, one)
    return _most(running, starting)


def _pod_level(exact: Exact) -> Exact:
    return {name: value for name, value in exact.items() if name in _POD_LEVEL or name.startswith("hugepages-")}


def _exact(quantities: Mapping[str, object] | None) -> Exact:
    return {name: quantity(text) for name, text in (quantities or {}).items()}


def _sum(one: Exact, other: Exact) -> Exact:
    return {name: one.get(name, Fraction(0)) + other.get(name, Fraction(0)) for name in _names(one, other)}


def _most(one: Exact, other: Exact) -> Exact:
    return {name: max(one.get(name, Fraction(0)), other.get(name, Fraction(0))) for name in _names(one, other)}


def _names(one: Exact, other: Exact) -> Iterable[str]:
    return {**one, **other}
