"""What somebody else changed since the last release: found, and said at the gate."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelberth.core.outside import changes, newest_live
from modelberth.sensors.request import observed
from plans import RELEASE, a_binding, a_plan, a_released, a_served, a_target

LEFT = a_binding().to


def now(live: str | None, **target):
    return a_plan(targets=(a_target(bindings=(a_binding(from_=live),), **target),))


@pytest.mark.parametrize("live", [None, "", "/models/by/hand"])
def test_a_value_that_is_not_as_it_was_left_was_changed_from_outside(live):
    [change] = changes(now(live), {"minilm": a_plan()})
    assert (change.target, change.variable, change.left, change.found) == ("embedder", "server/MODEL_PATH", LEFT, live)
    assert change.since == RELEASE
    shown = observed([change.document()])
    for part in (LEFT, live or "not set", RELEASE, "starts from what is there"):
        assert part in shown


@pytest.mark.parametrize(
    ("plan", "last"),
    [
        (now(LEFT), {"minilm": a_plan()}),
        (now("/models/by/hand"), {}),
        (now("/models/by/hand"), {"another": a_plan()}),
        (now("/models/by/hand", name="embedder-new"), {"minilm": a_plan()}),
    ],
)
def test_what_is_as_it_was_left_or_was_never_ours_was_not(plan, last):
    assert changes(plan, last) == []
    assert observed([]) == ""


def test_every_model_is_compared_with_its_own_last_release():
    bindings = (a_binding(from_=LEFT), a_binding("adapter", "ADAPTER_PATH", "/by/hand"))
    both = a_target(served=(a_served(), a_served("adapter")), bindings=bindings)
    plan = a_plan(models=(a_released(), a_released("adapter")), targets=(both,))
    adapter = a_target(served=(a_served("adapter"),), bindings=(a_binding("adapter", "ADAPTER_PATH"),))
    last = a_plan(model="adapter", models=(a_released("adapter"),), targets=(adapter,))
    [change] = changes(plan, {"minilm": a_plan(), "adapter": last})
    assert (change.model, change.found) == ("adapter", "/by/hand")


def test_the_last_that_went_live_counts_whatever_was_proposed_since():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 6)]
    entries = [(days[0], "a", "live"), (days[2], "c", "live"), (days[1], "b", "live"), (days[4], "d", "proposed")]
    assert newest_live(entries) == "c"
    assert newest_live([(days[0], "a", "proposed")]) is None
