"""What a release amounts to, and that its run's colour says so."""

from __future__ import annotations

import pytest

from modelberth.core.ledger import End, verdict

LIVE, BACK, LOST = "live", "put back", "lost"


@pytest.mark.parametrize(
    ("events", "outcomes", "end", "event"),
    [
        ({"proposed", "approved", "live"}, {"a": LIVE}, End.SUCCESS, None),
        ({"proposed", "rejected"}, {"a": None}, End.SKIPPED, None),
        ({"proposed", "superseded"}, {"a": None}, End.SKIPPED, None),
        ({"proposed", "rejected"}, {"a": LIVE}, End.FAILED, None),
        ({"proposed"}, {}, End.FAILED, "failed"),
        (set(), {}, End.FAILED, "failed"),
        ({"proposed"}, {"a": None}, End.FAILED, "failed"),
        ({"proposed", "approved"}, {"a": None}, End.FAILED, "failed"),
        ({"proposed", "approved"}, {"a": LIVE, "b": None}, End.FAILED, "failed"),
        ({"proposed", "approved"}, {"a": BACK}, End.FAILED, "put-back"),
        ({"proposed", "approved"}, {"a": LOST}, End.FAILED, "put-back"),
        ({"proposed", "approved"}, {"a": LIVE, "b": BACK}, End.FAILED, "put-back"),
        ({"proposed", "approved"}, {"a": LIVE, "b": LIVE}, End.FAILED, None),
    ],
)
def test_a_release_ends_as_its_evidence_says(events, outcomes, end, event):
    found = verdict(events, outcomes)
    assert (found.end, found.event) == (end, event)
    assert found.reason
