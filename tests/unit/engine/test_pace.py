"""A limit on bytes a second holds from the first byte on, and makes no answer of a store wait long."""

import pytest

from modelberth.engine import pace
from modelberth.engine.pace import Pace

MIB = 2**20


class Clock:
    """Time that passes only when somebody sleeps or receives."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def received(clock, rate, size, network=None):
    """Receive *size* bytes over a network of *network* bytes a second; return the pieces as they came."""
    pieces = []

    def fill(view, each):
        clock.now += len(view) / network if network else 0
        pieces.append((clock.now - 1000, len(view)))
        each(view)

    heard = []
    Pace(rate, clock).receive(fill, memoryview(bytearray(size)), lambda piece: heard.append(len(piece)))
    assert sum(heard) == size
    return pieces


@pytest.mark.parametrize("rate", [1000, 64 * 1024, MIB, 100 * MIB])
def test_no_more_than_the_rate_passes_from_the_first_byte_on(clock, rate):
    total = 0
    for at, count in received(clock, rate, 8 * MIB):
        total += count
        assert total <= rate * at * 1.0001
    assert total == 8 * MIB
    assert at == pytest.approx(8 * MIB / rate)


@pytest.mark.parametrize("rate", [64 * 1024, MIB, 100 * MIB])
def test_what_comes_over_a_network_that_is_faster_comes_at_the_rate(clock, rate):
    received(clock, rate, 8 * MIB, network=2 * rate)
    assert clock.now - 1000 == pytest.approx(8 * MIB / rate, rel=0.1)


@pytest.mark.parametrize(("rate", "longest"), [(1000, 4.1), (64 * 1024, 0.07), (MIB, 0.07), (100 * MIB, 0.02)])
def test_an_answer_is_not_left_alone_for_long(clock, rate, longest):
    received(clock, rate, MIB)
    assert max(clock.slept) < longest


def test_time_in_which_nothing_passed_is_no_credit(clock):
    limit = Pace(MIB, clock)
    limit.take(MIB)
    clock.now += 3600
    before = clock.now
    for _ in range(4):
        limit.take(MIB)
    assert clock.now - before == pytest.approx(3)  # the first cost no more than was unused


def test_streams_share_the_rate(clock):
    limit = Pace(MIB, clock)
    limit.take(MIB)
    clock.now -= 1  # another stream, which began at the same time
    limit.take(MIB)
    assert clock.now - 1000 == pytest.approx(2)


def test_without_a_limit_all_comes_in_one_go(clock):
    assert [count for _, count in received(clock, None, 8 * MIB)] == [8 * MIB]
    assert received(clock, None, 0) == []
    Pace(None, clock).take(MIB)
    assert clock.slept == []
