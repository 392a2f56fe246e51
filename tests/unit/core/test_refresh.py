"""Whether a source's version is proposed: the truth table of ``decide``."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from modelberth.core import refresh
from modelberth.core.refresh import FIRST_WAIT, LONGEST_WAIT, due, first

decide = partial(refresh.decide, answer_within=timedelta(days=7))
LOST_AFTER = timedelta(days=8)
START = datetime(2026, 1, 2, tzinfo=UTC)
LATER = START + timedelta(days=7)


@dataclass(frozen=True)
class Fact:
    """A line of the ledger."""

    event: str
    release_id: str
    source_version: str | None
    at: datetime


def ledger(*releases: tuple[str, str]) -> list[Fact]:
    """Build facts from (version or "-", "event event ...") per release, a minute between two lines."""
    facts = []
    for number, (version, events) in enumerate(releases):
        for event in events.split():
            at = START + timedelta(minutes=len(facts))
            facts.append(Fact(event, f"release-{number:04}", None if version == "-" else version, at))
    return facts


@pytest.mark.parametrize(
    ("releases", "propose", "reason"),
    [
        ([], True, "nothing was ever"),
        ([("A", "proposed")], False, "release-0000 is under way"),
        ([("A", "proposed approved")], False, "under way"),
        ([("A", "proposed approved live")], False, "it is live"),
        ([("A", "proposed rejected")], False, "it was rejected"),
        ([("A", "proposed approved put-back")], False, "it was put back"),
        ([("A", "proposed approved put-back failed")], False, "it was put back"),
        ([("A", "proposed approved failed")], False, "failed after the gate"),
        ([("A", "proposed superseded")], False, "superseded"),
        ([("A", "proposed failed")], True, "release-0000 failed before the gate"),
        ([("A", "failed")], True, "failed before the gate"),
        ([("B", "proposed")], True, "moved on"),
        ([("B", "proposed approved live")], True, "moved on"),
        ([("B", "proposed rejected")], True, "moved on"),
        ([("B", "proposed failed")], True, "moved on"),
        ([("A", "proposed rejected"), ("B", "proposed approved live")], True, "moved on"),
        ([("A", "proposed approved live"), ("B", "proposed failed")], False, "nothing came of"),
        ([("A", "proposed approved live"), ("B", "proposed rejected")], False, "nothing came of"),
        ([("A", "proposed approved live"), ("B", "proposed superseded"), ("C", "rejected")], False, "nothing came of"),
        ([("A", "proposed approved live"), ("B", "proposed")], True, "moved on"),
        ([("A", "proposed approved live"), ("B", "proposed approved")], True, "moved on"),
        ([("A", "proposed approved live"), ("B", "proposed approved failed")], True, "moved on"),
        ([("A", "proposed approved live"), ("B", "proposed approved put-back")], True, "moved on"),
        ([("A", "proposed approved live"), ("B", "proposed approved live")], True, "moved on"),
        ([("A", "proposed approved live"), ("B", "live"), ("C", "proposed rejected")], True, "moved on"),
        ([("A", "live rolled-back"), ("-", "rollback live"), ("B", "proposed rejected")], True, "moved on"),
        ([("A", "proposed rejected"), ("B", "proposed rejected")], True, "moved on"),
        ([("B", "proposed approved live"), ("A", "proposed rejected")], False, "rejected"),
        ([("A", "live rolled-back")], False, "rolled back"),
        ([("B", "live"), ("A", "proposed live rolled-back"), ("-", "rollback live")], False, "rolled back"),
        ([("B", "live"), ("A", "proposed live rolled-back"), ("B", "rollback live")], False, "rolled back"),
        ([("C", "live"), ("B", "live rolled-back"), ("-", "rollback failed")], True, "moved on"),
        ([("A", "live"), ("B", "live rolled-back"), ("A", "rollback live")], False, "it is live"),
        ([("A", "live"), ("B", "live rolled-back"), ("A", "rollback live"), ("C", "rejected")], False, "it is live"),
        ([("A", "live"), ("B", "live rolled-back"), ("A", "rollback live"), ("C", "proposed")], True, "moved on"),
        ([("A", "live"), ("B", "live rolled-back"), ("A", "rollback rejected")], True, "moved on"),
        ([("A", "live"), ("B", "rejected"), ("C", "rollback approved")], False, "it is live"),
        ([("A", "live"), ("B", "live rolled-back"), ("C", "rollback live")], True, "moved on"),
        ([("A", "live"), ("-", "observed")], False, "it is live"),
        ([("-", "observed")], True, "nothing was ever"),
        ([("A", "proposed rejected"), ("-", "failed")], False, "it was rejected"),
        ([("-", "failed")], True, "nothing was ever"),
        ([("A", "proposed failed"), ("A", "proposed")], False, "release-0001 is under way"),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else "",
)
def test_the_newest_release_decides(releases, propose, reason):
    decision = decide(ledger(*releases), "A", now=LATER)
    assert decision.propose is propose
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(1, FIRST_WAIT), (2, 2 * FIRST_WAIT), (3, 4 * FIRST_WAIT), (7, LONGEST_WAIT), (2000, LONGEST_WAIT)],
)
def test_a_failure_is_tried_again_after_a_wait_that_doubles(failures, wait):
    facts = ledger(*[("A", "proposed failed")] * failures)
    due = facts[-1].at + wait
    assert not decide(facts, "A", now=due - timedelta(seconds=1)).propose
    assert decide(facts, "A", now=due).propose


def test_failures_of_another_version_do_not_lengthen_the_wait():
    facts = ledger(*[("B", "proposed failed")] * 9, ("A", "proposed failed"))
    assert decide(facts, "A", now=facts[-1].at + FIRST_WAIT).propose


def test_each_release_of_the_model_makes_the_next_ones_number():
    facts = ledger(("A", "proposed failed"), ("B", "proposed approved live"))
    assert decide([], "A", now=LATER).attempt == 1
    assert decide(facts, "A", now=LATER).attempt == 3
    assert decide(ledger(("A", "proposed")), "B", now=LATER).attempt == 2


def test_a_release_that_failed_without_knowing_its_version_is_not_asked_for_under_the_same_number():
    facts = ledger(("-", "failed"))
    assert decide(facts, "A", now=LATER).attempt == 2
    assert decide(facts, "A", now=LATER) == decide(facts, "A", now=LATER + timedelta(days=1))


@pytest.mark.parametrize("before", [[], [("B", "proposed approved live")], [("A", "proposed failed")]])
@pytest.mark.parametrize(("failures", "wait"), [(1, FIRST_WAIT), (2, 2 * FIRST_WAIT), (7, LONGEST_WAIT)])
def test_failures_that_knew_no_version_are_waited_for_as_well(before, failures, wait):
    facts = ledger(*before, *[("-", "failed")] * failures)
    due = facts[-1].at + wait
    assert not decide(facts, "A", now=due - timedelta(seconds=1)).propose
    assert decide(facts, "A", now=due).propose


def test_failures_that_knew_no_version_are_over_with_the_next_that_does():
    facts = ledger(*[("-", "failed")] * 9, ("A", "proposed failed"))
    assert decide(facts, "A", now=facts[-1].at + FIRST_WAIT).propose


def test_a_proposal_that_vanished_is_given_up_and_proposed_again_after_the_wait():
    facts = ledger(("A", "proposed"))
    due = START + LOST_AFTER + FIRST_WAIT
    assert "under way" in decide(facts, "A", now=START + LOST_AFTER - timedelta(seconds=1)).reason
    assert not decide(facts, "A", now=due - timedelta(seconds=1)).propose
    decision = decide(facts, "A", now=due)
    assert (decision.propose, decision.attempt) == (True, 2)
    assert "release-0000 was lost" in decision.reason


@pytest.mark.parametrize(
    "events", ["proposed approved", "proposed rejected", "proposed superseded", "proposed approved live"]
)
def test_a_proposal_that_somebody_answered_is_not_given_up(events):
    decision = decide(ledger(("A", events)), "A", now=START + timedelta(days=1000))
    assert not decision.propose


def test_the_order_of_the_lines_does_not_matter():
    facts = ledger(("A", "proposed approved live"), ("B", "proposed rejected"))
    for version in "AB":
        forward = decide(facts, version, now=LATER)
        assert decide(facts[::-1], version, now=LATER) == forward


def test_a_gate_that_may_wait_longer_is_lost_later():
    facts = ledger(("A", "proposed"))
    now = facts[-1].at + LOST_AFTER + LONGEST_WAIT
    assert decide(facts, "A", now=now).propose
    assert not refresh.decide(facts, "A", answer_within=timedelta(days=30), now=now).propose


def test_an_alias_that_goes_there_and_back_asks_each_time_that_something_else_is_live():
    facts = ledger(("2", "proposed approved live"))
    decided = partial(decide, now=LATER)
    assert decided(facts, "3").propose
    facts = ledger(("2", "proposed approved live"), ("3", "proposed approved live"))
    assert decided(facts, "2").propose, "3 is live, the alias leads to 2 again"
    facts = ledger(("2", "proposed approved live"), ("3", "proposed approved live"), ("2", "proposed rejected"))
    assert not decided(facts, "2").propose, "somebody said no"
    assert not decided(facts, "3").propose, "3 was never taken out of service"
    facts = ledger(*[(version, "proposed approved live") for version in "232"])
    assert decided(facts, "3") == refresh.Decision(True, "the source has moved on", 4)


def test_releases_before_those_that_are_known_make_the_number_higher():
    decided = partial(decide, ledger(("B", "proposed approved live")), "A", now=LATER)
    assert (decided().attempt, decided(earlier=41).attempt) == (2, 43)


def test_of_too_many_models_each_has_its_turn_soon():
    models = [f"model-{number}" for number in range(1500)]
    assert first(models, 2000, "a look") == set(models)
    looks = [first(models, 1000, f"look-{number}") for number in range(12)]
    assert {len(look) for look in looks} == {1000}
    assert set.union(*looks) == set(models)
    assert first(models, 1000, "look-0") == looks[0], "a task that is tried again asks for the same"


DAY = timedelta(days=1)
DUE = {
    "always": (None, START, START, True),
    "never looked at": (DAY, None, START, True),
    "in this interval": (DAY, START, START + timedelta(hours=23), False),
    "in the one before": (DAY, START - timedelta(minutes=1), START, True),
    "long ago": (DAY, START - 9 * DAY, START, True),
    "twice at once": (timedelta(hours=1), START, START, False),
}


@pytest.mark.parametrize(("every", "before", "now", "expected"), DUE.values(), ids=DUE)
def test_a_model_is_looked_at_as_often_as_its_file_says(every, before, now, expected):
    assert due(every, before, now) is expected
