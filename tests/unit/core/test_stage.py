"""What is done with each version that a registry names, and what is said of it."""

from datetime import UTC, datetime

import pytest

from modelberth.core.digest import Digest
from modelberth.core.prune import DAMAGED, FOREIGN, READY, Lying
from modelberth.core.revision import Revision, Snapshot
from modelberth.core.stage import Line, State, afterwards, decide, on_claim, remembered, table

ONE, TWO = Digest("a" * 64), Digest("b" * 64)
MINILM = Revision("minilm", ONE)
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lying", "copy"),
    [
        ([], None),
        ([Lying("minilm", Snapshot(ONE, 1), READY)], 1),
        ([Lying("minilm", Snapshot(ONE, 1), READY), Lying("minilm", Snapshot(ONE, 2), READY)], 2),
        ([Lying("minilm", Snapshot(ONE, 1), READY), Lying("minilm", Snapshot(ONE, 2), DAMAGED)], 1),
        ([Lying("minilm", Snapshot(ONE, 1), FOREIGN)], None),
        ([Lying("minilm", Snapshot(ONE, 1), READY, condemned=WHEN)], None),
        ([Lying("minilm", Snapshot(ONE, 1), READY, trashed=True)], None),
        ([Lying("minilm", Snapshot(TWO, 1), READY), Lying("other", Snapshot(ONE, 1), READY)], None),
    ],
)
def test_a_copy_counts_that_can_be_served_as_it_lies_there(lying, copy):
    assert on_claim(MINILM, lying) == (Snapshot(ONE, copy) if copy else None)


@pytest.mark.parametrize(
    ("problem", "revision", "there", "verified", "state"),
    [
        ("gone", None, None, False, State.FAILED),
        ("gone", MINILM, Snapshot(ONE, 1), True, State.FAILED),
        ("", None, None, False, State.WAITING),
        ("", MINILM, None, False, State.WAITING),
        ("", MINILM, Snapshot(ONE, 1), False, State.WAITING),
        ("", MINILM, Snapshot(ONE, 1), True, State.PRESENT),
    ],
)
def test_only_what_is_there_and_was_read_again_is_left_alone(problem, revision, there, verified, state):
    assert decide(problem, revision, there, verified=verified) is state


@pytest.mark.parametrize(
    ("before", "tried", "after", "why"),
    [
        (State.FAILED, False, State.FAILED, "gone"),
        (State.FAILED, True, State.FAILED, "gone"),
        (State.PRESENT, False, State.PRESENT, "gone"),
        (State.PRESENT, True, State.FETCHED, ""),
        (State.WAITING, True, State.FAILED, "no space"),
        (State.WAITING, False, State.WAITING, "The next run brings it."),
    ],
)
def test_what_was_to_be_brought_is_there_or_has_failed(before, tried, after, why):
    line = afterwards(Line(before, "minilm", "v1", "x", "gone"), tried=tried, missing="no space")
    assert line == Line(after, "minilm", "v1", "x", why)


def named(version, revision="r", model="m"):
    return {"model": model, "version": version, "revision": revision}


@pytest.mark.parametrize(
    ("before", "now", "complete", "after"),
    [
        ([], [named("1")], True, [named("1")]),
        ([], [named("1", "")], True, []),
        ([named("1")], [named("1", "new")], True, [named("1", "new")]),
        ([named("1")], [named("1", "")], True, [named("1")]),
        ([named("1")], [named("", "")], True, [named("1")]),
        ([named("1")], [named("", "", "other")], True, []),
        ([named("1")], [named("2")], True, [named("2")]),
        ([named("1")], [named("2")], False, [named("2"), named("1")]),
        ([named("1")], [], False, [named("1")]),
    ],
)
def test_what_was_named_is_forgotten_only_when_the_registry_says_so(before, now, complete, after):
    assert remembered(before, now, complete=complete) == after


def test_the_table_says_first_what_failed_and_counts_each_state():
    lines = [
        Line(State.PRESENT, "a", "v1", "a@sha256:1.1"),
        Line(State.UNREFERENCED, "a", "", "a@sha256:0.1", "prune_claims takes it."),
        Line(State.FETCHED, "b", "v1"),
        Line(State.FAILED, "z", "v9", why="has no version '9' | \n or not any more"),
    ]
    text = table(lines).splitlines()
    assert text[0] == "1 present, 1 fetched, 0 waiting, 1 failed, 1 unreferenced"
    assert text[4] == "| z | v9 | failed |  | has no version '9' /   or not any more |"
    assert [line.split(" | ")[2] for line in text[5:]] == ["fetched", "unreferenced", "present"]
