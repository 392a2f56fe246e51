"""`make bench` says what it found, and fails when it could not compare."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


@pytest.mark.parametrize(
    ("value", "goal", "at_least", "reached"),
    [
        (1.004, 1.0, False, True),
        (1.006, 1.0, False, False),
        (0.94, 0.95, True, False),
        (0.96, 0.95, True, True),
        (9.0, None, False, None),
    ],
)
def test_a_goal_is_judged_by_the_value_that_is_printed(value, goal, at_least, reached):
    from table import Line

    line = Line("P0", "anything", "1 s", "1 s", value, goal, at_least=at_least)
    assert line.reached is reached
    assert ("**not reached**" in line.row()) == (reached is False)


def test_a_peer_that_is_not_installed_is_an_error(monkeypatch, tmp_path):
    import peers

    monkeypatch.setattr(peers, "S5CMD", tmp_path / "s5cmd")
    with pytest.raises(RuntimeError, match=r"s5cmd.*Run `make bench`"):
        peers.refuse_missing()


def test_a_contender_that_fails_is_an_error():
    from contest import Contender, measured

    with pytest.raises(RuntimeError, match="broken ended with 3: what it said"):
        measured(Contender("broken", ("sh", "-c", "echo what it said; exit 3"), {}))


def test_a_contender_that_left_less_than_it_should_is_an_error(tmp_path):
    from bench import refuse_less

    (tmp_path / "file").write_bytes(b"1234")
    refuse_less(tmp_path, 4)
    with pytest.raises(RuntimeError, match="should hold 5 bytes, but has 4"):
        refuse_less(tmp_path, 5)


def test_the_memory_of_a_contender_is_its_own_and_its_childrens():
    from contest import Contender, measured

    child = "import time; ballast = bytearray(40_000_000); time.sleep(1)"
    parent = (
        f"import subprocess, sys; ballast = bytearray(40_000_000); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    alone = measured(Contender("small", ("true",), {}))
    both = measured(Contender("two", (sys.executable, "-c", parent), {}))
    assert alone.peak < 20_000_000  # this program has far more
    assert both.peak > 80_000_000
    assert both.wall > 1


def test_the_contest_takes_the_median_and_names_the_fastest_peer():
    from contest import Contender, Contest, Sample, Series

    def series(name, *walls):
        return Series(Contender(name, (), {}), [Sample(wall, 0, 0, 0, "") for wall in walls])

    rivals = [series("ours", 1, 2, 9), series("slow", 4, 5, 6), series("fast", 3, 3, 30)]
    contest = Contest("title", 10**9, {one.contender.name: one for one in rivals})
    assert contest.ours.median == 2
    assert contest.fastest_named() == "the fastest, fast"
    assert "| slow | 5.00 | 4.00 | 0.40 | 0.25 | 3 |" in contest.report()


def test_an_unknown_figure_is_refused():
    done = subprocess.run([sys.executable, BENCH, "P99"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no figure 'P99'; expected some of P1, " in done.stderr


def test_what_cannot_fit_is_refused_before_anything_starts():
    words = [sys.executable, BENCH, "P1", "--scale", "100000"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: Too little is free" in done.stderr
    assert not done.stdout


def test_what_a_rollout_lost_is_read_from_its_tests_report(tmp_path):
    from figures.rollout import properties

    report = tmp_path / "report.xml"
    named = "".join(f'<property name="{name}" value="{value}"/>' for name, value in (("sent", 900), ("lost", 2)))
    report.write_text(
        f"<testsuites><testsuite><testcase><properties>{named}</properties></testcase></testsuite></testsuites>"
    )
    assert properties(report) == {"sent": 900.0, "lost": 2.0}


def test_a_rollout_that_measured_nothing_is_an_error(tmp_path):
    from figures.rollout import properties

    with pytest.raises(RuntimeError, match="measured nothing"):
        properties(tmp_path / "report.xml")
