"""What decides about room, read from the JSON of pods, nodes, quotas and limits."""

import pytest

from modelberth.core.placement import Apart, NodeTerm, Port, Requirement, Taint, Toleration
from modelberth.core.room import Quota
from modelberth.kubernetes import doubts, limits, scheduling


def container(name="server", requests=None, most=None, **more):
    resources = {"requests": requests or {}, "limits": most or {}}
    return {"name": name, "resources": resources, **more}


def a_workload(kind="Deployment", **spec):
    template = {"metadata": {"labels": {"app": "llm"}}, "spec": {"containers": [container()], **spec}}
    selector = {"matchLabels": {"app": "llm"}}
    meta = {"name": "llm", "namespace": "s", "uid": "u"}
    return {"kind": kind, "metadata": meta, "spec": {"replicas": 1, "selector": selector, "template": template}}


def a_pod(name="p", phase="Running", **changes):
    spec = {"containers": [container(requests={"cpu": "1"})], "nodeName": "a", **changes.pop("spec", {})}
    return {"metadata": {"name": name, "namespace": "s", **changes}, "spec": spec, "status": {"phase": phase}}


def test_a_node_is_read_with_what_decides():
    found = scheduling.node(
        {
            "metadata": {"name": "a", "labels": {"zone": "1"}},
            "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {
                "allocatable": {"cpu": "1900m", "memory": "1Ki", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "Unknown"}],
            },
        }
    )
    assert found.allocatable == {"cpu": 1900, "memory": 1024, "pods": 110}
    assert (found.name, found.labels, found.unschedulable, found.ready) == ("a", {"zone": "1"}, True, False)
    assert found.taints == (Taint("k", "", "NoSchedule"),)


def test_a_pod_is_read_with_where_it_is_and_what_a_quota_counts_for_it():
    found = scheduling.pod(a_pod(spec={"containers": [container(requests={"nvidia.com/gpu": "1"}, most={"cpu": "2"})]}))
    assert (found.name, found.node, found.ending) == ("s/p", "a", False)
    assert found.wants.requests == {"cpu": 2000, "nvidia.com/gpu": 1}
    assert found.usage == {
        "pods": 1,
        "count/pods": 1,
        "cpu": 2000,
        "requests.cpu": 2000,
        "limits.cpu": 2000,
        "requests.nvidia.com/gpu": 1,
    }


def test_a_pod_that_is_deleted_is_ending():
    assert scheduling.pod(a_pod(deletionTimestamp="now")).ending


def terms(*keys):
    return {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in keys]}


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def test_what_a_pod_wants_is_read_from_its_spec():
    wants = scheduling.wants(
        {
            "containers": [container(ports=[{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}])],
            "nodeSelector": {"gpu": "a100"},
            "affinity": {"nodeAffinity": {REQUIRED: terms("x", "y")}},
            "tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoSchedule"}],
            "priority": 7,
        },
        {},
        "s",
    )
    assert wants.selector == {"gpu": "a100"}
    assert wants.affinity == tuple(NodeTerm((Requirement(key, "Exists"),)) for key in "xy")
    assert wants.tolerations == (Toleration(operator="Exists"), Toleration("k", "Equal", "v", "NoSchedule"))
    assert wants.ports == (Port(8081),)
    assert wants.priority == 7


def test_ports_of_a_pod_on_the_nodes_network_are_the_nodes():
    spec = {"containers": [container(ports=[{"containerPort": 80, "protocol": "UDP"}])], "hostNetwork": True}
    assert scheduling.wants(spec, {}, "s").ports == (Port(80, "UDP"),)


