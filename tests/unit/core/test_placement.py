"""Where a pod may run: the scheduler's filters, a row each."""

import pytest

from modelberth.core.placement import (
    Apart,
    Node,
    NodeTerm,
    Pod,
    Port,
    Requirement,
    Taint,
    Toleration,
    Wants,
    closed_by,
    objection,
    seats,
)

GPU = Taint("nvidia.com/gpu", "present", "NoSchedule")


def node(name="a", **changes):
    return Node(**{"name": name, "allocatable": {"cpu": 4000, "pods": 10, "gpu": 2}, **changes})


def term(*labels, fields=()):
    return NodeTerm(tuple(labels), tuple(fields))


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        (Toleration("nvidia.com/gpu", "Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration("nvidia.com/gpu", "Equal", "present"), True),
        (Toleration("nvidia.com/gpu", "Equal", "present", "NoSchedule"), True),
        (Toleration("nvidia.com/gpu", "Exists", effect="NoExecute"), False),
        (Toleration("nvidia.com/gpu", "Equal", "absent"), False),
        (Toleration("nvidia.com/gpu"), False),
        (Toleration("other", "Exists"), False),
    ],
)
def test_a_toleration_covers_the_taint_that_it_names(toleration, covers):
    assert toleration.covers(GPU) is covers


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (Requirement("zone", "In", ("a", "b")), True),
        (Requirement("zone", "In", ("b",)), False),
        (Requirement("none", "In", ("b",)), False),
        (Requirement("zone", "NotIn", ("b",)), True),
        (Requirement("zone", "NotIn", ("a",)), False),
        (Requirement("none", "NotIn", ("a",)), True),
        (Requirement("zone", "Exists"), True),
        (Requirement("none", "Exists"), False),
        (Requirement("zone", "DoesNotExist"), False),
        (Requirement("none", "DoesNotExist"), True),
        (Requirement("memory", "Gt", ("40",)), True),
        (Requirement("memory", "Gt", ("80",)), False),
        (Requirement("memory", "Lt", ("81",)), True),
        (Requirement("zone", "Gt", ("1",)), False),
        (Requirement("none", "Lt", ("1",)), False),
        (Requirement("memory", "Lt", ()), False),
    ],
)
def test_an_expression_holds_as_kubernetes_reads_it(requirement, holds):
    assert requirement.holds({"zone": "a", "memory": "80"}) is holds


IN_A = Requirement("zone", "In", ("a",))
IN_B = Requirement("zone", "In", ("b",))


@pytest.mark.parametrize(
    ("changes", "wants", "said"),
    [
        ({}, Wants(), None),
        ({"ready": False}, Wants(), "not ready"),
        ({"unschedulable": True}, Wants(), "cordoned"),
        (
            {"unschedulable": True},
            Wants(tolerations=(Toleration("node.kubernetes.io/unschedulable", "Exists"),)),
            None,
        ),
        (
            {"taints": (GPU,)},
            Wants(),
            "with taint nvidia.com/gpu=present:NoSchedule, not tolerated",
        ),
        ({"taints": (GPU,)}, Wants(tolerations=(Toleration("nvidia.com/gpu", "Exists"),)), None),
        (
            {"taints": (Taint("x", "", "NoExecute"),)},
            Wants(),
            "with taint x:NoExecute, not tolerated",
        ),
        ({"taints": (Taint("x", "", "PreferNoSchedule"),)}, Wants(), None),
        ({"labels": {"zone": "a"}}, Wants(selector={"zone": "a"}), None),
        ({"labels": {"zone": "b"}}, Wants(selector={"zone": "a"}), "not of its nodeSelector or node affinity"),
        ({"labels": {"zone": "a"}}, Wants(affinity=(term(IN_B), term(IN_A))), None),
        ({"labels": {"zone": "b"}}, Wants(affinity=(term(IN_A),)), "not of its nodeSelector or node affinity"),
        ({}, Wants(affinity=(term(),)), "not of its nodeSelector or node affinity"),
        ({}, Wants(affinity=()), "not of its nodeSelector or node affinity"),
        ({}, Wants(affinity=(term(fields=[Requirement("metadata.name", "In", ("a",))]),)), None),
        ({"labels": {"zone": "b"}}, Wants(volumes=((term(IN_A),),)), "out of reach of its volume"),
        ({"labels": {"zone": "b"}}, Wants(volumes=((term(IN_A), term(IN_B)),)), None),
    ],
)
def test_a_node_takes_pods_or_says_why_not(changes, wants, said):
    assert objection(node(**changes), wants) == said


