"""How much a pod asks for, as Kubernetes adds it up."""

from fractions import Fraction

import pytest

from modelberth.core import amounts


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("100m", Fraction(1, 10)),
        ("1n", Fraction(1, 10**9)),
        ("2u", Fraction(2, 10**6)),
        ("1k", 1000),
        ("2M", 2 * 10**6),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(6, 5)),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1Ei", 2**60),
        (4, 4),
    ],
)
def test_a_quantity_is_the_number_that_kubernetes_reads(text, number):
    assert amounts.quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "1GiB", "1 Gi", "one", "1ki", "0x10"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="Not a Kubernetes quantity"):
        amounts.quantity(text)


def test_parts_are_rounded_up_and_cpu_counts_in_thousandths():
    assert amounts.listed({"cpu": "1.0001", "memory": "1.1", "nvidia.com/gpu": "2"}) == {
        "cpu": 1001,
        "memory": 2,
        "nvidia.com/gpu": 2,
    }


def container(requests=None, limits=None, **more):
    return {"name": "c", "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


CPU = {"cpu": "1"}
SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        ({"containers": [{"name": "bare"}]}, {}),
        ({"containers": [container(CPU), container({"cpu": "500m"})]}, {"cpu": 1500}),
        ({"containers": [container(limits={"nvidia.com/gpu": "2"})]}, {"nvidia.com/gpu": 2}),
        ({"containers": [container(CPU, {"cpu": "4"})]}, {"cpu": 1000}),
        ({"containers": [container(CPU)], "initContainers": [container({"cpu": "3"})]}, {"cpu": 3000}),
        ({"containers": [container({"cpu": "4"})], "initContainers": [container({"cpu": "3"})]}, {"cpu": 4000}),
        ({"containers": [container(CPU)], "initContainers": [container({"cpu": "2"}, **SIDECAR)]}, {"cpu": 3000}),
        (
            {"containers": [container(CPU)], "initContainers": [container(CPU, **SIDECAR), container({"cpu": "3"})]},
            {"cpu": 4000},
        ),
        (
            {"containers": [container(CPU)], "initContainers": [container({"cpu": "3"}), container(CPU, **SIDECAR)]},
            {"cpu": 3000},
        ),
        ({"containers": [container(CPU)], "overhead": {"cpu": "250m", "memory": "1Ki"}}, {"cpu": 1250, "memory": 1024}),
        ({"containers": [container(CPU)], "resources": {"requests": {"cpu": "8"}}}, {"cpu": 8000}),
        ({"containers": [container(CPU)], "resources": {"limits": {"cpu": "8"}}}, {"cpu": 8000}),
        (
            {"containers": [container({"example.com/x": "1"})], "resources": {"requests": {"cpu": "8"}}},
            {"example.com/x": 1, "cpu": 8000},
        ),
        ({"containers": [container({"cpu": "0.5m"}), container({"cpu": "0.5m"})]}, {"cpu": 1}),
    ],
)
def test_a_pod_asks_for_what_runs_together_or_starts_it(spec, asked):
    assert amounts.requests(spec) == asked


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ({"containers": [container(CPU)]}, {}),
        ({"containers": [container(limits=CPU)], "overhead": {"cpu": "1", "memory": "1"}}, {"cpu": 2000}),
        ({"containers": [container(limits=CPU)], "resources": {"limits": {"cpu": "3"}}}, {"cpu": 3000}),
    ],
)
def test_a_pod_is_limited_to_what_its_containers_are(spec, most):
    assert amounts.limits(spec) == most
