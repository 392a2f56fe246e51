"""What becomes of an upload whose task is told to end."""

import pytest

from modelberth.core.leaving import GONE, wanted


@pytest.mark.parametrize(
    ("state", "goes_on"),
    [
        ("failed", False),
        ("success", False),
        ("skipped", False),
        ("removed", False),
        ("upstream_failed", False),
        ("restarting", False),
        (GONE, False),
        ("up_for_retry", True),
        ("scheduled", True),
        ("queued", True),
        ("running", True),
        (None, True),
        ("a state of a later Airflow", True),
    ],
)
def test_only_what_nobody_comes_for_again_ends(state, goes_on):
    assert wanted(state) is goes_on