@pytest.mark.parametrize(
    ("term", "read"),
    [
        (
            {"labelSelector": {"matchLabels": {"app": "llm"}}},
            Apart("host", (Requirement("app", "In", ("llm",)),), frozenset(["s"])),
        ),
        ({"labelSelector": {}, "namespaces": ["x"]}, Apart("host", (), frozenset(["x"]))),
        ({"labelSelector": {}, "namespaceSelector": {}}, Apart("host", (), None)),
        ({}, Apart("host", None, frozenset(["s"]))),
        (
            {"labelSelector": {}, "matchLabelKeys": ["hash", "absent"]},
            Apart("host", (Requirement("hash", "In", ("1",)),), frozenset(["s"])),
        ),
        (
            {"labelSelector": {}, "mismatchLabelKeys": ["hash"]},
            Apart("host", (Requirement("hash", "NotIn", ("1",)),), frozenset(["s"])),
        ),
    ],
)
def test_anti_affinity_is_read_as_the_api_server_completes_it(term, read):
    spec = {"containers": [], "affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "host", **term}]}}}
    assert scheduling.wants(spec, {"hash": "1"}, "s").apart == (read,)


def test_pods_of_a_new_template_are_not_of_the_old_ones_hash():
    keys = {"topologyKey": "host", "labelSelector": {}, "matchLabelKeys": ["pod-template-hash"]}
    document = a_workload(affinity={"podAntiAffinity": {REQUIRED: [keys]}})
    wants = scheduling.new_wants(document, scheduling.new_spec(document, None))
    old = scheduling.pod(a_pod(labels={"app": "llm", "pod-template-hash": "abc"})).wants
    assert not wants.apart[0].concerns(old)
    assert wants.apart[0].concerns(wants)


def test_what_webhooks_and_classes_add_is_seen_at_a_live_pod():
    sidecar = container("proxy", requests={"cpu": "100m"})
    live = a_pod(
        spec={
            "containers": [container(requests={"cpu": "1"}), sidecar],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "overhead": {"cpu": "1"},
            "priority": 5,
            "affinity": {"nodeAffinity": {REQUIRED: terms("of the old hash")}},
        }
    )
    document = a_workload()
    wants = scheduling.new_wants(document, scheduling.new_spec(document, live))
    assert wants.requests == {"cpu": 2100}
    assert wants.tolerations == (Toleration("nvidia.com/gpu", "Exists"),)
    assert (wants.priority, wants.affinity) == (5, None)


def test_what_the_template_says_counts_where_the_live_pod_was_resized():
    document = a_workload(containers=[container(requests={"cpu": "4"})])
    live = a_pod(spec={"containers": [container(requests={"cpu": "1", "memory": "1"})]})
    assert scheduling.new_wants(document, scheduling.new_spec(document, live)).requests == {"cpu": 4000, "memory": 1}


def test_a_template_that_names_its_node_wants_no_other_even_cordoned():
    document = a_workload(nodeName="b")
    wants = scheduling.new_wants(document, scheduling.new_spec(document, a_pod()))
    assert wants.affinity == (NodeTerm(fields=(Requirement("metadata.name", "In", ("b",)),)),)
    assert wants.tolerations[0].covers(Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"))


def test_a_quota_is_read_with_what_is_used():
    document = {
        "metadata": {"name": "q"},
        "spec": {"hard": {"requests.cpu": "2", "pods": "4"}},
        "status": {"used": {"requests.cpu": "1500m", "pods": "3"}},
    }
    assert scheduling.quota(document) == Quota(
        "ResourceQuota q", {"requests.cpu": 2000, "pods": 4}, {"requests.cpu": 1500, "pods": 3}
    )


@pytest.mark.parametrize("scope", [{"scopes": ["BestEffort"]}, {"scopeSelector": {"matchExpressions": []}}])
def test_a_quota_with_scopes_counts_only_some_pods(scope):
    assert scheduling.quota({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}, **scope}}).scoped


# --- limits -----------------------------------------------------------------------------------------------------------


def a_range(kind="Container", **item):
    return {"metadata": {"name": "r"}, "spec": {"limits": [{"type": kind, **item}]}}


