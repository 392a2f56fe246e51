"""The name of a release."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from modelberth.core.release import RELEASE_ID, release_id

NOON = datetime(2026, 1, 2, 12, 0, 5, 999999, tzinfo=UTC)


def test_it_is_the_same_for_every_task_and_retry_of_a_run():
    assert release_id("release_minilm", "manual__1", NOON) == release_id("release_minilm", "manual__1", NOON)


def test_it_has_the_form_that_uploads_accept():
    assert release_id("release_minilm", "manual__1", NOON) == "20260102t120005z-673e150ca9"
    assert RELEASE_ID.fullmatch(release_id("release_minilm", "Ünïcode run / 1", NOON))


def test_its_time_is_utc_wherever_the_scheduler_runs():
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert release_id("d", "r", there) == release_id("d", "r", NOON)


@pytest.mark.parametrize("other", [("release_other", "manual__1"), ("release_minilm", "manual__2")])
def test_two_runs_of_one_second_have_two_names(other):
    assert release_id(*other, NOON) != release_id("release_minilm", "manual__1", NOON)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        release_id("d", "r", NOON.replace(tzinfo=None))
