"""What becomes of a snapshot: the table row by row, and whatever the order of events, nothing used is deleted."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelberth.core.digest import Digest
from modelberth.core.mentions import Mention
from modelberth.core.prune import (
    LEAST_GRACE,
    Do,
    Lying,
    Seen,
    Standing,
    Unknown,
    Use,
    decide,
    last_live,
    may_go_on,
    second_look,
    standing,
)
from modelberth.core.prunelist import claimed, in_bucket, table
from modelberth.core.revision import Snapshot

NOW = datetime(2026, 1, 20, tzinfo=UTC)
GRACE = timedelta(days=7)
LONG_AGO, JUST_NOW, LATER = NOW - timedelta(days=8), NOW - timedelta(hours=1), NOW + timedelta(hours=1)


def snapshot(letter="a", copy=1):
    return Snapshot(Digest(letter * 64), copy)


ONE = Lying("m", snapshot(), "ready", 100)
USED = Seen(uses=(Use("Deployment serving/embedder", Mention(Digest("a" * 64), 1)),))
UNUSED = Seen(uses=(Use("Deployment serving/embedder", Mention(Digest("b" * 64))),))
DOUBT = Seen(unknown=(Unknown("Connection 'c' may not list cronjobs."),))
OTHER_MODEL = Seen(unknown=(Unknown("Container 'x' uses 'n' on the claim.", "n"),))


@pytest.mark.parametrize(
    ("state", "seen", "condemned", "trashed", "expected"),
    [
        ("ready", USED, None, False, Do.KEEP),
        ("ready", USED, LONG_AGO, False, Do.LIFT),
        ("ready", USED, LONG_AGO, True, Do.LIFT),
        ("ready", USED, None, True, Do.LIFT),
        ("ready", UNUSED, None, False, Do.CONDEMN),
        ("ready", UNUSED, JUST_NOW, False, Do.WAIT),
        ("ready", UNUSED, NOW - GRACE, False, Do.DELETE),
        ("ready", UNUSED, NOW - GRACE + timedelta(seconds=1), False, Do.WAIT),
        ("ready", UNUSED, LONG_AGO, False, Do.DELETE),
        ("ready", UNUSED, LATER, False, Do.WAIT),
        ("ready", UNUSED, LONG_AGO, True, Do.DELETE),
        ("ready", UNUSED, JUST_NOW, True, Do.LIFT),
        ("ready", UNUSED, None, True, Do.LIFT),
        ("ready", DOUBT, None, False, Do.REFUSE),
        ("ready", DOUBT, LONG_AGO, False, Do.REFUSE),
        ("ready", DOUBT, LONG_AGO, True, Do.LIFT),
        ("ready", OTHER_MODEL, LONG_AGO, False, Do.DELETE),
        ("damaged", UNUSED, None, False, Do.CONDEMN),
        ("damaged", UNUSED, LONG_AGO, False, Do.DELETE),
        ("damaged", USED, None, False, Do.KEEP),
        ("foreign", UNUSED, None, False, Do.REFUSE),
        ("foreign", USED, LONG_AGO, False, Do.REFUSE),
        ("trash", UNUSED, LONG_AGO, True, Do.DELETE),
        ("trash", USED, LONG_AGO, True, Do.LIFT),
    ],
)
def test_a_snapshot_is(state, seen, condemned, trashed, expected):
    one = replace(ONE, state=state, condemned=condemned, trashed=trashed)
    assert decide(one, seen, GRACE, NOW).do is expected


@pytest.mark.parametrize("condemned", [None, LONG_AGO])
def test_use_is_stronger_than_doubt_and_both_are_said(condemned):
    one = replace(ONE, condemned=condemned)
    both = Seen(USED.uses, DOUBT.unknown)
    assert decide(one, both, GRACE, NOW).do in (Do.KEEP, Do.LIFT)
    assert "Deployment serving/embedder" in decide(one, both, GRACE, NOW).why
    assert decide(one, DOUBT, GRACE, NOW).why.endswith("Connection 'c' may not list cronjobs.")


def test_many_users_are_counted_not_listed():
    uses = tuple(Use(f"Pod serving/{number}", Mention(Digest("a" * 64), 1)) for number in range(9))
    assert "and 6 more" in decide(ONE, Seen(uses=uses), GRACE, NOW).why


@pytest.mark.parametrize(
    ("seen", "trashed", "expected"),
    [
        (USED, False, Do.LIFT),
        (USED, True, Do.LIFT),
        (DOUBT, True, Do.LIFT),
        (DOUBT, False, Do.WAIT),
        (UNUSED, True, Do.DELETE),
        (UNUSED, False, Do.WAIT),
    ],
)
def test_at_the_second_look_it_is(seen, trashed, expected):
    assert second_look(replace(ONE, condemned=LONG_AGO, trashed=trashed), seen).do is expected


# What was live, and what is about to be -------------------------------------------------------------------------------


def kept(lived, lying, keep=2):
    return {(one.mention.digest.hex[0], one.mention.copy) for one in last_live(lived, lying, {"m": keep})}


def ready(letter, copy=1, state="ready"):
    return Lying("m", snapshot(letter, copy), state)


@pytest.mark.parametrize(
    ("letters", "lying", "expected"),
    [
        ("abc", [ready("a"), ready("b"), ready("c")], {("a", 1), ("b", 1)}),
        ("aab", [ready("a"), ready("b"), ready("c")], {("a", 1), ("b", 1)}),
        ("aba", [ready("a"), ready("b")], {("a", 1), ("b", 1)}),
        ("a", [ready("a"), ready("b")], {("a", 1)}),
        ("", [ready("a")], set()),
        ("ab", [ready("a", state="damaged"), ready("b")], {("b", 1)}),
        ("ab", [ready("a", state="damaged"), ready("a", 2), ready("b")], {("a", 2), ("b", 1)}),
        ("ab", [ready("a", 2), ready("a", 3), ready("b")], {("a", 3), ("b", 1)}),
        ("abc", [ready("c")], set()),
    ],
)
def test_the_last_that_were_live_are_kept(letters, lying, expected):
    assert kept({("embedder", "m"): [snapshot(letter) for letter in letters]}, lying) == expected


def test_each_service_keeps_its_own_last_ones_and_a_model_without_a_file_none():
    lived = {("a", "m"): [snapshot("a")], ("b", "m"): [snapshot("b")], ("a", "gone"): [snapshot("c")]}
    assert kept(lived, [ready("a"), ready("b"), ready("c")], keep=1) == {("a", 1), ("b", 1)}


@pytest.mark.parametrize(
    ("events", "newer", "expected"),
    [
        ("", False, Standing.ENDED),
        ("observed", False, Standing.ENDED),
        ("failed", False, Standing.ENDED),
        ("proposed", False, Standing.PENDING),
        ("proposed", True, Standing.PENDING),
        ("rollback", False, Standing.PENDING),
        ("proposed approved", False, Standing.PENDING),
        ("proposed approved live", False, Standing.ENDED),
        ("proposed rejected", False, Standing.ENDED),
        ("proposed superseded", False, Standing.ENDED),
        ("proposed approved put-back", False, Standing.ENDED),
        ("rollback live", False, Standing.ENDED),
        ("proposed failed", False, Standing.FAILED),
        ("proposed failed", True, Standing.ENDED),
        ("proposed failed approved", False, Standing.FAILED),
        ("proposed failed approved", True, Standing.ENDED),
        ("rollback failed", False, Standing.FAILED),
        ("rollback failed", True, Standing.FAILED),
        ("rollback failed approved", False, Standing.FAILED),
        ("rollback failed approved", True, Standing.ENDED),
        ("proposed failed approved live", False, Standing.ENDED),
        ("proposed failed rejected", False, Standing.ENDED),
    ],
)
def test_the_ledger_says_how_a_release_stands(events, newer, expected):
    assert standing(events.split(), newer) is expected


@pytest.mark.parametrize(
    ("outcomes", "approved", "answer_until", "expected"),
    [
        ([None], False, LATER, True),
        ([None], False, NOW, True),
        ([None], False, JUST_NOW, False),
        ([None], True, LONG_AGO, True),
        ([None, None], True, LONG_AGO, True),
        (["live", None], True, LONG_AGO, True),
        (["live"], True, LATER, False),
        (["live", "live"], True, LATER, False),
        (["put back"], True, LATER, False),
        (["put back", None], True, LATER, False),
        (["live", "lost"], True, LATER, False),
    ],
)
def test_what_failed_goes_on_while_its_approval_counts_or_can_be_given(outcomes, approved, answer_until, expected):
    assert may_go_on(outcomes, approved, answer_until, NOW) is expected


# What a claim is said to hold -----------------------------------------------------------------------------------------

LISTING = {
    "models": [
        {
            "model": "m",
            "snapshots": [
                {"snapshot": f"{'a' * 64}.1", "state": "ready", "bytes": 5, "condemned": "2026-01-12T00:00:00Z"},
                {"snapshot": f"{'b' * 64}.1", "state": "ready", "bytes": 6},
                {"snapshot": f"{'c' * 64}.1", "state": "foreign"},
                {"snapshot": f"{'d' * 64}.1", "state": "ready", "bytes": 7, "condemned": None},
            ],
        }
    ],
    "trash": [{"model": "m", "snapshot": f"{'e' * 64}.2", "state": "trash", "bytes": 8, "condemned": None}],
    "staging": [
        {"model": "m", "digest": f"sha256:{'f' * 64}", "bytes": 9, "idle_seconds": 86400},
        {"model": "m", "digest": f"sha256:{'0' * 64}", "bytes": 9, "idle_seconds": 86399},
    ],
}


def test_a_listing_is_read_as_what_lies_there():
    found = claimed(LISTING, damaged={("m", snapshot("b")), ("other", snapshot("a"))})
    assert [(one.snapshot.digest.hex[0], one.state, one.trashed) for one in found.snapshots] == [
        *(("a", "ready", False), ("b", "damaged", False), ("c", "foreign", False), ("d", "ready", False)),
        ("e", "trash", True),
    ]
    assert [one.condemned for one in found.snapshots] == [datetime(2026, 1, 12, tzinfo=UTC), None, None, None, None]
    assert [one.bytes for one in found.snapshots] == [5, 6, 0, 7, 8]
    assert dict(found.staging) == {f"m@sha256:{'f' * 64}": 9}


def test_a_bucket_is_read_as_revisions_and_what_is_half_removed():
    rows = [
        {"revision": f"m@sha256:{'a' * 64}", "state": "ready", "condemned": "2026-01-12T00:00:00Z"},
        {"revision": f"m@sha256:{'b' * 64}", "state": "ready"},
        {"revision": f"m@sha256:{'c' * 64}", "state": "doomed"},
    ]
    there, doomed = in_bucket({"revisions": rows})
    assert [str(one) for one in there] == [f"m@sha256:{'a' * 64}", f"m@sha256:{'b' * 64}"]
    assert there[0].this_condemnation == f"m@sha256:{'a' * 64}=2026-01-12T00:00:00Z"
    assert doomed == [f"m@sha256:{'c' * 64}"]
    other_copy = Seen(uses=(Use("Pod serving/p", Mention(Digest("a" * 64), 7)),))
    assert decide(there[0], other_copy, GRACE, NOW).do is Do.DELETE
    assert decide(there[0], other_copy.of_revisions(), GRACE, NOW).do is Do.LIFT


def test_the_table_shows_what_changes_first_and_each_doubt_once():
    decisions = [decide(replace(ONE, snapshot=snapshot(letter)), USED, GRACE, NOW) for letter in "ab"]
    lines = table(decisions, {f"m@sha256:{'f' * 64}": 2048}, Seen(unknown=DOUBT.unknown * 2)).splitlines()
    assert [line.split(" | ")[3] for line in lines[2:5]] == ["condemn", "keep", "delete"]
    assert "2.0 KiB" in lines[4]
    assert lines[-1] == "* Connection 'c' may not list cronjobs."
    assert sum(line.startswith("* ") for line in lines) == 1
    assert table([], {}, UNUSED) == "There is nothing."


# Whatever happens in whatever order -----------------------------------------------------------------------------------

X = snapshot()


@dataclass
class World:
    """One snapshot and whoever uses it, as they are; a prune sees them only when it looks."""

    now: datetime = NOW
    place: str = "placed"
    mark: datetime | None = None
    used: bool = False
    blind: bool = False

    def lying(self):
        return [Lying("m", X, "ready", 1, self.mark, self.place == "trashed")] if self.place != "gone" else []

    def seen(self):
        uses = (Use("Deployment serving/d", Mention(X.digest, X.copy)),) if self.used else ()
        return Seen(uses, (Unknown("No right to look."),) if self.blind else ())

    def lift(self):
        if self.place == "trashed":
            self.place = "placed"
        self.mark = None


WHICH = st.integers(0, 2)


class Prunes(RuleBasedStateMachine):
    """Prunes of several Airflows, each of which may be late or die between any two of its steps."""

    grace = timedelta(seconds=LEAST_GRACE)

    @initialize()
    def begin(self):
        self.world, self.looked, self.looked_again, self.deleted_in_use = World(), [], [], False

    @rule()
    def the_grace_passes(self):
        self.world.now += self.grace

    @rule()
    def a_little_time_passes(self):
        self.world.now += timedelta(minutes=1)

    @rule()
    def a_release_takes_it(self):
        """It finds it in its place, lifts the mark, and its workload names it from then on."""
        if self.world.place == "placed":
            self.world.lift()
            self.world.used = True

    @rule()
    def a_person_points_a_workload_at_it(self):
        self.world.used |= self.world.place == "placed"

    @rule()
    def the_workload_goes(self):
        self.world.used = False

    @rule(blind=st.booleans())
    def rights_change(self, blind):
        self.world.blind = blind

    @rule()
    def a_prune_looks(self):
        seen = self.world.seen()
        self.looked += [decide(one, seen, self.grace, self.world.now) for one in self.world.lying()]

    @rule(which=WHICH)
    def a_prune_moves_it_as_it_decided_some_time_ago(self, which):
        if which >= len(self.looked):
            return
        world, decision = self.world, self.looked.pop(which)
        if decision.do is Do.CONDEMN and world.place == "placed":
            world.mark = world.mark or world.now
        elif decision.do is Do.LIFT:
            world.lift()
        elif decision.do is Do.DELETE and self._is_about_now(decision) and world.place == "placed":
            world.place = "trashed"
        self.looked_again += [second_look(one, world.seen()) for one in world.lying()]

    @rule(which=WHICH)
    def a_prune_ends_it_as_it_saw_it_again(self, which):
        if which >= len(self.looked_again):
            return
        decision = self.looked_again.pop(which)
        if decision.do is Do.LIFT:
            self.world.lift()
        elif decision.do is Do.DELETE and self._is_about_now(decision) and self.world.place == "trashed":
            self.world.place = "gone"
            self.deleted_in_use = self.world.used

    def _is_about_now(self, decision):
        """What ``=<time>`` after a snapshot's name asks for."""
        return self.world.mark is not None and self.world.mark == decision.lying.condemned

    @invariant()
    def nothing_used_is_deleted(self):
        assert not self.deleted_in_use


