"""Whether somebody else changed what is served: the truth table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from modelberth.core.drift import Left, Seen, differences

EARLIER, THEN, LATER = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))
LEFT = Left("r1", {"server/MODEL_PATH": "/m/a"}, "m@sha256:a", "sha256:d", THEN)
SAME = Seen({"server/MODEL_PATH": "/m/a"}, "m@sha256:a", "sha256:d", THEN, under_way=False)
NEVER = replace(SAME, values={"server/MODEL_PATH": None}, revision=None, receipt=None, at=None)
OTHERS = Seen({"server/MODEL_PATH": "/m/b"}, None, None, None, under_way=False)


@pytest.mark.parametrize(
    ("left", "seen", "said"),
    [
        (LEFT, SAME, []),
        (None, NEVER, []),
        (None, SAME, []),
        (None, replace(SAME, at=None), ["names receipt sha256:d, of which nothing is on record"]),
        (None, replace(SAME, at=None, under_way=True), []),
        (LEFT, replace(SAME, values={"server/MODEL_PATH": "/m/b"}), ["'/m/b', but release r1 left '/m/a'"]),
        (LEFT, replace(SAME, values={"server/MODEL_PATH": None}), ["None, but release r1"]),
        (LEFT, replace(SAME, revision=None), ["names revision None"]),
        (LEFT, replace(SAME, receipt="sha256:e", at=None), ["names receipt sha256:e, but release r1"]),
        (LEFT, replace(SAME, receipt="sha256:e", at=EARLIER), ["names receipt sha256:e, but release r1"]),
        (LEFT, replace(SAME, receipt="sha256:e", at=LATER), []),
        (LEFT, replace(SAME, values={"server/MODEL_PATH": "/m/b"}, receipt="sha256:e", at=LATER), ["/m/b"]),
        (LEFT, OTHERS, ["/m/b", "revision", "receipt"]),
        (LEFT, replace(OTHERS, under_way=True), []),
        (LEFT, replace(SAME, values={"more/PATH": "/m/b"}), ["more/PATH"]),
    ],
)
def test_what_is_not_as_the_last_release_left_it_is_said(left, seen, said):
    found = differences(left, seen)
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True))
