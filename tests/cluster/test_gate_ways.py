"""Ways round the gate by what is in the bucket: each ends in a refusal that says why, and nothing is changed.

docs/gate.md lists all ways, also those through Airflow (tests/e2e/test_gate.py).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rollouts import Release, drive

from modelberth.core.plan import Approver
from modelberth.receipts.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable

PEOPLE = (Approver("alice", "alice"), Approver("bob", "bob"))


def ruled(one: Release, **rules: Any) -> Release:
    """Return *one* under other rules of its gate, planned."""
    gate = replace(one.plan.gate, **{"approvers": PEOPLE, **rules})
    return Release(one.stand, replace(one.plan, gate=gate)).planned()


def also_approved(one: Release, by: str) -> Release:
    """Leave a second answer, signed as the gate would."""
    first = one.evidence.read("approve")
    keys = ("decision", "plan_digest", "responded_at")
    answer = {key: first[key] for key in keys} | {"responder": {"id": by, "name": by}}
    one.evidence.write("approve", answer, target="2")
    return one


class Bucket:
    """The receipts of one release as somebody with rights on the bucket sees them."""

    def __init__(self, one: Release) -> None:
        self.s3, self.bucket = one.stand.s3, one.stand.bucket
        self.folder = f"receipts/{one.plan.model}/{one.plan.release_id}"

    def read(self, name: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=f"{self.folder}/{name}.json")["Body"].read())

    def write(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.folder}/{name}.json", Body=data)

    def delete(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=f"{self.folder}/{name}.json")

    def edit(self, name: str, old: str, new: str) -> None:
        data = self.read(name)
        assert old.encode() in data
        self.write(name, data.replace(old.encode(), new.encode()))


def another_runs_answer(make: Callable[..., Release]) -> Release:
    approved, ours = make().ready(), make(same=True).planned().checked()
    Bucket(ours).write("06-approve", Bucket(approved).read("06-approve"))
    return ours


def an_edited_answer(make: Callable[..., Release]) -> Release:
    one = make().planned().approved(decision="reject").checked()
    Bucket(one).edit("06-approve", '"decision":"reject"', '"decision":"approve"')
    return one


def an_answer_of_another_key(make: Callable[..., Release]) -> Release:
    one = make().ready()
    body = json.loads(Bucket(one).read("06-approve"))["receipt"]
    Bucket(one).write("06-approve", SigningKey(os.urandom(32)).seal(body))
    return one


def an_edited_plan(make: Callable[..., Release]) -> Release:
    one = make().ready()
    Bucket(one).edit("05-plan", "MODEL_PATH", "OTHER_PATH")
    return one


def a_plan_replaced_after_the_answer(make: Callable[..., Release]) -> Release:
    one = make().ready()
    Bucket(one).delete("05-plan")
    return Release(one.stand, replace(one.plan, gate=replace(one.plan.gate, answer_within=60))).planned()


def an_answer_taken_away(make: Callable[..., Release]) -> Release:
    one = make().ready()
    Bucket(one).delete("06-approve")
    return one


def one_answer_where_two_are_needed(make: Callable[..., Release]) -> Release:
    return ruled(make(), approvals=2).approved().checked()


def the_same_person_twice(make: Callable[..., Release]) -> Release:
    return also_approved(ruled(make(), approvals=2).approved(), "alice").checked()


def the_second_answer_after_the_check(make: Callable[..., Release]) -> Release:
    return also_approved(ruled(make(), approvals=2).approved().checked(), "bob")


def who_requested_it(make: Callable[..., Release]) -> Release:
    return ruled(make(), four_eyes=True, requested_by="alice").approved().checked()


def one_pair_of_eyes_for_an_unknown_request(make: Callable[..., Release]) -> Release:
    return ruled(make(), four_eyes=True, requested_by=None).approved().checked()


def nobody(make: Callable[..., Release]) -> Release:
    return make().planned().approved(responder=None, responded_at=None).checked()


WAYS: dict[Callable[..., Release], str] = {
    another_runs_answer: "It was copied there",
    an_edited_answer: "does not bear the signature",
    an_answer_of_another_key: "does not bear the signature",
    an_edited_plan: "does not bear the signature",
    a_plan_replaced_after_the_answer: "its plan_digest is",
    an_answer_taken_away: "no receipt 06-approve",
    one_answer_where_two_are_needed: "no receipt 06-approve-2",
    the_same_person_twice: "'alice' has answered before",
    the_second_answer_after_the_check: "not made after this approval",
    who_requested_it: "who requested the release",
    one_pair_of_eyes_for_an_unknown_request: "no receipt 06-approve-2",
    nobody: "anonymous",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_way_through_the_bucket_changes_what_is_served(stand, release, way):
    def make(**changes: Any) -> Release:
        return release(replicas=0, **changes)

    one = way(make)
    before = stand.read(one.name)
    stop = drive(one.rollout())
    assert stop.status == "refused", stop
    assert WAYS[way] in stop.reason
    after = stand.read(one.name)
    assert (after["spec"], after["metadata"]["annotations"]) == (before["spec"], before["metadata"]["annotations"])


def test_two_people_let_it_through(release):
    one = also_approved(ruled(release(), approvals=2).approved(), "bob").checked()
    stop = drive(one.rollout())
    assert stop.status == "live", stop