Prunes.TestCase.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
test_whatever_the_order_of_events_nothing_used_is_deleted = Prunes.TestCase


def test_a_delete_that_comes_late_does_not_hit_what_was_used_and_condemned_again_meanwhile():
    """Too long a story for chance to tell."""
    prunes = Prunes()
    prunes.begin()

    def goes_through(do):
        prunes.a_prune_looks()
        assert prunes.looked[-1].do is do
        prunes.a_prune_moves_it_as_it_decided_some_time_ago(0)
        return prunes.looked_again.pop()

    goes_through(Do.CONDEMN)
    prunes.the_grace_passes()
    late = goes_through(Do.DELETE)
    assert late.do is Do.DELETE
    prunes.rights_change(blind=True)
    goes_through(Do.LIFT)
    prunes.rights_change(blind=False)
    goes_through(Do.CONDEMN)
    prunes.the_grace_passes()
    prunes.a_prune_looks()
    prunes.a_person_points_a_workload_at_it()
    prunes.a_prune_moves_it_as_it_decided_some_time_ago(0)
    assert prunes.world.place == "trashed"
    prunes.looked_again.insert(0, late)
    prunes.a_prune_ends_it_as_it_saw_it_again(0)
    assert prunes.world.place == "trashed"
    prunes.a_prune_ends_it_as_it_saw_it_again(0)
    assert prunes.world.place == "placed"
