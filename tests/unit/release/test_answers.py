"""The gate's rules: how many have to answer, who may, and when it ends by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelberth.core.gate import askable, ending, needed, problem, receipt_names, responder_problems, said, taking_along
from modelberth.core.people import People
from modelberth.core.plan import Approver
from plans import a_gate

ALICE, BOB, CAROL = (Approver(name.lower(), name) for name in ("Alice", "Bob", "Carol"))
ALL = (ALICE, BOB, CAROL)
NOT_KNOWN = People(None, "kept elsewhere")


@pytest.mark.parametrize(
    ("approvals", "four_eyes", "requested_by", "people"),
    [
        (1, False, None, 1),
        (1, False, "alice", 1),
        (3, False, None, 3),
        (1, True, "alice", 1),
        (2, True, "alice", 2),
        (1, True, None, 2),
        (1, True, "", 2),
        (2, True, None, 2),
        (3, True, None, 3),
    ],
)
def test_four_eyes_ask_for_two_people_where_nobody_knows_who_requested_it(approvals, four_eyes, requested_by, people):
    gate = a_gate(approvers=ALL, approvals=approvals, four_eyes=four_eyes, requested_by=requested_by)
    assert needed(gate) == people
    assert receipt_names(gate) == [None, "2", "3"][:people]


@pytest.mark.parametrize(
    ("changes", "answered", "asked"),
    [
        ({}, [], "alice bob carol"),
        ({}, ["bob"], "alice carol"),
        ({"requested_by": "bob"}, [], "alice bob carol"),
        ({"requested_by": "bob", "four_eyes": True}, [], "alice carol"),
        ({"requested_by": "Bob", "four_eyes": True}, ["carol"], "alice"),
        ({"requested_by": None, "four_eyes": True}, [], "alice bob carol"),
        ({"requested_by": "dora", "four_eyes": True}, [], "alice bob carol"),
    ],
)
def test_asked_are_those_whose_answer_would_count(changes, answered, asked):
    assert [one.id for one in askable(a_gate(approvers=ALL, **changes), answered)] == asked.split()


@pytest.mark.parametrize(
    ("four_eyes", "leading", "others", "approvers", "requested_by", "people"),
    [
        (False, "dora", ["carol", None], "alice bob carol", "dora", 1),
        (True, "dora", [], "alice bob carol", "dora", 1),
        (True, None, [], "alice bob carol", None, 2),
        (True, "dora", ["carol"], "alice bob", "dora", 1),
        (True, "dora", ["Carol", "bob"], "alice", "dora", 1),
        (True, "bob", ["bob"], "alice bob carol", "bob", 1),
        (True, "bob", ["carol"], "alice bob", "bob", 1),
        (True, "dora", [None], "alice bob carol", None, 2),
        (True, "dora", [""], "alice bob carol", None, 2),
        (True, "bob", [None], "alice carol", None, 2),
        (True, None, ["carol"], "alice bob", None, 2),
        (True, "alice", ["bob", None, "Carol"], "", None, 2),
    ],
)
def test_nobody_decides_about_what_they_requested_though_another_release_takes_it_along(
    four_eyes, leading, others, approvers, requested_by, people
):
    gate = taking_along(a_gate(approvers=ALL, four_eyes=four_eyes, requested_by=leading), others)
    assert [one.id for one in gate.approvers] == approvers.split()
    assert (gate.requested_by, needed(gate)) == (requested_by, people)
    assert set(others) & {one.id for one in askable(gate)} == set() or not four_eyes


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], None),
        (["carol"], None),
        (
            ["Carol", "bob", "alice"],
            "1 different people, of 3 approvers only 0 can answer ('alice': requested",
        ),
        (["carol", "bob", None], "2 different people (four_eyes is on, and nobody knows"),
    ],
)
def test_a_plan_that_leaves_too_few_to_answer_says_who_was_left_out(others, said):
    whole = a_gate(approvers=ALL, four_eyes=True, requested_by="dora")
    gate = taking_along(whole, others)
    found = problem(gate, NOT_KNOWN, left_out=[one for one in ALL if one not in gate.approvers])
    assert found is None if said is None else said in found
    assert all(f"'{name.lower()}': requested what is switched" in found for name in others if said and name)


@pytest.mark.parametrize(
    ("responder", "said"),
    [
        ({"id": "alice", "name": "Alice"}, ""),
        ({"id": "alice", "name": "whatever she is called today"}, ""),
        (None, "anonymous"),
        ({}, "anonymous"),
        ("alice", "anonymous"),
        ({"id": "", "name": "Alice"}, "anonymous"),
        ({"id": "Anonymous", "name": "Anonymous"}, "'Anonymous'"),
        ({"id": "mallory", "name": "Alice"}, "'mallory'"),
        ({"id": "bob", "name": "Bob"}, "four_eyes"),
        ({"id": "bob", "name": "renamed"}, "four_eyes"),
        ({"id": "alice", "name": "bob"}, "four_eyes"),
        ({"id": "carol", "name": "Carol"}, "answered before"),
    ],
)
def test_an_answer_counts_only_of_an_approver_who_has_not_answered_and_did_not_request_it(responder, said):
    gate = a_gate(approvers=ALL, four_eyes=True, requested_by="bob")
    problems = responder_problems(responder, gate, ["carol"])
    assert said in " ".join(problems)
    assert bool(said) == bool(problems)


@pytest.mark.parametrize(
    ("changes", "people", "answered", "said"),
    [
        ({}, NOT_KNOWN, [], None),
        ({"approvals": 3}, NOT_KNOWN, [], None),
        ({"approvals": 3}, NOT_KNOWN, ["alice"], None),
        ({"approvals": 3, "four_eyes": True}, NOT_KNOWN, [], "only 2 can answer ('bob': requested it)"),
        ({"approvers": (BOB,), "four_eyes": True}, NOT_KNOWN, [], "requested it"),
        ({"approvers": (BOB,), "four_eyes": True, "requested_by": None}, NOT_KNOWN, [], "nobody knows who requested"),
        ({}, People({"alice": "user"}), [], None),
        ({"approvals": 2}, People({"alice": "user"}), [], "'bob': no such user of this Airflow; 'carol': no such"),
        ({"approvals": 2}, People({"alice": "user", "bob": "viewer"}), ["alice"], "'viewer'"),
        ({}, People(None, "all are one", nobody=True), [], "all are one"),
    ],
)
def test_a_gate_that_nobody_could_answer_says_why(changes, people, answered, said):
    found = problem(a_gate(**{"approvers": ALL, "requested_by": "bob"} | changes), people, answered)
    assert found is None if said is None else said in found


ASKED = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("after", "own", "newer", "event"),
    [
        (HOUR, {"proposed"}, None, None),
        (2 * HOUR, {"proposed"}, None, None),
        (3 * HOUR, {"proposed"}, None, "rejected"),
        (HOUR, {"proposed"}, "r2", "superseded"),
        (3 * HOUR, {"proposed"}, "r2", "superseded"),
        (HOUR, {"proposed", "superseded"}, None, "superseded"),
        (3 * HOUR, {"proposed", "superseded"}, None, "superseded"),
        (HOUR, {"proposed", "rejected"}, "r2", "rejected"),
    ],
)
def test_a_gate_ends_by_itself_when_it_is_too_old_or_overtaken_and_never_approves(after, own, newer, event):
    found = ending(a_gate(answer_within=7200), ASKED, ASKED + after, own, newer)
    assert (found and found.event) == event
    assert found is None or found.event != "approved"


def test_the_reason_says_what_was_missed():
    found = ending(a_gate(answer_within=7200), ASKED, ASKED + 3 * HOUR, (), None)
    assert found.reason == "nobody answered within 2.0 h (answer_within)"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"responder": {"id": "alice"}}, "alice"),
        ({"responder": {"id": "alice"}, "note": "after lunch"}, "alice: after lunch"),
        ({"responder": None}, "nobody: the time was over"),
    ],
)
def test_who_answered_is_said_with_their_note(answer, words):
    assert said(answer) == words
