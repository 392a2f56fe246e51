"""What was live at a service: by a model's own releases, and by those of others that took it along."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pytest
from chains import FIRST, SECOND, THIRD, Shelf

from modelberth import receipts
from modelberth.operators.record import _replaced
from modelberth.receipts.holding import is_under_way
from modelberth.receipts.lived import decided_at, last_switch, lived
from plans import a_target

PLACE = SimpleNamespace(url="s3://receipts", connection="receipts")
BASE, ADAPTER = (SimpleNamespace(name=name, receipts=PLACE) for name in ("minilm", "adapter"))
BOUND = [SimpleNamespace(model=one.name) for one in (BASE, ADAPTER)]
WHERE = {"connection": "modelberth_kubernetes", "namespace": "serving", "claim": "models"}
EMBEDDER = SimpleNamespace(name="embedder", bindings=BOUND, **WHERE)
SECOND_SERVICE = SimpleNamespace(name="second", bindings=BOUND, **WHERE)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    found = Shelf(tmp_path)
    monkeypatch.setattr(receipts, "open_store", lambda url, connection: found.store)
    monkeypatch.setattr(receipts, "signing_key", lambda: found.key)
    return found


def of(model, service=EMBEDDER):
    return [(one.snapshot.digest.hex[0], one.release_id, one.by) for one in lived(model, service)]


def test_each_release_that_went_live_is_known_the_oldest_first(shelf):
    shelf.release(FIRST, "1")
    shelf.release(SECOND, "2")
    assert of(BASE) == [("1", FIRST, FIRST), ("2", SECOND, SECOND)]
    assert of(ADAPTER) == []


def test_a_rollback_brings_what_an_earlier_release_has_proven(shelf):
    shelf.release(FIRST, "1")
    shelf.release(SECOND, "2")
    shelf.rollback(THIRD, FIRST)
    assert of(BASE)[-1] == ("1", FIRST, THIRD)
    assert last_switch(BASE, EMBEDDER).release_id == THIRD


def test_what_was_taken_along_is_known_once(shelf):
    shelf.release_with(SECOND, "adapter", FIRST)
    assert of(BASE) == [("1", SECOND, SECOND)]
    assert of(ADAPTER) == [("2", FIRST, FIRST)]
    assert last_switch(ADAPTER, EMBEDDER).release_id == SECOND


def test_what_was_taken_along_is_known_where_it_is_live_though_the_release_failed_elsewhere(shelf):
    put_back_at_second(shelf, shelf.release_with(SECOND, "adapter", FIRST))
    assert of(BASE) == [("1", SECOND, SECOND)]
    assert of(ADAPTER) == [("2", FIRST, FIRST)]
    assert last_switch(ADAPTER, EMBEDDER).release_id == SECOND
    assert of(BASE, SECOND_SERVICE) == of(ADAPTER, SECOND_SERVICE) == []


def put_back_at_second(shelf, plan):
    """Turn a whole release into one that ended half-way: no record, and no word of it in a ledger."""
    for model, release_id in (("minilm", SECOND), ("adapter", FIRST)):
        for path in (
            *shelf.path(release_id, "", model).glob("*-record.json"),
            *shelf.root.rglob(f"{release_id}-live*"),
        ):
            path.unlink()
    next(shelf.path(SECOND, "").glob("*-outcome-second.json")).unlink()
    body = {"result": "put back", "plan_digest": str(plan.digest)}
    shelf.evidence(SECOND).write("outcome", body, target="second")


def test_what_was_live_on_another_claim_does_not_count(shelf):
    shelf.release(FIRST, "1")
    assert of(BASE, SimpleNamespace(**vars(EMBEDDER) | {"claim": "other"})) == []


def test_what_was_taken_along_without_a_plan_of_its_own_can_be_rolled_back(shelf):
    shelf.release_with(SECOND, "adapter", FIRST)
    rollback = shelf.evidence(THIRD, "adapter")
    rollback.write("plan", {"rollback": {"instead_of": [FIRST], "reason": "it answers worse"}})
    _replaced(ADAPTER, rollback)
    [said] = [one for one in shelf.book("adapter").entries() if one.event == "rolled-back"]
    assert (said.release_id, said.revision) == (FIRST, f"adapter@sha256:{'2' * 64}")


# --- what a workload's annotations name -------------------------------------------------------------------------------

UID = a_target().workload.uid
WHERE_RECEIPTS_ARE = ("s3://receipts", "receipts")


def test_a_decision_is_known_by_its_digest_while_it_is_on_record(shelf):
    shelf.release(FIRST, "1")
    shelf.release(SECOND, "2")
    digest = str(shelf.evidence(FIRST).digest("decided", "second"))
    at = datetime.fromisoformat(shelf.evidence(FIRST).read("decided", "second")["at"])
    assert decided_at(WHERE_RECEIPTS_ARE, "minilm", digest) == at
    assert decided_at(WHERE_RECEIPTS_ARE, "adapter", digest) is None
    shelf.path(FIRST, "08-decided-second.json").unlink()
    assert decided_at(WHERE_RECEIPTS_ARE, "minilm", digest) is None


@pytest.mark.parametrize(
    ("leave", "uid", "expected"),
    [
        ("", UID, False),
        ("started", UID, True),
        ("started decided", UID, True),
        ("started decided outcome", UID, False),
        ("started", "of a namesake", False),
    ],
)
def test_a_release_holds_a_workload_from_its_start_to_its_outcome(shelf, leave, uid, expected):
    shelf.release(FIRST, "1", until="approve")
    for step in leave.split():
        shelf.evidence(FIRST).write(step, {"result": "live"}, target="embedder")
    assert is_under_way(WHERE_RECEIPTS_ARE, "minilm", FIRST, uid) is expected


def test_a_release_that_nobody_knows_holds_nothing(shelf):
    assert not is_under_way(WHERE_RECEIPTS_ARE, "minilm", "for good", UID)
