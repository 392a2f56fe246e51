"""Whether a rollout finds room: a row for each way it can go, and a rollout played for random clusters."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelberth.core.capacity import judge
from modelberth.core.pace import Pace, pace_of
from modelberth.core.placement import Apart, Node, NodeTerm, Pod, Port, Requirement, Taint, Toleration, Wants, seats
from modelberth.core.room import Question, Quota

FITS, NOT, UNKNOWN = "fits", "does not fit", "cannot know"

GPU = Wants(labels={"app": "llm", "hash": "new"}, requests={"cpu": 1000, "gpu": 1})
OLD = replace(GPU, labels={"app": "llm", "hash": "old"})
MINE = (Requirement("app", "In", ("llm",)),)
APART = (Apart("host", MINE, None),)
ZONES = (Apart("zone", MINE, None),)
SURGE, IN_PLACE, BOTH = (1, 0), (0, 1), (1, 1)


def node(name, gpus=1, **changes):
    labels = {"host": name, "zone": changes.pop("zone", name)}
    return Node(name=name, allocatable={"cpu": 8000, "gpu": gpus, "pods": 20}, labels=labels, **changes)


def old(*at, **wants):
    return tuple(
        Pod(name=f"llm-{index}", node=name, wants=replace(OLD, **wants), usage={"pods": 1, "requests.gpu": 1})
        for index, name in enumerate(at)
    )


def other(at, gpus=1, **changes):
    priority = changes.pop("priority", 0)
    return Pod(name=f"x/{at or 'waiting'}", node=at, wants=Wants(requests={"gpu": gpus}, priority=priority), **changes)


def ask(strategy=SURGE, at=("a",), nodes=(), wants=GPU, **changes):
    """Return a question about a workload whose pods run *at* these nodes."""
    changes.setdefault("old", old(*at))
    usage = {"pods": 1, "requests.gpu": 1}
    said = f"maxSurge {strategy[0]} and maxUnavailable {strategy[1]}"
    kubectl = "kubectl --namespace s patch deployment llm"
    whole = {"pace": Pace(len(at), *strategy, said), "kubectl": kubectl, "wants": wants, "usage": usage, "nodes": nodes}
    return Question(**whole | changes)


FULL = (node("a"), node("b"))
SPARE = (*FULL, node("c"))
TAINTED = (*FULL, node("c", taints=(Taint("team", "x", "NoSchedule"),)))
QUOTA = Quota("ResourceQuota gpus", {"requests.gpu": 2}, {"requests.gpu": 2})

CASES = {
    # the famous deadlock, and what it is not
    "the surge finds no GPU": (ask(SURGE, "ab", FULL), NOT),
    "the surge finds a GPU": (ask(SURGE, "ab", SPARE), FITS),
    "one at a time needs no more": (ask(IN_PLACE, "ab", FULL), FITS),
    "a surge that may also take one away": (ask(BOTH, "ab", FULL), FITS),
    "all at once in their own places": (ask((0, 2), "ab", FULL), FITS),
    "one replica with the default strategy": (ask(SURGE, "a", (node("a"),)), NOT),
    "two GPUs on one node": (ask(SURGE, "a", (node("a", 2),)), FITS),
    "enough GPUs, but never on one node": (
        ask(SURGE, "a", (node("a"), node("b")), replace(GPU, requests={"gpu": 2})),
        NOT,
    ),
    "a surge needs a seat once, not for each pod": (ask(SURGE, "aab", (node("a", 2), node("b", 2))), FITS),
    "a large surge is content with one seat": (ask((3, 0), "aab", (node("a", 2), node("b", 2))), FITS),
    # what nodes say
    "the only other node is tainted": (ask(SURGE, "ab", TAINTED), NOT),
    "the taint is tolerated": (
        ask(SURGE, "ab", TAINTED, replace(GPU, tolerations=(Toleration("team", "Exists"),))),
        FITS,
    ),
    "the only other node is cordoned": (ask(SURGE, "ab", (*FULL, node("c", unschedulable=True))), NOT),
    "the only other node is not ready": (ask(SURGE, "ab", (*FULL, node("c", ready=False))), NOT),
    "another selector": (ask(SURGE, "ab", SPARE, replace(GPU, selector={"host": "a"})), NOT),
    "a selector of the free node": (ask(SURGE, "ab", SPARE, replace(GPU, selector={"host": "c"})), NOT),
    "an affinity to the free node alone": (
        ask(IN_PLACE, "ab", SPARE, replace(GPU, affinity=(NodeTerm((Requirement("host", "In", ("c",)),)),))),
        NOT,
    ),
    "its volume is not reached from the free node": (
        ask(SURGE, "ab", SPARE, replace(GPU, volumes=((NodeTerm((Requirement("host", "In", ("a", "b")),)),),))),
        NOT,
    ),
    "no nodes at all": (ask(SURGE, "a", ()), NOT),
    "pods that ask for nothing fill a node as well": (
        ask(SURGE, "a", (replace(node("a"), allocatable={"pods": 1}),), Wants(), old=old("a", requests={})),
        NOT,
    ),
    "the port of the node is taken": (
        ask(SURGE, "a", (node("a", 9),), replace(GPU, ports=(Port(80),)), old=old("a", ports=(Port(80),))),
        NOT,
    ),
    "the port is left by the old pod": (
        ask(IN_PLACE, "a", (node("a", 9),), replace(GPU, ports=(Port(80),)), old=old("a", ports=(Port(80),))),
        FITS,
    ),
    # what other pods take
    "others took the free GPU": (ask(SURGE, "ab", SPARE, others=(other("c"),)), NOT),
    "one of theirs is ending": (ask(SURGE, "ab", SPARE, others=(other("c", ending=True),)), UNKNOWN),
    "one of theirs may be pushed out": (ask(SURGE, "ab", SPARE, others=(other("c", priority=-1),)), UNKNOWN),
    "one that ends elsewhere does not help": (
        ask(SURGE, "ab", TAINTED, others=(other("c", ending=True),)),
        NOT,
    ),
    "another waits for the GPU that an old pod leaves": (ask(IN_PLACE, "ab", FULL, others=(other(""),)), UNKNOWN),
    "another waits for more than an old pod leaves": (ask(IN_PLACE, "ab", FULL, others=(other("", 2),)), FITS),
    "another of lower priority waits": (ask(IN_PLACE, "ab", FULL, others=(other("", priority=-1),)), FITS),
    "another waits, but all new pods fit beside": (
        ask(SURGE, "a", (node("a"), node("b", 5)), others=(other(""),)),
        FITS,
    ),
    # what its own pods are
    "an old pod's node is cordoned since": (ask(IN_PLACE, "ab", (node("a"), node("b", unschedulable=True))), NOT),
    "it depends on which old pod goes first": (
        ask(SURGE, "ab", (node("a"), node("b", unschedulable=True), node("c"))),
        UNKNOWN,
    ),
    "a device failed, and there is another": (ask(IN_PLACE, "aa", (node("a"), node("b"))), FITS),
    "a device failed, and there is none": (ask(IN_PLACE, "aa", (node("a"),)), NOT),
    "a device failed, and who goes first decides": (ask(IN_PLACE, "aab", (node("a"), node("b"), node("c"))), UNKNOWN),
    "all old pods' nodes are cordoned since": (
        ask(IN_PLACE, "ab", tuple(node(name, unschedulable=True) for name in "ab")),
        NOT,
    ),
    "old pods that took less leave too little": (
        ask(IN_PLACE, "a", (node("a", 2),), replace(GPU, requests={"gpu": 3})),
        NOT,
    ),
    "old pods that took more leave enough": (
        ask(IN_PLACE, "a", (node("a", 2),), old=old("a", requests=GPU.requests | {"gpu": 2})),
        FITS,
    ),
    "a pod of an earlier rollout waits": (ask(SURGE, "ab", FULL, pace=Pace(2, 1, 0, "x"), old=old("a", "b", "")), NOT),
    "one of its pods waits though there is room": (ask(IN_PLACE, ("a", ""), SPARE), UNKNOWN),
    "old pods that do not serve may go first": (
        ask(SURGE, "ab", FULL, old=(*old("", "a"), replace(old("b")[0], ready=False))),
        UNKNOWN,
    ),
    # anti-affinity to its own
    "one a host, and no host is free": (
        ask(SURGE, "ab", (node("a", 9), node("b", 9)), replace(GPU, apart=APART), old=old("a", "b", apart=APART)),
        NOT,
    ),
    "one a host, and a host is free": (
        ask(SURGE, "ab", SPARE, replace(GPU, apart=APART), old=old("a", "b", apart=APART)),
        FITS,
    ),
    "one a host, one at a time": (
        ask(IN_PLACE, "ab", (node("a", 9), node("b", 9)), replace(GPU, apart=APART), old=old("a", "b", apart=APART)),
        FITS,
    ),
    "one a zone, and a zone has two hosts": (
        ask(
            SURGE,
            "ab",
            (node("a", zone="1"), node("b", zone="2"), node("c", zone="2")),
            replace(GPU, apart=ZONES),
            old=old("a", "b", apart=ZONES),
        ),
        NOT,
    ),
    "apart from pods of the same template only": (
        ask(
            SURGE,
            "ab",
            (node("a", 2), node("b", 2)),
            replace(GPU, apart=(Apart("host", (Requirement("hash", "In", ("new",)),), None),)),
        ),
        FITS,
    ),
    "others keep it away": (
        ask(
            SURGE,
            "ab",
            SPARE,
            others=(Pod(name="x/shy", node="c", wants=Wants(apart=APART)),),
        ),
        NOT,
    ),
    # quotas and refusals
    "the quota is used up": (ask(SURGE, "ab", SPARE, quotas=(QUOTA,)), NOT),
    "the quota is enough one at a time": (ask(IN_PLACE, "ab", FULL, quotas=(QUOTA,)), FITS),
    "the quota has one left": (ask(SURGE, "ab", SPARE, quotas=(replace(QUOTA, hard={"requests.gpu": 3}),)), FITS),
    "the quota is of something else": (ask(SURGE, "ab", SPARE, quotas=(Quota("q", {"services": 0}, {}),)), FITS),
    "the quota counts pods": (ask(SURGE, "ab", SPARE, quotas=(Quota("q", {"pods": 2}, {"pods": 2}),)), NOT),
    "the quota counts only some pods": (ask(SURGE, "ab", SPARE, quotas=(replace(QUOTA, scoped=True),)), UNKNOWN),
    "a quota of some pods has enough": (
        ask(SURGE, "ab", SPARE, quotas=(replace(QUOTA, scoped=True, hard={"requests.gpu": 3}),)),
        FITS,
    ),
    "two quotas, one used up": (
        ask(SURGE, "ab", SPARE, quotas=(replace(QUOTA, hard={"requests.gpu": 9}), QUOTA)),
        NOT,
    ),
    "the quota was lowered below what runs": (
        ask(IN_PLACE, "ab", FULL, quotas=(replace(QUOTA, hard={"requests.gpu": 1}),)),
        NOT,
    ),
    "an autoscaler raises no quota": (ask(SURGE, "ab", SPARE, quotas=(QUOTA,), more=("it scales",)), NOT),
    "pods are refused": (ask(SURGE, "ab", SPARE, refusals=("LimitRange says no",)), NOT),
    # what is not known
    "an autoscaler may add a node": (ask(SURGE, "ab", FULL, more=("it scales",)), UNKNOWN),
    "an autoscaler does not matter where there is room": (ask(SURGE, "ab", SPARE, more=("it scales",)), FITS),
    "a group of nodes was scaled to none": (ask(SURGE, "a", (), more=("it scales",)), UNKNOWN),
    "devices are claimed": (ask(SURGE, "ab", SPARE, less=("DRA",)), UNKNOWN),
    "devices are claimed where there is no room anyway": (ask(SURGE, "ab", FULL, less=("DRA",)), NOT),
    "nodes may not be listed": (ask(SURGE, "ab", None, less=("no right",)), UNKNOWN),
    "nodes may not be listed, and the quota is used up": (ask(SURGE, "ab", None, quotas=(QUOTA,)), NOT),
    "no replicas": (ask(SURGE, "", FULL), FITS),
    # other ways of replacing
    "Recreate, in their own places": (ask((0, 2), "ab", FULL), FITS),
    "Recreate, on nodes that are gone": (ask((0, 2), "ab", (node("a"),)), NOT),
    "a StatefulSet, one at a time": (ask(IN_PLACE, "ab", FULL, pace=pace_of("StatefulSet", {}, 2), kubectl=""), FITS),
}


@pytest.mark.parametrize(("asked", "verdict"), CASES.values(), ids=CASES)
def test_room_is_judged(asked, verdict):
    found = judge(asked)
    assert found.verdict == verdict, found.reasons
    assert found.reasons


def test_the_deadlock_is_said_with_the_line_that_avoids_it_and_its_cost():
    reasons = " ".join(judge(ask(SURGE, "ab", TAINTED)).reasons)
    assert "with maxSurge 1 and maxUnavailable 0, a new pod must run beside all 2 old ones" in reasons
    assert "no new pod finds room: each wants cpu 1, gpu 1" in reasons
    assert "nodes: 2 lacking gpu, 1 with taint team=x:NoSchedule, not tolerated" in reasons
    assert "(1 of 2 pods serve meanwhile), apply: kubectl --namespace s patch deployment llm --patch '" in reasons
    assert '{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":0,"maxUnavailable":1}}}}' in reasons


def test_the_one_pod_of_a_workload_does_not_serve_meanwhile():
    assert "nothing serves meanwhile" in " ".join(judge(ask(SURGE, "a", (node("a"),))).reasons)


def test_another_strategy_is_not_advised_where_it_does_not_help():
    everything_is_closed = tuple(node(name, unschedulable=True) for name in "ab")
    reasons = " ".join(judge(ask(SURGE, "ab", everything_is_closed)).reasons)
    assert "kubectl" not in reasons
    assert "nodes: 2 cordoned" in reasons


def test_a_stateful_set_has_no_other_strategy_to_advise():
    quota = replace(QUOTA, hard={"requests.gpu": 1})
    asked = ask(IN_PLACE, "ab", FULL, pace=pace_of("StatefulSet", {}, 2), kubectl="", quotas=(quota,))
    assert "kubectl" not in " ".join(judge(asked).reasons)


def test_a_quota_is_said_with_its_numbers():
    reasons = " ".join(judge(ask(SURGE, "ab", SPARE, quotas=(QUOTA,))).reasons)
    assert "ResourceQuota gpus (requests.gpu: 2 of 2 used, a pod takes 1)" in reasons


def test_who_would_have_to_go_is_named():
    ending = tuple(replace(other("c", ending=True), name=f"x/{index}") for index in range(5))
    reasons = " ".join(judge(ask(SURGE, "ab", (*FULL, node("c", 5)), others=ending)).reasons)
    assert "each of the pods x/0, x/1, x/2 and 2 more is ending" in reasons


# --- what is judged, against a rollout that is played -----------------------------------------------------------------


class Played:
    """A rollout as the controllers and the scheduler do it, choosing at random wherever they are free to."""

    def __init__(self, asked, seed):
        self.asked, self.chance = asked, random.Random(seed)
        self.left, self.new = list(asked.old), []

    def completes(self):
        pace, replicas = self.asked.pace, self.asked.pace.replicas
        while len(self.new) < replicas:
            before = len(self.left), len(self.new)
            wanted = min(replicas, replicas + pace.surge - len(self.left)) - len(self.new)
            for _ in range(wanted):
                self.place_one()
            going = len(self.left) - max(0, replicas - pace.unavailable - len(self.new))
            for _ in range(going):
                self.left.remove(self.chance.choice(self.left))
            if before == (len(self.left), len(self.new)):
                return False
        return True

    def place_one(self):
        there = [*self.asked.others, *self.left, *self.new]
        wants = self.asked.wants
        labels = {node.name: node.labels for node in self.asked.nodes}
        closed = {
            (term.topology, labels[pod.node][term.topology])
            for pod in there
            for term in wants.apart
            if term.concerns(pod.wants)
        }
        for quota in self.asked.quotas:
            if (
                quota.used["requests.gpu"] - len(self.asked.old) + len(self.left) + len(self.new)
                >= quota.hard["requests.gpu"]
            ):
                return
        free = [
            node
            for node in self.asked.nodes
            if not node.unschedulable
            and not closed & set(node.labels.items())
            and seats(node, [pod for pod in there if pod.node == node.name], wants)[0]
        ]
        if free:
            self.new.append(Pod(name="new", node=self.chance.choice(free).name, wants=wants))


@st.composite
def questions(draw):
    names = "abcd"[: draw(st.integers(1, 4))]
    nodes = tuple(
        node(
            name,
            draw(st.integers(0, 3)),
            unschedulable=draw(st.booleans()) and draw(st.booleans()),
            zone=draw(st.sampled_from("12")),
        )
        for name in names
    )
    apart = draw(st.sampled_from([(), APART, ZONES]))
    each = {"gpu": draw(st.integers(1, 2)), "cpu": draw(st.sampled_from([0, 1000, 5000]))}
    before = {"gpu": draw(st.sampled_from([each["gpu"], 1, 2])), "cpu": draw(st.sampled_from([each["cpu"], 1000]))}
    at = draw(
        st.lists(
            st.sampled_from(names[:2] if draw(st.booleans()) else names), min_size=1, max_size=4, unique=apart == APART
        )
    )
    surge, unavailable = draw(st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1)]))
    replicas = len(at)
    used = draw(st.integers(replicas, replicas + 2))
    quota = Quota("q", {"requests.gpu": draw(st.integers(1, 6))}, {"requests.gpu": used})
    return Question(
        pace=Pace(replicas, surge, min(unavailable, replicas), "x"),
        kubectl="kubectl",
        wants=replace(GPU, requests=each, apart=apart),
        usage={"requests.gpu": 1},
        old=tuple(replace(pod, usage={"requests.gpu": 1}) for pod in old(*at, requests=before, apart=apart)),
        others=tuple(other(name) for name in draw(st.lists(st.sampled_from(names), max_size=2))),
        nodes=nodes,
        quotas=(quota,) if draw(st.booleans()) else (),
    )


@settings(max_examples=300, deadline=None)
@given(questions(), st.integers())
def test_what_fits_can_be_played_to_its_end_and_what_does_not_never_can(asked, seed):
    verdict = judge(asked).verdict
    for turn in range(5):
        completes = Played(asked, seed + turn).completes()
        assert completes or verdict != FITS
        assert not completes or verdict != NOT
