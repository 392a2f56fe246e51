import pytest

from modelberth.engine.moment import Moment, Rate, bar, line

SUBJECT = "minilm@sha256:" + "1f0c" * 16
MIB = 2**20


def moment(done=0, total=0, **more):
    return Moment(SUBJECT, "fetched", done, total, **more)


def test_a_line_names_the_object_first_and_all_that_is_known():
    there = {"bytes_reused": 3 * 2**30, "files": 3, "files_total": 12, "rate": 412.0 * MIB}
    assert line(moment(2**30, 20 * 2**30, **there)) == (
        "minilm@sha256:1f0c1f0c…: fetched 1.0 GiB of 20.0 GiB (and 3.0 GiB reused), 3 of 12 files, 412.0 MiB/s, "
        "47 s left"
    )


def test_the_last_line_says_how_long_it_took_instead():
    told = line(moment(5, 5, files=1, files_total=1, seconds=7.2, final=True))
    assert told == "minilm@sha256:1f0c1f0c…: fetched 5 B of 5 B, 1 of 1 files in 7 s"


@pytest.mark.parametrize(("done", "total"), [(0, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("rate", [0.0, 1e-9, 1e12])
def test_nothing_and_next_to_nothing_is_told_too(done, total, rate):
    now = moment(done, total, rate=rate)
    assert line(now).startswith("minilm@")
    assert len(bar(now, 200)) <= 200
    assert now.document()["bytes_per_second"] == round(rate)


@pytest.mark.parametrize("columns", [*range(1, 130), 1000])
@pytest.mark.parametrize("subject", [SUBJECT, "模型" * 10])
def test_a_bar_never_needs_more_columns_than_there_are(columns, subject):
    now = Moment(subject, "fetched", 10 * 2**30, 20 * 2**30, 2**30, 3, 12, 412.5 * MIB)
    told = bar(now, columns)
    assert told
    assert len(told) + sum(letter in "模型" for letter in told) <= columns


def test_a_wide_terminal_shows_everything_and_a_narrow_one_the_share():
    now = moment(50, 100, files=1, files_total=2, rate=10.0)
    assert bar(now, 200) == (
        "minilm@sha256:1f0c1f0c…: [##########..........] fetched 50 B of 100 B, 1 of 2 files, 10 B/s, 5 s left"
    )
    assert bar(now, 50) == "[##########..........] 50 %, 10 B/s, 5 s left"
    assert bar(now, 20) == "50 %, 10 B/s, 5 s left"[:20]


def test_machines_get_whole_names_and_plain_numbers():
    told = moment(50, 100, files=1, files_total=2, rate=10.0, seconds=5.0).document()
    assert told == {
        "subject": SUBJECT, "verb": "fetched", "bytes": 50, "bytes_total": 100, "bytes_reused": 0, "files": 1,
        "files_total": 2, "bytes_per_second": 10, "seconds": 5.0, "seconds_left": 5.0, "final": False,
    }  # fmt: skip
    assert moment(50, 100).document()["seconds_left"] is None


def test_a_rate_is_of_the_last_seconds_and_not_since_the_beginning():
    rate = Rate()
    assert rate.of(0.0, 0) == 0.0
    for second in range(1, 61):
        rate.of(float(second), second * 100)
    assert rate.of(61.0, 6000) == pytest.approx(80, abs=21)
    for second in range(62, 70):
        rate.of(float(second), 6000)
    assert rate.of(70.0, 6000) == 0.0


def test_a_rate_of_two_looks_at_one_moment_is_no_division_by_zero():
    rate = Rate()
    assert [rate.of(1.0, 0), rate.of(1.0, 10)] == [0.0, 0.0]
