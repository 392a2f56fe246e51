import pytest

from modelberth.core import canonical
from modelberth.core.damage import Damage, Problem, Range, joined
from modelberth.core.digest import Digest
from modelberth.core.revision import Revision, Snapshot

DIGEST = Digest("ab" * 32)
REVISION, SNAPSHOT = Revision("minilm", DIGEST), Snapshot(DIGEST, 1)
RECORD = Damage(1, REVISION, SNAPSHOT, "2026-11-22T17:06:26Z", "node-7", 2, (Range("m.bin", 0, 16),))


def problem(file, start, length):
    return Problem(file, start, length, "text")


@pytest.mark.parametrize(
    ("problems", "ranges"),
    [
        ([], ()),
        ([("a", 0, 8), ("a", 8, 8)], (("a", 0, 16),)),
        ([("a", 8, 8), ("a", 0, 8)], (("a", 0, 16),)),
        ([("a", 0, 8), ("a", 16, 8)], (("a", 0, 8), ("a", 16, 8))),
        ([("a", 0, 8), ("b", 8, 8)], (("a", 0, 8), ("b", 8, 8))),
        ([("a", 0, 20), ("a", 8, 8)], (("a", 0, 20),)),
        ([("d", 0, 0)], (("d", 0, 0),)),
        ([("\udcff", 0, 0)], (("\\udcff", 0, 0),)),
        ([("x" * 5000, 0, 0)], (("x" * 800, 0, 0),)),
    ],
)
def test_neighbours_are_joined_and_any_name_can_be_said(problems, ranges):
    found = joined([problem(*one) for one in problems])
    assert found == tuple(Range(*one) for one in ranges)
    canonical.dump([one.file for one in found])


def test_a_record_has_an_end_however_much_is_wrong():
    assert len(joined([problem("a", 2 * n, 1) for n in range(50_000)])) == 10_000


def test_a_record_reads_back_as_it_was_written():
    assert Damage.read(RECORD.dump(), REVISION, SNAPSHOT) == RECORD


def changed(**more):
    return canonical.dump(canonical.load(RECORD.dump()) | more)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        RECORD.dump() + b"\n",
        changed(schema=2),
        changed(schema=True),
        changed(more=1),
        changed(problems=[]),
        changed(problems=[{"file": "a", "start": -1, "length": 0}]),
        changed(problems=[{"file": "a", "start": 0, "length": True}]),
        changed(problems=[{"file": "a", "start": 0}]),
        changed(problems="all"),
        changed(snapshot=f"{DIGEST.hex}.2"),
        changed(snapshot="x"),
        changed(revision=f"other@{DIGEST}"),
        changed(at=5),
    ],
)
def test_whatever_is_no_record_of_this_snapshot_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        Damage.read(data, REVISION, SNAPSHOT)


def test_a_record_too_large_to_be_one_is_not_parsed(monkeypatch):
    monkeypatch.setattr("modelberth.core.damage.LARGEST_RECORD", 10)
    with pytest.raises(ValueError, match="over 10 bytes"):
        Damage.read(RECORD.dump(), REVISION, SNAPSHOT)
