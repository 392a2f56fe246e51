"""Where Kubernetes is less patient than a rollout may be."""

from types import SimpleNamespace

import pytest

from modelberth.kubernetes.patience import limits, load, problems, ready_within
from plans import a_deployment

GB = 10**9
FAST = {"bytes": GB, "seconds": 1.0}
SLOW = {"bytes": 100 * GB, "seconds": 2000.0}


def a_service(ready_within=None):
    return SimpleNamespace(name="embedder", ready_within=ready_within)


def probed(delay=0, failures=30, period=10, **changes):
    document = a_deployment(**changes)
    [container] = document["spec"]["template"]["spec"]["containers"]
    container["startupProbe"] = {
        "initialDelaySeconds": delay,
        "failureThreshold": failures,
        "periodSeconds": period,
    }
    return document


@pytest.mark.parametrize(
    ("document", "containers", "seconds"),
    [
        (a_deployment(), ["server"], [600]),
        (a_deployment(progressDeadlineSeconds=300), ["server"], [300]),
        (a_deployment(progressDeadlineSeconds=2**31 - 1), ["server"], []),
        (a_deployment() | {"kind": "StatefulSet"}, ["server"], []),
        (probed(20, 30, 10), ["server"], [320, 600]),
        (probed(), ["another"], [600]),
    ],
)
def test_kubernetes_gives_up_by_its_deadline_and_by_the_probes_of_who_loads(document, containers, seconds):
    assert [one.seconds for one in limits(document, containers)] == seconds


@pytest.mark.parametrize(
    ("document", "within", "said"),
    [
        (a_deployment(), 600, None),
        (a_deployment(), 601, "Deployment serving/embedder with progressDeadlineSeconds 600 gives up after 600 s"),
        (
            probed(20, 30, 10),
            600,
            "(initialDelaySeconds 20 + failureThreshold 30 x periodSeconds 10) gives up after 320 s, but a rollout may",
        ),
        (probed(20, 30, 10), 320, None),
    ],
)
def test_what_gives_up_before_the_services_time_is_refused_with_the_numbers(document, within, said):
    found = problems(a_service(within), document, ["server"])
    assert [said in problem for problem in found] == ([True] if said else [])


def test_without_a_time_of_its_own_a_service_waits_as_long_as_its_workload():
    assert ready_within(a_service(), probed(), ["server"], FAST) == 300
    assert problems(a_service(), probed(), ["server"], FAST) == []


def test_what_gives_up_before_the_bytes_can_be_read_is_refused_with_the_rate():
    document = a_deployment(replicas=1)
    assert ready_within(a_service(), document, ["server"], SLOW) == 4080
    [problem] = problems(a_service(), document, ["server"], SLOW)
    assert "progressDeadlineSeconds 600 gives up after 600 s, but a rollout may take 4080 s" in problem
    assert "93.1 GiB at the 47.7 MiB/s that verify read, twice over" in problem
    assert "sets no ready_within" in problem


def test_before_anything_was_read_only_a_time_that_is_set_is_judged():
    assert problems(a_service(), a_deployment(), ["server"]) == []


def test_pods_that_start_one_after_the_other_load_as_often_and_end_before():
    document = a_deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, minReadySeconds=5)
    document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 300
    loading = load(document, FAST)
    assert (loading.rounds, loading.between, loading.rate) == (2, 305, 1e9)


def test_a_verify_that_took_no_time_says_no_rate():
    assert load(a_deployment(), {"bytes": 7, "seconds": 0}).rate is None
