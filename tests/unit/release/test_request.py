"""What a person is shown at the gate."""

from __future__ import annotations

import pytest
from plans import a_plan, a_released, a_served, a_target

from modelberth.core.plan import Difference
from modelberth.sensors.request import body, subject

VERIFIED = {"bytes": 91_000_000, "how": "direct", "node": "node-1", "at": "2026-01-02T03:05:06Z"}
LIVE = "minilm@sha256:" + "2e" * 32


def test_the_headline_says_what_goes_where():
    assert subject(a_plan()).startswith("Release minilm@1f1f1f1f1f1f (")
    assert subject(a_plan()).endswith("to embedder?")


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (None, "cannot be known"),
        (Difference(None, 5, 0, 0, 1_000), "no model of ours is live"),
        (Difference(LIVE, 0, 0, 0, 0), "the same revision"),
        (Difference(LIVE, 1, 2, 3, 1_000), "1 files added, 2 changed, 3 removed"),
    ],
)
def test_the_difference_to_what_is_live_is_said(difference, said):
    assert said in body(a_plan(targets=(a_target(served=(a_served(difference=difference),)),)), None, {})


def test_everything_that_a_decision_rests_on_is_shown():
    plan = a_plan()
    shown = body(plan, "bob", {"embedder": VERIFIED})
    target = plan.targets[0]
    for part in (
        str(plan.digest),
        str(plan.own.revision),
        "bob",
        "direct",
        "node-1",
        VERIFIED["at"],
        target.bindings[0].to,
    ):
        assert part in shown
    assert "RollingUpdate (maxSurge 1)" in shown


def test_a_cell_cannot_leave_its_table():
    shown = body(a_plan(models=(a_released(source_version="a|b"),)), None, {})
    assert "`a\\|b`" in shown
