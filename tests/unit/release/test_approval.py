"""The gate's last word: what an approval, a check and the ledger allow."""

from __future__ import annotations

import pytest
from plans import a_plan, a_target

from modelberth.core.approval import check_problems, problems, superseding

PLAN = a_plan()
GOOD = {
    "decision": "approve",
    "plan_digest": str(PLAN.digest),
    "release_id": PLAN.release_id,
    "responder": {"id": "alice", "name": "Alice"},
    "responded_at": "2026-01-02T03:04:05+00:00",
}
CHECK = {
    "revision": str(PLAN.revision),
    "snapshot": str(PLAN.targets[0].snapshot),
    "previous": {"06-approve": "sha256:aa"},
}


def test_an_approval_of_this_plan_by_one_of_its_approvers_allows_it():
    assert problems(GOOD, PLAN) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "reject"}, "decision"),
        ({"decision": None}, "decision"),
        ({"plan_digest": str(a_plan(bytes=1).digest)}, "plan_digest"),
        ({"release_id": "20260102t030405z-0000000000"}, "release_id"),
        ({"responder": None}, "anonymous"),
        ({"responder": {"id": "", "name": "Alice"}}, "anonymous"),
        ({"responder": "alice"}, "anonymous"),
        ({"responder": {"id": "mallory", "name": "Alice"}}, "mallory"),
        ({"responder": {"id": "Anonymous", "name": "Anonymous"}}, "Anonymous"),
        ({"responded_at": None}, "responded_at"),
        ({"responded_at": "2026-01-02T03:04:05"}, "responded_at"),
        ({"responded_at": "yesterday"}, "responded_at"),
    ],
)
def test_anything_else_does_not(change, said):
    assert said in " ".join(problems(GOOD | change, PLAN))


def test_every_problem_is_said():
    assert len(problems({}, PLAN)) == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"revision": "minilm@sha256:" + "0" * 64}, "revision"),
        ({"snapshot": str(PLAN.targets[0].snapshot)[:-1] + "2"}, "snapshot"),
        ({"previous": {"06-approve": "sha256:bb"}}, "not made after"),
        ({"previous": {}}, "not made after"),
    ],
)
def test_a_check_shows_what_was_approved_only_after_the_approval(change, said):
    assert said in " ".join(check_problems(CHECK | change, a_target(), PLAN, "sha256:aa"))
    assert bool(said) == bool(check_problems(CHECK | change, a_target(), PLAN, "sha256:aa"))


OLDER, OURS, NEWER, NEWEST = (f"2026010{day}t000000z-0000000000" for day in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("ledger", "superseded_by"),
    [
        ([], None),
        ([(OURS, "proposed")], None),
        ([(OLDER, "proposed")], None),
        ([(NEWER, "proposed")], NEWER),
        ([(NEWER, "proposed"), (NEWER, "approved"), (NEWER, "live")], NEWER),
        ([(NEWER, "failed")], None),
        ([(NEWER, "proposed"), (NEWER, "failed")], None),
        ([(NEWER, "proposed"), (NEWEST, "proposed"), (NEWEST, "failed")], NEWER),
        ([(NEWEST, "proposed"), (NEWER, "proposed")], NEWEST),
    ],
)
def test_a_newer_proposal_that_did_not_fail_supersedes(ledger, superseded_by):
    assert superseding(OURS, ledger) == superseded_by
