import signal
import threading
import time

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import stopping
from modelberth.engine.stopping import Stop


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(stopping, "_AT_MOST", 0.2)
    monkeypatch.setattr(stopping, "_TO_FLUSH", 0.1)


@pytest.mark.parametrize("way", ["supervised", "bounded"])
def test_what_the_work_returns_or_raises_comes_through(way):
    assert getattr(Stop(), way)(lambda: 5) == 5
    with pytest.raises(KeyError):
        getattr(Stop(), way)(lambda: {}["x"])


@pytest.mark.parametrize("way", ["supervised", "bounded"])
@pytest.mark.usefixtures("soon")
def test_work_that_does_not_end_is_given_up_once_the_end_is_asked_for(way):
    stop, over = Stop(), threading.Event()
    threading.Timer(0.1, stop.ask, ("SIGTERM",)).start()
    began = time.monotonic()
    with pytest.raises(Failure) as failure:
        getattr(stop, way)(over.wait)
    over.set()
    assert failure.value.code is ExitCode.INTERRUPTED
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("soon")
def test_work_that_is_slow_is_waited_for_as_long_as_nobody_asks_for_the_end():
    over = threading.Event()
    threading.Timer(0.6, over.set).start()
    assert Stop().supervised(over.wait) is True


def test_an_echo_of_the_signal_is_no_second_one(monkeypatch):
    killed = []
    monkeypatch.setattr(signal, "raise_signal", killed.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    stop = Stop()
    for _ in range(3):
        stop._received(signal.SIGTERM, None)
    assert (stop.asked, killed) == (True, [])
    stop._asked_at -= 1
    stop._received(signal.SIGINT, None)
    assert killed == [signal.SIGINT]


def test_a_signal_that_comes_while_the_first_one_is_taken_in_waits_for_nothing():
    stop = Stop()

    class Event:
        def set(self):
            stop.ask("SIGINT")  # which would come here again, and in the real event wait for its lock for ever

    stop._event = Event()
    stop.ask("SIGTERM")
    with pytest.raises(Failure, match="SIGTERM"):
        stop.check()