def pod(name="p", at="a", **wants):
    return Pod(name=name, node=at, wants=Wants(**wants))


@pytest.mark.parametrize(
    ("there", "wants", "count", "lacking"),
    [
        ([], Wants(), 10, []),
        ([], Wants(requests={"cpu": 1000}), 4, []),
        ([], Wants(requests={"cpu": 1000, "gpu": 1}), 2, []),
        ([], Wants(requests={"cpu": 1000, "gpu": 0}), 4, []),
        ([], Wants(requests={"cpu": 5000}), 0, ["cpu"]),
        ([], Wants(requests={"tpu": 1}), 0, ["tpu"]),
        ([pod(requests={"gpu": 1})], Wants(requests={"gpu": 1}), 1, []),
        ([pod(requests={"gpu": 2, "cpu": 4000})], Wants(requests={"gpu": 1, "cpu": 1}), 0, ["gpu", "cpu"]),
        ([pod(requests={"gpu": 9})], Wants(requests={"gpu": 1}), 0, ["gpu"]),
        ([pod(requests={"gpu": 9})], Wants(requests={"cpu": 1000}), 4, []),
        ([pod()] * 9, Wants(), 1, []),
        ([pod()] * 10, Wants(), 0, ["pods"]),
        ([], Wants(ports=(Port(80),)), 1, []),
        ([pod(ports=(Port(80),))], Wants(ports=(Port(80),)), 0, ["the host port"]),
        ([pod(ports=(Port(80, "UDP"),))], Wants(ports=(Port(80),)), 1, []),
        ([pod(ports=(Port(80, "TCP", "10.0.0.1"),))], Wants(ports=(Port(80, "TCP", "10.0.0.2"),)), 1, []),
        ([pod(ports=(Port(80, "TCP", "10.0.0.1"),))], Wants(ports=(Port(80),)), 0, ["the host port"]),
    ],
)
def test_a_node_has_seats_for_what_is_not_taken(there, wants, count, lacking):
    assert seats(node(), there, wants) == (count, lacking)


MINE = (Requirement("app", "In", ("llm",)),)
LLM = {"app": "llm"}


@pytest.mark.parametrize(
    ("running", "wants", "closed"),
    [
        (pod(labels=LLM), Wants(apart=(Apart("host", MINE, None),)), {"a"}),
        (pod(labels=LLM), Wants(apart=(Apart("zone", MINE, None),)), {"a", "b"}),
        (pod(labels={}), Wants(apart=(Apart("zone", MINE, None),)), set()),
        (pod(labels=LLM), Wants(apart=(Apart("unknown", MINE, None),)), set()),
        (pod(labels=LLM), Wants(apart=(Apart("host", None, None),)), set()),
        (pod(labels=LLM), Wants(apart=(Apart("host", (), None),)), {"a"}),
        (pod(labels=LLM, namespace="x"), Wants(apart=(Apart("host", MINE, frozenset(["y"])),)), set()),
        (pod(labels=LLM, namespace="y"), Wants(apart=(Apart("host", MINE, frozenset(["y"])),)), {"a"}),
        (pod(apart=(Apart("zone", MINE, None),)), Wants(labels=LLM), {"a", "b"}),
        (pod(at="", labels=LLM), Wants(apart=(Apart("host", MINE, None),)), set()),
    ],
)
def test_anti_affinity_closes_nodes_whoever_has_it(running, wants, closed):
    nodes = [
        node("a", labels={"host": "a", "zone": "1"}),
        node("b", labels={"host": "b", "zone": "1"}),
        node("c", labels={"host": "c", "zone": "2"}),
        node("d"),
    ]
    assert closed_by(nodes, [running], wants) == closed
