"""Whether a rollout finds room for its new pods: *fits*, *does not fit*, or *cannot know*. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelberth.core.placement import objection, seats
from modelberth.core.plan import CANNOT_KNOW, DOES_NOT_FIT, FITS, Capacity
from modelberth.core.room import by_node, completes, node_room, quota_room
from modelberth.core.shortage import advice, depends, has_room, named, no_seat, short_of_quota

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelberth.core.placement import Pod
    from modelberth.core.room import Question, Room


def judge(asked: Question) -> Capacity:
    """Return whether there is room for the rollout, and why.

    A pod is *refused* by LimitRanges or quotas; *least* and *most* are the two ways of counting.

    refused | quota: most | nodes: most  | nodes: least | doubts             | verdict
    --------+-------------+--------------+--------------+--------------------+-------------
    yes     | any         | any          | any          | any                | does not fit
    no      | no          | any          | any          | any                | does not fit
    no      | yes         | no           | (no)         | none of *more*     | does not fit
    no      | yes         | no           | (no)         | some of *more*     | cannot know
    no      | yes         | not listed   | not listed   | any                | cannot know
    no      | yes         | yes          | no           | any                | cannot know
    no      | yes         | yes          | yes          | some of *less*     | cannot know
    no      | yes         | yes          | yes          | none of *less*     | fits
    """
    if asked.refusals:
        return Capacity(DOES_NOT_FIT, asked.refusals)
    total = max(asked.pace.replicas, len(asked.old))
    quotas = [quota_room(quota, asked) for quota in asked.quotas if not quota.scoped]
    if not completes(asked.pace, total, quotas, most=True):
        return Capacity(DOES_NOT_FIT, (short_of_quota(asked, total), *advice(asked, quotas)))
    if asked.nodes is None:
        return Capacity(CANNOT_KNOW, (*asked.less, *asked.more))
    rooms = [*quotas, node_room(asked.nodes, asked)]
    if not completes(asked.pace, total, rooms, most=True):
        if more := [*asked.more, *_may_go(asked, quotas, total)]:
            return Capacity(CANNOT_KNOW, (no_seat(asked, rooms, total), *more))
        return Capacity(DOES_NOT_FIT, (no_seat(asked, rooms, total), *advice(asked, rooms)))
    if not completes(asked.pace, total, rooms, most=False):
        return Capacity(CANNOT_KNOW, (depends(asked),))
    if less := [*asked.less, *_waiting(asked), *_scoped(asked, total), *_rivals(asked, rooms[-1])]:
        return Capacity(CANNOT_KNOW, tuple(less))
    return Capacity(FITS, (has_room(asked, rooms),))


def _may_go(asked: Question, quotas: Sequence[Room], old: int) -> list[str]:
    """Return which pods would make enough room by leaving: those that are ending, and those that may be pushed out."""
    assert asked.nodes is not None  # noqa: S101  (judge asks only then)
    nodes = asked.nodes
    kinds: dict[str, Callable[[Pod], bool]] = {
        "is ending, and then there may be room": lambda pod: pod.ending,
        "has a lower priority, and Kubernetes may push it out to make room": lambda pod: (
            pod.wants.priority < asked.wants.priority
        ),
    }
    found = []
    for text, goes in kinds.items():
        going = [pod for pod in asked.others if pod.node and goes(pod)]
        without = replace(asked, others=tuple(pod for pod in asked.others if pod not in going))
        if going and completes(asked.pace, old, [*quotas, node_room(nodes, without)], most=True):
            found.append(f"{named(going)} {text}.")
    return found


def _waiting(asked: Question) -> list[str]:
    """Return which of its own pods have no node though there is room: what they wait for is not seen here."""
    waiting = [pod for pod in asked.old if not pod.node]
    return [f"{named(waiting)} of its own waits for a node, and why is not seen here."] if waiting else []


def _scoped(asked: Question, old: int) -> list[str]:
    """Return which quotas that count only some pods would be in the way if they counted these."""
    return [
        f"{quota.name} counts only pods of its scopes; if these are among them, it is used up."
        for quota in asked.quotas
        if quota.scoped and not completes(asked.pace, old, [quota_room(quota, asked)], most=False)
    ]


def _rivals(asked: Question, room: Room) -> list[str]:
    """Return which pods wait for a node as well and could take the place that an old pod leaves, where that matters."""
    if room.now >= asked.pace.replicas:
        return []
    nodes = {node.name: node for node in asked.nodes or ()}
    running = by_node([*asked.others, *asked.old])

    def could_take(rival: Pod, left: Pod) -> bool:
        node, there = nodes.get(left.node), [pod for pod in running[left.node] if pod is not left]
        return node is not None and objection(node, rival.wants) is None and seats(node, there, rival.wants)[0] > 0

    waiting = [pod for pod in asked.others if not pod.node and pod.wants.priority >= asked.wants.priority]
    rivals = [rival for rival in waiting if any(could_take(rival, left) for left in asked.old)]
    return [f"{named(rivals)} waits for a node as well and may take what an old pod leaves."] if rivals else []
