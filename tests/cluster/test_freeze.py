"""A freeze on a real cluster: nothing begins, what is under way ends as it would, and what is half done is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollouts import drive

from modelberth.kubernetes import rollout as doing
from modelberth.kubernetes.rollout import Rollout
from modelberth.kubernetes.workload import LOCK, notes

if TYPE_CHECKING:
    from rollouts import Release


class Freeze:
    """What Airflow says when it is asked for the Variable."""

    def __init__(self, said: str | Exception | None) -> None:
        self.said = said

    def __call__(self) -> str | None:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def rollout(one: Release, freeze: Freeze) -> Rollout:
    receipts = one.stand.config(one.plan.model).receipts
    names = {"model": one.plan.model, "release_id": one.plan.release_id, "target": one.name}
    return Rollout(**names, receipts=(receipts.url, receipts.connection), frozen=freeze)


def test_a_freeze_stops_a_release_before_its_first_change_and_its_approval_still_counts(stand, release):
    one, freeze = release().ready(), Freeze("rollouts are frozen: ask alice")
    stop = drive(rollout(one, freeze))
    assert (stop.status, stop.reason.endswith("was not changed: rollouts are frozen: ask alice.")) == ("refused", True)
    assert stand.bound(one.name) == one.before
    assert LOCK not in notes(stand.read(one.name))
    assert one.evidence.find("started", one.name) is None
    freeze.said = None
    assert drive(rollout(one, freeze)).status == "live"


def test_what_is_under_way_ends_as_it_would(stand, release):
    one, freeze = release().ready(), Freeze(None)
    going = rollout(one, freeze)
    drive(going, until=lambda: stand.bound(one.name) == one.to)
    freeze.said = "rollouts are frozen"
    assert drive(going).status == "live"


def test_what_is_half_done_is_put_back_in_a_freeze(stand, release):
    one, freeze = release("unready").ready(), Freeze(None)
    drive(rollout(one, freeze), until=lambda: stand.bound(one.name) == one.to)
    freeze.said = "rollouts are frozen"
    settling = rollout(one, freeze)
    settling.end("its run ended")
    assert drive(settling).status == "put back"
    assert stand.bound(one.name) == one.before


def test_nothing_begins_while_nobody_can_say_whether_there_is_a_freeze(stand, release, monkeypatch):
    monkeypatch.setattr(doing, "PATIENCE", 1.0)
    one = release(replicas=0).ready()
    assert drive(rollout(one, Freeze(ConnectionError("no answer")))).status == "unreachable"
    assert stand.bound(one.name) == one.before
    assert one.evidence.find("started", one.name) is None
