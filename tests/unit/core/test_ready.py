import pytest

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.ready import Ready, Rehash, stats_digest, to_rehash
from modelberth.core.revision import Revision

STATS = {"a": (1, 2, 3, 4)}
MOVED = {"a": (1, 9, 3, 4)}
READY = Ready(Revision("minilm", Digest("0" * 64)), "ab" * 16, "2026-11-22T17:06:26Z", STATS)


def document(**changes):
    return canonical.dump(canonical.load(READY.dump()) | changes)


def test_a_record_is_read_back_as_it_was_written():
    assert Ready.parse(READY.dump()) == READY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        READY.dump()[:-1],
        document(schema=2),
        document(extra=1),
        document(revision="x"),
        document(stats=[]),
        document(stats={"a": [1, 2, 3]}),
        document(stats={"a": [1, 2, 3, "4"]}),
        document(stats={"a": None}),
        document(revision=None),
    ],
)
def test_anything_else_makes_the_directory_foreign(data):
    with pytest.raises(Failure) as raised:
        Ready.parse(data)
    assert raised.value.code is ExitCode.FOREIGN


@pytest.mark.parametrize(
    ("now", "published", "verified", "expected"),
    [
        (STATS, STATS, None, Rehash.EVERYTHING),
        (STATS, STATS, stats_digest(STATS), Rehash.NOTHING),
        (MOVED, STATS, stats_digest(MOVED), Rehash.NOTHING),
        (MOVED, STATS, stats_digest(STATS), Rehash.DIFFERING),
        (STATS, STATS, stats_digest(MOVED), Rehash.EVERYTHING),
        (MOVED, STATS, stats_digest({}), Rehash.EVERYTHING),
    ],
)
def test_only_what_no_verify_has_seen_is_read_again(now, published, verified, expected):
    assert to_rehash(now, published, verified) is expected