def test_containers_that_say_nothing_get_the_namespaces_defaults():
    ranges = [a_range(default={"cpu": "2", "memory": "1Gi"}, defaultRequest={"cpu": "1", "memory": "1Mi"})]
    spec = limits.with_defaults({"containers": [container(), container("b", {"cpu": "3"}, {"memory": "5"})]}, ranges)
    assert [one["resources"] for one in spec["containers"]] == [
        {"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        {"requests": {"cpu": "3", "memory": "5"}, "limits": {"cpu": "2", "memory": "5"}},
    ]


@pytest.mark.parametrize(
    ("one", "requests", "most", "said"),
    [
        (a_range(min={"cpu": "1"}), {"cpu": "1"}, {}, None),
        (a_range(min={"cpu": "1"}), {"cpu": "500m"}, {}, "min 1 cpu"),
        (a_range(min={"cpu": "1"}), {}, {}, "min 1 cpu"),
        (a_range(max={"cpu": "1"}), {"cpu": "1"}, {"cpu": "1"}, None),
        (a_range(max={"cpu": "1"}), {"cpu": "1"}, {"cpu": "2"}, "max 1 cpu"),
        (a_range(max={"cpu": "1"}), {"cpu": "1"}, {}, "max 1 cpu"),
        (a_range("Pod", max={"cpu": "1"}), {"cpu": "2"}, {"cpu": "2"}, "max 1 cpu, and a pod"),
        (a_range("Pod", max={"cpu": "1"}), {"cpu": "1"}, {"cpu": "1"}, None),
        (a_range(maxLimitRequestRatio={"cpu": "2"}), {"cpu": "1"}, {"cpu": "2"}, None),
        (a_range(maxLimitRequestRatio={"cpu": "1.5"}), {"cpu": "1"}, {"cpu": "2"}, "maxLimitRequestRatio 1.5 of cpu"),
        (a_range(maxLimitRequestRatio={"cpu": "2"}), {"cpu": "1"}, {}, "maxLimitRequestRatio 2 of cpu"),
        (a_range("PersistentVolumeClaim", max={"storage": "1"}), {}, {}, None),
    ],
)
def test_a_pod_outside_a_limit_range_is_refused(one, requests, most, said):
    found = limits.refusals({"containers": [container(requests=requests, most=most)]}, [one], [])
    assert [said in problem for problem in found] == ([True] if said else [])


@pytest.mark.parametrize(
    ("hard", "spec", "said"),
    [
        ("requests.cpu", {"containers": [container(requests={"cpu": "1"})]}, None),
        ("requests.cpu", {"containers": [container()]}, "give it resources.requests.cpu"),
        ("cpu", {"containers": [container(most={"cpu": "1"})]}, None),
        ("memory", {"containers": [container(requests={"cpu": "1"})]}, "give it resources.requests.memory"),
        ("limits.memory", {"containers": [container(requests={"memory": "1"})]}, "give it resources.limits.memory"),
        ("requests.nvidia.com/gpu", {"containers": [container()]}, None),
        ("limits.cpu", {"containers": [container()], "resources": {"limits": {"cpu": "1"}}}, None),
        (
            "requests.cpu",
            {"containers": [container(requests={"cpu": "1"})], "initContainers": [container("init")]},
            "which container init does not say",
        ),
    ],
)
def test_a_quota_of_cpu_or_memory_wants_every_container_to_say_it(hard, spec, said):
    found = limits.refusals(spec, [], [Quota("ResourceQuota q", {hard: 9}, {})])
    assert [said in problem for problem in found] == ([True] if said else [])
    assert limits.refusals(spec, [], [Quota("ResourceQuota q", {hard: 9}, {}, scoped=True)]) == []


# --- doubts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "labels", "said"),
    [
        ({}, {}, None),
        ({"resourceClaims": [{"name": "gpu"}]}, {}, "DRA"),
        ({"affinity": {"podAffinity": {REQUIRED: [{}]}}}, {}, "podAffinity"),
        ({"affinity": {"podAffinity": {"preferred": [{}]}}}, {}, None),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}]}, {}, "topologySpread"),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}]}, {}, None),
        ({"schedulingGates": [{"name": "x"}]}, {}, "schedulingGates"),
        ({}, {"kueue.x-k8s.io/queue-name": "q"}, "Kueue"),
        ({"schedulerName": "volcano"}, {}, "'volcano'"),
        ({"schedulerName": "default-scheduler"}, {}, None),
    ],
)
def test_what_may_keep_a_pod_from_free_nodes_is_said(spec, labels, said):
    assert [said in text for text in doubts.less(spec, labels)] == ([True] if said else [])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, None),
        ({"schedulerName": "volcano"}, "'volcano'"),
        ({"affinity": {"podAntiAffinity": {REQUIRED: [{"namespaceSelector": {"a": "b"}}]}}}, "by label"),
        ({"affinity": {"podAntiAffinity": {REQUIRED: [{"namespaceSelector": {}}]}}}, None),
    ],
)
def test_why_there_may_be_more_room_is_said(spec, said):
    assert [said in text for text in doubts.more(spec)] == ([True] if said else [])
