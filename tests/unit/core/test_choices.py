import pytest

from modelberth.core.choices import (
    FAST,
    PROBE,
    From,
    Pace,
    Sending,
    may_be_there,
    next_copy,
    sending,
    take_from,
    to_return,
)
from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode
from modelberth.core.revision import Snapshot

OURS = (3, "AAAA")


def copies(*numbers):
    return [Snapshot(Digest("0" * 64), number) for number in numbers]


@pytest.mark.parametrize(
    ("there", "known", "expected"),
    [
        (OURS, False, Sending.KEEP),
        (OURS, True, Sending.KEEP),
        ((3, "BBBB"), False, Sending.REFUSE),
        ((4, "AAAA"), True, Sending.REFUSE),
        (None, True, Sending.COPY),
        (None, False, Sending.SEND),
    ],
)
def test_what_an_upload_does_with_a_file(there, known, expected):
    assert sending(OURS, there, known=known) is expected


LARGE = CHUNK_SIZE + 1


@pytest.mark.parametrize(
    ("size", "seen", "expected"),
    [
        (0, "", True),
        (LARGE, "", False),
        (1, "ours", True),
        (1, "same_size", True),
        (1, "same_path ranges cheap", False),
        (CHUNK_SIZE, "same_path ranges cheap", False),
        (LARGE, "same_path ranges", True),
        (LARGE, "ranges cheap", True),
        (LARGE, "ranges", False),
        (LARGE, "same_path cheap", False),
    ],
)
def test_what_an_upload_digests_before_it_sends(size, seen, expected):
    names = ("ours", "same_size", "same_path", "ranges", "cheap")
    assert may_be_there(size, **{name: name in seen.split() for name in names}) is expected


@pytest.mark.parametrize(
    ("ready", "damaged", "expected"),
    [((), (), None), ((1, 2), (), 2), ((1, 2), (2,), 1), ((1,), (1,), None), ((1,), (2,), 1), ((2, 10), (), 10)],
)
def test_the_newest_undamaged_snapshot_is_returned(ready, damaged, expected):
    assert to_return(copies(*ready), copies(*damaged)) == (copies(expected)[0] if expected else None)


@pytest.mark.parametrize(
    ("present", "damaged", "expected"),
    [((), (), 1), ((1,), (), 2), ((1, 7), (1,), 8), ((), (1, 2), 3), ((1,), (9,), 2), ((1,), (1, 2, 3), 4)],
)
def test_the_next_copy_follows_all_that_are_there_and_none_on_record_as_damaged(present, damaged, expected):
    assert next_copy(present, damaged) == expected


@pytest.mark.parametrize("code", ExitCode)
def test_only_codes_from_10_to_19_are_worth_retrying(code):
    assert code.worth_retrying == (10 <= code < 20)
    assert code.outcome == code.name.lower().replace("_", "-")


SLOW, MIDDLING, QUICK = FAST - 1, 1.5 * (FAST - 1), 10.0 * FAST


@pytest.mark.parametrize(
    ("claim", "bucket", "asked", "left", "expected"),
    [
        (Pace(), Pace(), 0, 10**12, From.CLAIM),
        (Pace(PROBE - 1, 1.0), Pace(PROBE, QUICK), PROBE, 10**12, From.CLAIM),
        (Pace(PROBE, FAST), Pace(PROBE, QUICK), PROBE, 10**12, From.CLAIM),
        (Pace(PROBE, SLOW), Pace(), 0, 10 * PROBE - 1, From.CLAIM),
        (Pace(PROBE, SLOW), Pace(), 0, 10 * PROBE, From.PROBE),
        (Pace(PROBE, SLOW), Pace(PROBE - 1, QUICK), PROBE - 1, 10 * PROBE, From.PROBE),
        (Pace(PROBE, SLOW), Pace(PROBE - 1, QUICK), PROBE, 10 * PROBE, From.CLAIM),
        (Pace(PROBE, SLOW), Pace(PROBE, MIDDLING - 1), PROBE, 10 * PROBE, From.CLAIM),
        (Pace(PROBE, SLOW), Pace(PROBE, MIDDLING), PROBE, 1, From.BUCKET),
    ],
)
def test_what_the_claim_holds_is_fetched_only_if_the_claim_is_slow_and_the_bucket_faster(
    claim, bucket, asked, left, expected
):
    assert take_from(claim, bucket, asked, left) is expected
