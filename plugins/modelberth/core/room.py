"""How many new pods a rollout finds room for: seats, on nodes and in quotas. Pure.

The new pods are all alike, so room is a number of seats. How many seats the old pods leave depends on which of them
Kubernetes takes away first, so it is counted twice: with the least helpful order, which *fits* must stand, and with
the most helpful, which *does not fit* must not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelberth.core.pace import Pace, course
from modelberth.core.placement import Node, Pod, Wants, closed_by, keeps_apart, objection, seats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modelberth.core.amounts import Amounts


@dataclass(frozen=True, slots=True)
class Quota:
    """What pods may have together and have: a ResourceQuota, or a claim that only one pod may use.

    :param scoped: It counts only some pods, and which is not judged.
    """

    name: str
    hard: Amounts
    used: Amounts
    scoped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is known of a rollout and of the cluster it is to happen in.

    :param kubectl: The beginning of the line that patches the workload; empty where its strategy cannot be another.
    :param wants: What each new pod asks of a node; *usage* what a quota counts for it.
    :param old: The workload's pods that the rollout replaces.
    :param others: All other pods that have not ended; those of no node wait for one.
    :param nodes: None where they cannot be listed.
    :param refusals: Why the API server will not even accept a new pod.
    :param less: Why there may be less room than can be seen.
    :param more: Why there may be more.
    """

    pace: Pace
    kubectl: str
    wants: Wants
    usage: Amounts = field(default_factory=dict)
    old: tuple[Pod, ...] = ()
    others: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] | None = ()
    quotas: tuple[Quota, ...] = ()
    refusals: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """How many new pods can run at once.

    :param now: Beside all old pods.
    :param empty: With no old pod there.
    :param yielding: How many old pods each surely leave a seat, whatever else happens.
    :param single: No old pod leaves more than one.
    :param idle: How many old pods leave none, and go before all others.
    """

    now: int
    empty: int
    yielding: int
    single: bool
    idle: int = 0

    def at_least(self, gone: int, old: int) -> int:
        """Return the seats when *gone* of *old* pods went, first those that leave none."""
        return self.empty if gone >= old else self.now + max(0, gone - (old - self.yielding))

    def at_most(self, gone: int) -> int:
        """Return the seats when *gone* old pods went, first those that leave most."""
        if gone <= self.idle:
            return self.now
        return min(self.empty, self.now + gone - self.idle) if self.single else self.empty


def completes(pace: Pace, old: int, rooms: Sequence[Room], *, most: bool) -> bool:
    """Return whether a rollout in place of *old* pods gets to its end, by one way of counting or the other."""
    return course(pace, old, counting(pace, old, rooms, most=most))[-1] >= pace.replicas


def counting(pace: Pace, old: int, rooms: Sequence[Room], *, most: bool) -> Callable[[int], int]:
    """Return how many new pods all of *rooms* have seats for, once so many of *old* are gone."""

    def count(gone: int) -> int:
        each = (room.at_most(gone) if most else room.at_least(gone, old) for room in rooms)
        return min(each, default=pace.replicas)

    return count


def node_room(nodes: Sequence[Node], asked: Question) -> Room:
    """Return the room that *nodes* have for new pods."""
    wants, old = asked.wants, asked.old
    closed = closed_by(nodes, asked.others, wants)
    open_ = [node for node in nodes if objection(node, wants) is None and node.name not in closed]
    own = keeps_apart(wants, wants)
    there = by_node([*asked.others, *old])
    sound = {node.name for node in open_ if not _overbooked(node, there[node.name], wants)}
    labels = {node.name: node.labels for node in nodes}
    return Room(
        now=_seats(open_, there, closed_by(nodes, old, wants), wants),
        empty=_seats(open_, by_node(asked.others), set(), wants),
        yielding=sum(pod.node in sound and _yields(pod, asked, labels, own) for pod in old),
        single=all(
            _at_most(pod.wants.requests, wants.requests) and keeps_apart(wants, pod.wants) <= own for pod in old
        ),
        idle=_idle(asked),
    )


