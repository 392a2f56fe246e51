"""What the API server makes of a pod, or why it does not accept it: LimitRanges, and quotas that want numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core import amounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modelberth.core.room import Quota

Document = dict[str, Any]

_EXPLICIT = {
    **dict.fromkeys(("cpu", "requests.cpu"), ("requests", "cpu")),
    **dict.fromkeys(("memory", "requests.memory"), ("requests", "memory")),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}
"""What every container must say for itself where a quota counts it."""


def with_defaults(spec: Document, ranges: Iterable[Document]) -> Document:
    """Return *spec* with what the namespace's LimitRanges give to containers that do not say it."""
    items = [item for one in ranges for item in one["spec"]["limits"] if item["type"] == "Container"]
    containers = {key: [_filled(one, items) for one in spec.get(key) or []] for key in ("containers", "initContainers")}
    return {**spec, **containers}


def _filled(container: Document, items: Iterable[Document]) -> Document:
    said = container.get("resources") or {}
    limits = dict(said.get("limits") or {})
    requests = {**limits, **(said.get("requests") or {})}
    for item in items:
        limits = {**(item.get("default") or {}), **limits}
        requests = {**(item.get("defaultRequest") or {}), **requests}
    return {**container, "resources": {**said, "requests": requests, "limits": limits}}


def refusals(spec: Document, ranges: Iterable[Document], quotas: Iterable[Quota]) -> list[str]:
    """Return why a pod of *spec*, which has its defaults, is not accepted, each a whole sentence."""
    found = [
        f"No pod of it would be accepted: LimitRange {one['metadata']['name']} has {problem}; change one of them."
        for one in ranges
        for item in one["spec"]["limits"]
        for problem in _out_of_range(spec, item)
    ]
    if not spec.get("resources"):
        found += [problem for quota in quotas if not quota.scoped for problem in _unsaid(spec, quota)]
    return found


def _out_of_range(spec: Document, item: Document) -> Iterator[str]:
    bare = {**spec, "overhead": None}
    if item["type"] == "Pod":
        yield from _outside("a pod", item, amounts.requests(bare), amounts.limits(bare))
    if item["type"] == "Container":
        for one in _all(spec):
            requests, limits = amounts.container_requests(one), amounts.container_limits(one)
            yield from _outside(f"container {one['name']}", item, amounts.whole(requests), amounts.whole(limits))


def _outside(what: str, item: Document, requests: Mapping[str, int], limits: Mapping[str, int]) -> Iterator[str]:
    """Say where requests and limits are not as a LimitRange's *item* asks.

    it has            | there must be | and
    ------------------+---------------+-------------------------------------
    min               | a request     | request and limit are at least that
    max               | a limit       | limit and request are at most that
    maxLimitRequestRatio | both       | limit / request is at most that
    """
    for name, least in amounts.listed(item.get("min")).items():
        if requests.get(name, -1) < least or limits.get(name, least) < least:
            yield f"min {item['min'][name]} {name}, and {what} has less or does not say"
    for name, most in amounts.listed(item.get("max")).items():
        if limits.get(name, most + 1) > most or requests.get(name, most) > most:
            yield f"max {item['max'][name]} {name}, and {what} has more or does not say"
    for name, text in (item.get("maxLimitRequestRatio") or {}).items():
        request, limit = requests.get(name, 0), limits.get(name, 0)
        if not request or not limit or limit > request * amounts.quantity(text):
            yield f"maxLimitRequestRatio {text} of {name}, and {what} has more or does not say"


def _unsaid(spec: Document, quota: Quota) -> Iterator[str]:
    for name in quota.hard.keys() & _EXPLICIT.keys():
        kind, resource = _EXPLICIT[name]
        of = amounts.container_requests if kind == "requests" else amounts.container_limits
        if silent := [one["name"] for one in _all(spec) if resource not in of(one)]:
            yield (
                f"No pod of it would be accepted: {quota.name} counts {name}, which container {', '.join(silent)} does "
                f"not say: give it resources.{kind}.{resource}."
            )


def _all(spec: Document) -> list[Document]:
    return [*spec["containers"], *(spec.get("initContainers") or [])]
