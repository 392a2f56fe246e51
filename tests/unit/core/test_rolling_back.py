"""What can be served again, which of it is meant, and whether it is to be read again: the truth tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelberth.core.digest import Digest
from modelberth.core.revision import Revision, Snapshot
from modelberth.core.rollback import Held, Lived, NotPossibleError, candidates, chosen, table, wants_verify

NOW = datetime(2026, 1, 10, tzinfo=UTC)
OLD, NEW = Snapshot(Digest("a" * 64), 1), Snapshot(Digest("b" * 64), 1)
COPY = Snapshot(Digest("a" * 64), 2)


def lived(snapshot: Snapshot, day: int, by: str = "r") -> Lived:
    return Lived(snapshot, f"release-{day}", f"{by}-{day}", datetime(2026, 1, day, tzinfo=UTC))


def obstacles(past, held, damaged=(), serving=()):
    return {one.lived.snapshot: one.obstacle for one in candidates(past, held, damaged, serving)}


@pytest.mark.parametrize(
    ("held", "damaged", "serving", "obstacle"),
    [
        ([Held(OLD, "ready", 1)], [], [], None),
        ([Held(OLD, "ready", 1)], [], [OLD], "served now"),
        ([Held(OLD, "ready", 1)], [OLD], [], "on record as damaged"),
        ([Held(OLD, "ready", 1)], [OLD], [OLD], "on record as damaged"),
        ([Held(OLD, "damaged", 1)], [], [], "damaged on the claim"),
        ([Held(OLD, "foreign", None)], [], [OLD], "foreign on the claim"),
        ([], [], [], "not on the claim any more"),
        ([Held(NEW, "ready", 1), Held(COPY, "ready", 1)], [NEW], [NEW], "not on the claim any more"),
    ],
)
def test_what_was_live_can_be_served_again_if_it_is_there_and_whole(held, damaged, serving, obstacle):
    assert obstacles([lived(OLD, 1)], held, damaged, serving) == {OLD: obstacle}


def test_each_snapshot_is_there_once_as_it_was_live_last_and_the_newest_first():
    past = [lived(OLD, 1), lived(NEW, 2), lived(OLD, 3, "rollback")]
    found = candidates(past, [Held(OLD, "ready", 1)], [], [])
    assert [(one.lived.snapshot, one.lived.by) for one in found] == [(OLD, "rollback-3"), (NEW, "r-2")]


def test_a_revision_means_its_copy_that_was_live_last_and_can_be_served():
    past = [lived(OLD, 1), lived(COPY, 2)]
    both = [Held(OLD, "ready", 1), Held(COPY, "ready", 1)]
    name = str(Revision("m", OLD.digest))
    assert chosen(candidates(past, both, [], []), "m", name).lived.snapshot == COPY
    assert chosen(candidates(past, both, [COPY], []), "m", name).lived.snapshot == OLD
    assert chosen(candidates(past, both, [], []), "m", str(OLD)).lived.snapshot == OLD


@pytest.mark.parametrize(
    ("to", "why"),
    [
        (str(NEW), "it is served now"),
        (str(COPY), "never live"),
        ("other@" + str(OLD.digest), "never live"),
        ("v3", "never live"),
    ],
)
def test_what_cannot_be_served_again_is_refused_with_what_can(to, why):
    found = candidates([lived(OLD, 1), lived(NEW, 2)], [Held(OLD, "ready", 1), Held(NEW, "ready", 1)], [], [NEW])
    with pytest.raises(NotPossibleError, match=why) as caught:
        chosen(found, "m", to)
    assert str(OLD) in str(caught.value)


def test_the_table_says_of_each_what_it_is_and_why_not():
    found = candidates([lived(OLD, 9), lived(NEW, 2)], [Held(OLD, "ready", 2048)], [], [])
    _, _, first, second = table(found, NOW).splitlines()
    assert f"`{OLD}`" in first
    assert "24 hours ago" in first
    assert "2.0 KiB" in first
    assert first.endswith("| yes |")
    assert "8 days ago" in second
    assert second.endswith("| no: not on the claim any more |")
    assert "ever live" in table([], NOW)


@pytest.mark.parametrize(
    ("age", "wanted"),
    [(timedelta(0), False), (timedelta(days=7), False), (timedelta(days=7, seconds=1), True), (None, True)],
)
def test_what_nobody_read_for_a_week_is_read_again(age, wanted):
    assert wants_verify(None if age is None else NOW - age, NOW) is wanted