def _idle(asked: Question) -> int:
    """Return how many old pods have no node and are taken away first: that is so while all that have one are ready."""
    seated = [pod for pod in asked.old if pod.node]
    total = max(asked.pace.replicas, len(asked.old))
    return total - len(seated) if all(pod.ready for pod in seated) else 0


def _seats(nodes: Sequence[Node], there: Mapping[str, list[Pod]], closed: set[str], wants: Wants) -> int:
    """Return how many new pods run on those of *nodes* that are not *closed*, beside the pods *there*."""
    counts = [(node, seats(node, there[node.name], wants)[0]) for node in nodes if node.name not in closed]
    topology = _coarsest(nodes, keeps_apart(wants, wants))
    if topology is None:
        return sum(count for _, count in counts)
    places: dict[str, int] = {}
    alone = 0
    for node, count in counts:
        if topology in node.labels:
            places[node.labels[topology]] = max(places.get(node.labels[topology], 0), min(1, count))
        else:
            alone += count
    return alone + sum(places.values())


def _coarsest(nodes: Sequence[Node], topologies: Iterable[str]) -> str | None:
    """Return the label with the fewest values: who is apart by zone is apart by host as well."""
    return min(sorted(topologies), key=lambda key: len({node.labels.get(key) for node in nodes}), default=None)


def _yields(pod: Pod, asked: Question, labels: Mapping[str, Mapping[str, str]], own: set[str]) -> bool:
    """Return whether a new pod can surely sit where *pod* sits, once that is gone.

    :param labels: Those of all nodes, by name.
    :param own: By which labels the new pods have to be apart from each other.
    """
    wants, here = asked.wants, labels[pod.node]
    apart = keeps_apart(wants, pod.wants)
    alone = not any(
        key in here
        and other is not pod
        and labels.get(other.node, {}).get(key) == here[key]
        and key in keeps_apart(wants, other.wants)
        for key in apart
        for other in asked.old
    )
    leaves_enough = _at_most(wants.requests, pod.wants.requests) and set(wants.ports) <= set(pod.wants.ports)
    return leaves_enough and own <= apart and alone


def _overbooked(node: Node, there: Sequence[Pod], wants: Wants) -> bool:
    """Return whether *node* has less than its pods take, as when a device failed: what one leaves is not to be had."""
    taken = {name: sum(pod.wants.requests.get(name, 0) for pod in there) for name in wants.requests}
    return not _at_most({**taken, "pods": len(there)}, node.allocatable)


def quota_room(quota: Quota, asked: Question) -> Room:
    """Return the room that *quota* leaves for new pods."""
    counted = {name: each for name, each in asked.usage.items() if each > 0 and name in quota.hard}
    free = {name: quota.hard[name] - quota.used.get(name, 0) for name in counted}
    freed = {name: free[name] + sum(pod.usage.get(name, 0) for pod in asked.old) for name in counted}
    return Room(
        now=_fold(free, counted, asked.pace),
        empty=_fold(freed, counted, asked.pace),
        yielding=sum(_at_most(counted, pod.usage) for pod in asked.old) if min(free.values(), default=0) >= 0 else 0,
        single=all(pod.usage.get(name, 0) <= each for pod in asked.old for name, each in counted.items()),
    )


def _fold(free: Amounts, each: Amounts, pace: Pace) -> int:
    """Return how many pods *free* is enough for; more than can ever be asked for where nothing is counted."""
    enough = 2 * pace.replicas + pace.surge
    return min((max(0, free[name] // value) for name, value in each.items()), default=enough)


def _at_most(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return all(value <= other.get(name, 0) for name, value in one.items())


def by_node(pods: Iterable[Pod]) -> Mapping[str, list[Pod]]:
    """Return *pods* by the name of their node."""
    grouped: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        grouped[pod.node].append(pod)
    return grouped
