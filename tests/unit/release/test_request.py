"""What a person is shown at the gate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from modelberth.core.confirm import Confirm, Probe
from modelberth.core.people import People
from modelberth.core.plan import Approver, Canary, Capacity, Difference
from modelberth.core.signature import Signed
from modelberth.sensors.request import Request, Verified, body, subject
from plans import a_binding, a_gate, a_plan, a_released, a_served, a_target

VERIFIED = {"bytes": 91_000_000, "how": "direct", "node": "node-1", "at": "2026-01-02T03:05:06Z"}
LIVE = "minilm@sha256:" + "2e" * 32
UNTIL = datetime(2026, 1, 9, 3, 4, tzinfo=UTC)
ALICE, BOB, VERA = Approver("alice", "Alice"), Approver("bob", "Bob"), Approver("vera", "Vera")


def a_request(**changes) -> Request:
    """Return a request; what is in *changes* may be its own, the plan's or the gate's."""
    gate = {key: changes.pop(key) for key in ("approvers", "approvals", "four_eyes", "requested_by") if key in changes}
    plan = {key: changes.pop(key) for key in ("models", "targets") if key in changes}
    asked = Request(
        plan=a_plan(gate=a_gate(**gate), **plan),
        number=1,
        answered=[],
        verified=[Verified("embedder", "minilm", VERIFIED)],
        previews={},
        people=People({"alice": "user", "bob": "user", "vera": "viewer"}),
        until=UNTIL,
    )
    return replace(asked, **changes)


def test_the_headline_says_what_goes_where():
    assert subject(a_request()).startswith("Release minilm@1f1f1f1f1f1f (")
    assert subject(a_request()).endswith("to embedder?")


def test_the_headline_counts_the_answers_where_there_are_several():
    assert subject(a_request(approvers=(ALICE, BOB), approvals=2, number=2)).endswith("(answer 2 of 2)")


def test_what_was_found_in_the_content_is_shown_once_a_model():
    looked = VERIFIED | {"content": {"code": 1, "headers": 0}, "findings": ["code: File 'x.py' is a program."]}
    shown = body(a_request(verified=[Verified(name, "minilm", looked) for name in ("embedder", "other")]))
    assert shown.count("| minilm | code 1, headers none | code: File 'x.py' is a program. |") == 1
    assert "What is in it" not in body(a_request())


def test_who_signed_is_shown_where_the_models_file_asks_for_it():
    by = "key sha256:9a"
    found = (Signed("revision", "valid", by, by), Signed("publisher", "invalid", by, None, ("It is | cut off.",)))
    shown = body(a_request(models=(a_released(signed=found),)))
    assert "| minilm | revision | valid, by key sha256:9a |" in shown
    assert "| minilm | publisher | invalid: It is \\| cut off. |" in shown
    none = body(a_request(models=(a_released(signed=(Signed("revision", "none", by, None),)),)))
    assert "| minilm | revision | none by key sha256:9a |" in none
    assert "Who signed it" not in body(a_request())


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (None, "cannot be known"),
        (Difference(None, 5, 0, 0, 1_000), "no model of ours is live"),
        (Difference(LIVE, 0, 0, 0, 0), "the same revision"),
        (Difference(LIVE, 1, 2, 3, 1_000), "1 files added, 2 changed, 3 removed, 1000 B; live is"),
    ],
)
def test_the_difference_to_what_is_live_is_said(difference, said):
    assert said in body(a_request(targets=(a_target(served=(a_served(difference=difference),)),)))


def test_a_rollback_that_did_not_ask_the_bucket_does_not_say_what_the_bucket_lacks():
    served = (a_target(served=(a_served(difference=None),)),)
    shown = body(a_request(models=(a_released(release_id="20260101t030405z-9f86d08188"),), targets=served))
    assert "not compared: a rollback asks no bucket" in shown
    assert "no manifest" not in shown


def test_everything_that_a_decision_rests_on_is_shown():
    asked = a_request()
    shown, plan = body(asked), asked.plan
    for part in (
        str(plan.digest),
        str(plan.own.revision),
        "86.8 MiB in 5 files",
        "| Requested by | bob |",
        "direct",
        "node-1",
        VERIFIED["at"],
        plan.targets[0].bindings[0].to,
        "RollingUpdate (maxSurge 1)",
        "2026-01-09 03:04 UTC",
    ):
        assert part in shown


def test_every_model_that_is_switched_is_shown_with_its_own_difference_and_proof():
    both = (a_released(), a_released("adapter", source_version=None))
    served = (a_served(), a_served("adapter", difference=Difference(LIVE, 0, 1, 0, 7)))
    target = a_target(served=served, bindings=(a_binding(), a_binding("adapter", "ADAPTER_PATH")))
    proofs = [Verified("embedder", "minilm", VERIFIED), Verified("embedder", "adapter", VERIFIED | {"node": "node-2"})]
    asked = a_request(models=both, targets=(target,), verified=proofs)
    assert "minilm@1f1f1f1f1f1f" in subject(asked)
    assert "adapter@1f1f1f1f1f1f" in subject(asked)
    for part in ("Revision of adapter", "adapter | 0 files added, 1 changed", "ADAPTER_PATH", "node-2"):
        assert part in body(asked)


def test_room_is_said_with_its_reasons():
    capacity = Capacity("cannot know", ("node pool a100 scales from zero", "no right to list nodes"))
    shown = body(a_request(targets=(a_target(capacity=capacity),)))
    assert "| embedder | cannot know | node pool a100 scales from zero; no right to list nodes |" in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "| - | behaved | 120 s |"),
        ({"canary": Canary(2, 600)}, "from number 2 on, for 10 min"),
        ({"canary": Canary(None, 60)}, "all, for 60 s"),
        ({"confirm": Confirm("reported", 8000, "/v1/models", "vllm")}, "reported (vllm)"),
        ({"confirm": Confirm("reported", 8000, "/m", probe=Probe("key", "https", "i", "s"))}, "(by a probe pod)"),
    ],
)
def test_how_it_is_rolled_out_is_said(changes, said):
    assert said in body(a_request(targets=(a_target(**changes),)))


NOT_KNOWN = People(None, "FabAuthManager keeps its users where a task cannot look")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ["**Who is asked**: one person", "| alice | Alice | may answer |"]),
        ({"approvers": (ALICE, VERA)}, ["| vera | Vera | cannot answer: the role 'viewer' may not answer |"]),
        ({"people": NOT_KNOWN}, ["may answer, if Airflow knows them: FabAuthManager keeps its users where"]),
        ({"approvers": (ALICE, BOB), "four_eyes": True}, ["not who requested it", "| bob | Bob | requested it, so"]),
        (
            {"approvers": (ALICE, BOB), "four_eyes": True, "requested_by": None},
            ["2 different people, one after the other, since nobody knows who requested it", "| Requested by | not"],
        ),
        (
            {
                "approvers": (ALICE, BOB),
                "approvals": 2,
                "number": 2,
                "answered": [{"responder": {"id": "alice"}, "note": "seen\n| and tried"}],
            },
            ["2 different people, one", "| alice | Alice | has approved: seen \\| and tried |", "Bob | may answer"],
        ),
    ],
)
def test_who_is_asked_and_what_is_known_of_them_is_said(changes, said):
    shown = body(a_request(**changes))
    assert [part for part in said if part not in shown] == []


def test_a_cell_cannot_leave_its_table():
    shown = body(a_request(models=(a_released(source_version="a|b\n\n# c"),)))
    assert "`a\\|b # c`" in shown
