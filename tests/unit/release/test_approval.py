"""The gate's last word: what an approval, a check and the ledger allow."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from modelberth.core.approval import check_problems, problems, superseding, turn_problems
from modelberth.core.plan import Approver
from plans import a_gate, a_plan, a_target

PLAN = a_plan()
GOOD = {
    "decision": "approve",
    "plan_digest": str(PLAN.digest),
    "release_id": PLAN.release_id,
    "responder": {"id": "alice", "name": "Alice"},
    "responded_at": "2026-01-02T03:04:05+00:00",
}
NOW = datetime(2026, 1, 2, 5, 0, tzinfo=UTC)
CHECK = {
    "at": "2026-01-02T04:00:00Z",
    "connection": "modelberth_kubernetes",
    "namespace": "serving",
    "claim": "models",
    "revision": str(PLAN.own.revision),
    "snapshot": str(PLAN.targets[0].snapshot_of("minilm")),
    "previous": {"06-approve": "sha256:aa"},
}


def test_an_approval_of_this_plan_by_one_of_its_approvers_allows_it():
    assert problems([GOOD], PLAN) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "reject"}, "decision"),
        ({"decision": None}, "decision"),
        ({"plan_digest": str(a_plan(gate=a_gate(approvals=2)).digest)}, "plan_digest"),
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
    assert said in " ".join(problems([GOOD | change], PLAN))


def test_every_problem_is_said():
    assert len(problems([{}], PLAN)) == 5


TWICE = a_plan(gate=a_gate(approvers=(Approver("alice", "Alice"), Approver("bob", "Bob")), approvals=2))
FIRST = GOOD | {"plan_digest": str(TWICE.digest)}
SECOND = FIRST | {"responder": {"id": "bob", "name": "Bob"}}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([FIRST, SECOND], ""),
        ([SECOND, FIRST], ""),
        ([], "0 answers, expected 2"),
        ([FIRST], "1 answers, expected 2"),
        ([FIRST, FIRST], "answered before"),
        ([FIRST, SECOND | {"decision": "reject"}], "decision"),
        ([FIRST | {"plan_digest": str(PLAN.digest)}, SECOND], "plan_digest"),
        ([FIRST, SECOND, FIRST], "3 answers, expected 2"),
    ],
)
def test_two_approvals_are_those_of_two_people_to_this_plan(answers, said):
    found = " ".join(problems(answers, TWICE))
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"revision": "minilm@sha256:" + "0" * 64}, "revision"),
        ({"snapshot": str(PLAN.targets[0].snapshot_of("minilm"))[:-1] + "2"}, "snapshot"),
        ({"previous": {"06-approve": "sha256:bb"}}, "not made after"),
        ({"previous": {}}, "not made after"),
        ({"connection": "another"}, "its connection is 'another', expected 'modelberth_kubernetes'"),
        ({"namespace": "another"}, "its namespace is 'another', expected 'serving'"),
        ({"claim": "another"}, "its claim is 'another', expected 'models'"),
        ({"claim": None}, "its claim is None"),
        ({"at": "2026-01-02T03:59:59Z"}, "clear the task 'check'"),
        ({"at": "2026-01-02T05:00:09Z"}, ""),
        ({"at": None}, "clear the task 'check'"),
        ({"at": "just now"}, "clear the task 'check'"),
        ({"at": "2026-01-02T04:59:59"}, "clear the task 'check'"),
    ],
)
def test_a_check_shows_what_was_approved_on_its_claim_after_the_approval_and_for_an_hour(change, said):
    problems = check_problems(CHECK | change, a_target(), PLAN, ["sha256:aa"], NOW)
    assert said in " ".join(problems)
    assert bool(said) == bool(problems)


def test_a_check_rests_on_every_approval():
    both = CHECK | {"previous": {"06-approve": "sha256:aa", "06-approve-2": "sha256:bb"}}
    assert check_problems(both, a_target(), PLAN, ["sha256:aa", "sha256:bb"], NOW) == []
    assert "not made after" in " ".join(check_problems(CHECK, a_target(), PLAN, ["sha256:aa", "sha256:bb"], NOW))


BOTH = a_plan(targets=(a_target(name="canary"), a_target()))
LIVE = {"result": "live", "plan_digest": str(BOTH.digest)}
EARLIER = replace(PLAN.own, release_id="20260101t000000z-0000000000")


@pytest.mark.parametrize(
    ("plan", "target", "outcome", "said"),
    [
        (BOTH, "canary", None, ""),
        (BOTH, "embedder", None, "is not rolled out, not live"),
        (BOTH, "embedder", LIVE, ""),
        (BOTH, "embedder", LIVE | {"result": "put back"}, "is put back, not live"),
        (BOTH, "embedder", LIVE | {"result": "lost"}, "is lost, not live"),
        (BOTH, "embedder", LIVE | {"plan_digest": str(PLAN.digest)}, "live by another plan"),
        (BOTH, "embedder", {"result": "live"}, "live by another plan"),
        (replace(BOTH, models=(EARLIER,)), "embedder", None, ""),
    ],
)
def test_a_targets_turn_comes_when_all_before_it_are_live_but_a_rollback_waits_for_none(plan, target, outcome, said):
    found = " ".join(turn_problems({"canary": outcome}, target, plan))
    assert said in found
    assert bool(said) == bool(found)


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
        ([(NEWER, "proposed"), (NEWER, "failed"), (NEWER, "approved")], NEWER),
        ([(NEWER, "proposed"), (NEWER, "failed"), (NEWER, "live")], NEWER),
        ([(NEWER, "proposed"), (NEWER, "rejected")], NEWER),
        ([(NEWER, "proposed"), (NEWEST, "proposed"), (NEWEST, "failed")], NEWER),
        ([(NEWEST, "proposed"), (NEWER, "proposed")], NEWEST),
    ],
)
def test_a_newer_proposal_supersedes_unless_it_failed_and_was_not_taken_up_again(ledger, superseded_by):
    assert superseding(OURS, ledger) == superseded_by
