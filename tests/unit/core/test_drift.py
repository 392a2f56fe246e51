"""Whether somebody else changed what is served: the truth table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelberth.core.drift import Left, Seen, differences

LEFT = Left("r1", {"server/MODEL_PATH": "/m/a"}, "m@sha256:a", "sha256:d")
SAME = Seen({"server/MODEL_PATH": "/m/a"}, "m@sha256:a", "sha256:d", under_way=False)


@pytest.mark.parametrize(
    ("left", "seen", "said"),
    [
        (LEFT, SAME, []),
        (None, replace(SAME, values={"server/MODEL_PATH": None}, revision=None, receipt=None), []),
        (None, SAME, []),
        (LEFT, replace(SAME, values={"server/MODEL_PATH": "/m/b"}), ["'/m/b', but release r1 left '/m/a'"]),
        (LEFT, replace(SAME, values={"server/MODEL_PATH": None}), ["None, but release r1"]),
        (LEFT, replace(SAME, revision=None), ["names revision None"]),
        (LEFT, replace(SAME, receipt="sha256:e"), ["names receipt sha256:e"]),
        (LEFT, Seen({"server/MODEL_PATH": "/m/b"}, None, None, under_way=False), ["/m/b", "revision", "receipt"]),
        (LEFT, Seen({"server/MODEL_PATH": "/m/b"}, None, None, under_way=True), []),
        (LEFT, Seen({"more/PATH": "/m/b"}, "m@sha256:a", "sha256:d", under_way=False), ["more/PATH"]),
    ],
)
def test_what_is_not_as_the_last_release_left_it_is_said(left, seen, said):
    found = differences(left, seen)
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True))
