"""What is said about room for a rollout: what is lacking, and the lines that would make it fit. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from modelberth.core.pace import course
from modelberth.core.placement import closed_by, objection, seats
from modelberth.core.room import by_node, completes, counting, quota_room
from modelberth.core.units import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.pace import Pace
    from modelberth.core.placement import Pod, Wants
    from modelberth.core.room import Question, Room

_BYTES = ("memory", "ephemeral-storage")
_MOST_NAMED = 3


def named(pods: Sequence[Pod]) -> str:
    """Return *pods* as the subject of a sentence."""
    names = ", ".join(pod.name for pod in pods[:_MOST_NAMED])
    more = f" and {len(pods) - _MOST_NAMED} more" if len(pods) > _MOST_NAMED else ""
    return f"{'pod' if len(pods) == 1 else 'each of the pods'} {names}{more}"


def _each(wants: Wants) -> str:
    return ", ".join(_amount(name, value) for name, value in sorted(wants.requests.items()) if value) or "no requests"


def _amount(name: str, value: int) -> str:
    if name.removeprefix("requests.").removeprefix("limits.") == "cpu":
        return f"{name} {value / 1000:g}"
    return f"{name} {human(value) if name.rpartition('.')[2] in _BYTES else value}"


def _beside(pace: Pace) -> str:
    """Return what the strategy asks for before it has taken any old pod away."""
    if pace.unavailable == 0:
        return f"with {pace.said}, a new pod must run beside all {pace.replicas} old ones before the first of them goes"
    return f"with {pace.said}, {pace.replicas} pods are replaced"


def _reach(asked: Question, rooms: Sequence[Room], old: int) -> str:
    reached = course(asked.pace, old, counting(asked.pace, old, rooms, most=True))[-1]
    return f"only {reached} of {asked.pace.replicas} new pods would find room" if reached else "no new pod finds room"


def short_of_quota(asked: Question, old: int) -> str:
    """Return which quota is in the way, with its numbers."""
    for quota in asked.quotas:
        room = quota_room(quota, asked)
        if not quota.scoped and not completes(asked.pace, old, [room], most=True):
            tight = [
                f"{name}: {_value(name, quota.used.get(name, 0))} of {_value(name, quota.hard[name])} used, "
                f"a pod takes {_value(name, each)}"
                for name, each in asked.usage.items()
                if name in quota.hard and each > 0 and (quota.hard[name] - quota.used.get(name, 0)) // each <= room.now
            ]
            reach = _reach(asked, [room], old)
            return f"{_beside(asked.pace)}, and {reach}: {quota.name} ({'; '.join(tight)})."
    return f"{_beside(asked.pace)}, and {_reach(asked, [quota_room(one, asked) for one in asked.quotas], old)}."


def _value(name: str, value: int) -> str:
    return _amount(name, value).rpartition(f"{name} ")[2]


def no_seat(asked: Question, rooms: Sequence[Room], old: int) -> str:
    """Return what the nodes lack, as the scheduler would say it."""
    nodes = list(asked.nodes or ())
    there = by_node([*asked.others, *asked.old])
    closed = closed_by(nodes, [*asked.others, *asked.old], asked.wants)
    said: Counter[str] = Counter()
    for node in nodes:
        count, lacking = seats(node, there[node.name], asked.wants)
        reason = objection(node, asked.wants) or ("lacking " + " and ".join(lacking) if count == 0 else None)
        said[reason or ("closed by anti-affinity" if node.name in closed else "with room")] += 1
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(said.items())) or "none"
    return f"{_beside(asked.pace)}, and {_reach(asked, rooms, old)}: each wants {_each(asked.wants)}; nodes: {listed}."


def depends(asked: Question) -> str:
    """Return that it is left to Kubernetes whether there will be room."""
    return (
        f"{_beside(asked.pace)}; whether each new one finds room depends on which old ones Kubernetes takes away "
        "first, since not all of them leave a place where a new one may run."
    )


def has_room(asked: Question, rooms: Sequence[Room]) -> str:
    """Return that there is room, in words that stay the same while there is: they are part of a plan."""
    where = "can run beside the old ones" if all(room.now for room in rooms) else "take the places of old ones"
    return f"{_beside(asked.pace)}: there is room, new pods {where} (each wants {_each(asked.wants)})."


def advice(asked: Question, rooms: Sequence[Room]) -> list[str]:
    """Return the lines that would make it fit: another strategy where that is enough."""
    one_by_one = replace(asked.pace, surge=0, unavailable=1)
    if asked.kubectl and asked.pace.unavailable == 0 and completes(one_by_one, one_by_one.replicas, rooms, most=True):
        replicas = asked.pace.replicas
        cost = f"{replicas - 1} of {replicas} pods serve meanwhile" if replicas > 1 else "nothing serves meanwhile"
        patch = '{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":0,"maxUnavailable":1}}}}'
        return [
            f"To replace one pod at a time in its own place ({cost}), apply: {asked.kubectl} --patch '{patch}'",
            "Or make room for one pod more.",
        ]
    return ["Make room: free what other pods hold, raise what limits them, or add a node; then start a new release."]
