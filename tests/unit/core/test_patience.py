"""How long a rollout may take, and who is less patient."""

import pytest

from modelberth.core.patience import Limit, Load, problems, ready_within

GB = 10**9
DEADLINE = Limit("Deployment s/llm's progressDeadlineSeconds", 600, "raise it")
PROBE = Limit("Container server's startup probe", 300, "raise its failureThreshold")


@pytest.mark.parametrize(
    ("load", "seconds"),
    [
        (Load(0, 1e9), 60),
        (Load(15 * GB, 1e9), 120),
        (Load(100 * GB, 1e9), 300),
        (Load(100 * GB, 50e6), 4080),
        (Load(100 * GB, 1e9, rounds=4), 1080),
        (Load(100 * GB, 1e9, rounds=4, between=300), 2280),
        (Load(100 * GB, None), 0),
    ],
)
def test_loading_takes_what_its_bytes_do_at_the_measured_rate(load, seconds):
    assert load.seconds == seconds


@pytest.mark.parametrize(
    ("asked", "limits", "load", "within"),
    [
        (120, [DEADLINE], Load(400 * GB, 1e9), 120),
        (7200, [DEADLINE, PROBE], Load(0, 1e9), 7200),
        (None, [DEADLINE], Load(GB, 1e9), 600),
        (None, [DEADLINE, PROBE], Load(GB, 1e9), 300),
        (None, [DEADLINE, PROBE], Load(200 * GB, 1e9), 480),
        (None, [DEADLINE], Load(400 * GB, 1e9), 900),
        (None, [], Load(GB, 1e9), 600),
        (None, [], Load(400 * GB, 1e9), 900),
        (None, [DEADLINE], Load(400 * GB, None), 600),
    ],
)
def test_a_rollout_may_take_what_the_service_says_or_else_what_loading_takes(asked, limits, load, within):
    assert ready_within(asked, limits, load) == within


def test_what_gives_up_earlier_is_said_with_both_numbers():
    [problem] = problems([DEADLINE, PROBE], 600, "ready_within of service 'llm'")
    assert problem == (
        "Container server's startup probe gives up after 300 s, but a rollout may take 600 s (ready_within of service "
        "'llm'): raise its failureThreshold."
    )


def test_nobody_who_waits_as_long_is_in_the_way():
    assert problems([DEADLINE, PROBE], 300, "") == []
