"""What becomes of messages and progress, by who listens."""

import io
import json
import logging

import pytest

from modelberth.engine import telling
from modelberth.engine.moment import Moment
from modelberth.engine.progress import Progress
from modelberth.engine.telling import PROGRESS, Bar, Events, Told, say


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(telling, "time", clock)
    return clock


def progress(done=1, *, final=False):
    record = logging.makeLogRecord({"msg": "not shown"})
    setattr(record, PROGRESS, Moment("minilm", "fetched", done, 2, 0, 0, 1, final=final))
    return record


def message(text):
    return logging.makeLogRecord({"msg": text, "levelname": "INFO"})


def told(kind, clock, *events):
    """Let *kind* hear events, each after so many seconds; return what it said."""
    handler = kind(io.StringIO())
    for seconds, record in events:
        clock.now += seconds
        handler.emit(record)
    return handler.stream.getvalue()


def test_a_log_gets_a_line_every_15_seconds_and_messages_as_they_come(clock):
    text = told(
        Told, clock, (0, progress()), (14.9, progress()), (0, message("hello")), (0.2, progress()), (0.5, progress()),
        (14.4, progress()), (0.2, progress()), (1, progress(final=True)),
    )  # fmt: skip
    line = "minilm: fetched 1 B of 2 B, 0 of 1 files, 0 B/s\n"
    assert text == f"hello\n{line}{line}"


def test_a_terminal_gets_messages_above_the_bar_and_the_last_state_in_its_place(clock):
    text = told(Bar, clock, (0, progress()), (0, message("hello")), (0, progress(2, final=True)), (0, message("bye")))
    begin, bar, hello, again, end = text.split("\r\x1b[K")
    assert begin == ""
    assert bar == again
    assert bar.startswith("minilm: [##########")
    assert hello == "hello\n"
    assert end == "minilm: fetched 2 B of 2 B, 0 of 1 files in 0 s\nbye\n"


def test_a_machine_gets_one_event_a_second_and_the_last(clock):
    text = told(
        Events, clock, (0.5, progress()), (0.6, progress()), (0.5, progress()), (0.6, progress(2)),
        (0.1, progress(2, final=True)), (0, message("hello")),
    )  # fmt: skip
    events = [json.loads(line) for line in text.splitlines()]
    assert [event.get("final", event.get("text")) for event in events] == [False, False, True, "hello"]


def test_a_count_that_is_wrong_stops_no_transfer():
    counted = Progress("minilm", "fetched", {"a": 5, "none": 0}, (10, 1))
    counted.add("a", 7)
    counted.reuse("other", 2)
    now = counted.moment()
    assert (now.bytes, now.bytes_total, now.bytes_reused, now.files, now.files_total) == (7, 3, 12, 3, 3)


def test_what_is_reused_need_not_be_fetched():
    counted = Progress("minilm", "fetched", {"a": 100, "b": 50}, (10, 1))
    counted.reuse("a", 100)
    counted.add("b", 20)
    now = counted.moment()
    assert (now.bytes, now.bytes_total, now.bytes_reused, now.files, now.files_total) == (20, 50, 110, 2, 3)


def test_nothing_to_do_is_not_told_of(caplog):
    with caplog.at_level(logging.INFO), Progress("minilm", "read", {}).shown():
        pass
    assert caplog.records == []


def test_other_trouble_with_the_stream_than_a_reader_that_left_is_not_swallowed():
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        say(Full(), "text")


def test_a_log_on_a_full_disk_is_no_trouble_of_the_work():
    class Full(io.StringIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    Told(Full()).emit(logging.makeLogRecord({"msg": "published"}))
