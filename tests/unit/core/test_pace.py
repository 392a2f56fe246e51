"""How a workload replaces its pods: Kubernetes' rounding, and its rounds."""

import pytest

from modelberth.core.pace import Pace, course, pace_of, rounds


def rolling(surge, unavailable):
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


@pytest.mark.parametrize(
    ("kind", "strategy", "replicas", "expected"),
    [
        ("Deployment", {}, 1, (1, 1, 0)),
        ("Deployment", {}, 4, (4, 1, 1)),
        ("Deployment", {"type": "RollingUpdate"}, 10, (10, 3, 2)),
        ("Deployment", rolling(1, 0), 3, (3, 1, 0)),
        ("Deployment", rolling("100%", "50%"), 3, (3, 3, 1)),
        ("Deployment", rolling(0, "25%"), 3, (3, 0, 1)),
        ("Deployment", rolling("0%", "10%"), 5, (5, 0, 1)),
        ("Deployment", rolling(0, 9), 3, (3, 0, 3)),
        ("Deployment", rolling("25%", 0), 0, (0, 0, 0)),
        ("Deployment", {"type": "Recreate"}, 3, (3, 0, 3)),
        ("StatefulSet", {"type": "RollingUpdate"}, 3, (3, 0, 1)),
        ("StatefulSet", {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, 3, (1, 0, 1)),
        ("StatefulSet", {"type": "RollingUpdate", "rollingUpdate": {"partition": 5}}, 3, (0, 0, 1)),
    ],
)
def test_a_strategy_is_rounded_as_kubernetes_does(kind, strategy, replicas, expected):
    pace = pace_of(kind, strategy, replicas)
    if replicas == 0:
        assert pace.replicas == 0
        return
    assert (pace.replicas, pace.surge, pace.unavailable) == expected


def test_a_strategy_is_said_with_what_percentages_come_to():
    assert pace_of("Deployment", rolling("25%", 0), 3).said == "maxSurge 25% (= 1) and maxUnavailable 0"


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "seats", "reached"),
    [
        (1, 0, 3, lambda gone: gone, [0]),
        (1, 0, 3, lambda gone: 1 + gone, [1, 2, 3]),
        (0, 1, 3, lambda gone: gone, [1, 2, 3]),
        (0, 1, 3, lambda gone: min(2, gone), [1, 2]),
        (0, 3, 3, lambda gone: gone, [3]),
        (2, 1, 4, lambda gone: 9, [2, 4]),
        (1, 1, 4, lambda gone: gone, [1, 2, 3, 4]),
        (4, 0, 4, lambda gone: 9, [4]),
    ],
)
def test_a_rollout_goes_as_far_as_there_are_seats(surge, unavailable, replicas, seats, reached):
    assert course(Pace(replicas, surge, unavailable, ""), replicas, seats) == reached


def test_more_old_pods_than_wanted_go_first():
    assert course(Pace(2, 1, 0, ""), 5, lambda gone: gone) == [1, 2]


@pytest.mark.parametrize(("pace", "count"), [(Pace(1, 1, 0, ""), 1), (Pace(8, 1, 0, ""), 8), (Pace(8, 2, 2, ""), 3)])
def test_pods_that_start_one_after_the_other_are_counted(pace, count):
    assert rounds(pace) == count
