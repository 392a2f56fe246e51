"""Which snapshots a text names."""

import pytest

from modelberth.core.digest import Digest
from modelberth.core.mentions import Mention, mentions
from modelberth.core.revision import Snapshot

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("/models/m/none", set()),
        (f"/models/m/{A}.2/files", {(A, 2)}),
        (f"m@sha256:{A}", {(A, 0)}),
        (f"m@sha256:{A}.3", {(A, 3)}),
        (f"m@sha256:{A} and /m/{A}.2/files", {(A, 2)}),
        (f"m@sha256:{A} and /m/{B}.2/files", {(A, 0), (B, 2)}),
        (f"{A}.1 {A}.2", {(A, 1), (A, 2)}),
        (f"{A}.1.2", {(A, 1)}),
        (f"{A}.json", {(A, 0)}),
        (f"{A}.0", {(A, 0)}),
        (f"{A}.1234567", {(A, 0)}),
        (f"{A}a.1", set()),
        (f"{A[1:]}.1", set()),
        (A.upper(), set()),
        (f"x{A}.1", {(A, 1)}),
    ],
)
def test_a_text_names(text, expected):
    assert {(one.digest.hex, one.copy) for one in mentions(text)} == expected


@pytest.mark.parametrize(
    ("mention", "snapshot", "meant"),
    [
        (Mention(Digest(A)), Snapshot(Digest(A), 7), True),
        (Mention(Digest(A), 7), Snapshot(Digest(A), 7), True),
        (Mention(Digest(A), 1), Snapshot(Digest(A), 7), False),
        (Mention(Digest(B)), Snapshot(Digest(A), 7), False),
    ],
)
def test_a_mention_means(mention, snapshot, meant):
    assert mention.means(snapshot) is meant
