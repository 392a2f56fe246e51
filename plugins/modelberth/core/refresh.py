"""Whether what a source holds now is proposed: decided from the ledger, so that nothing is proposed twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_WAIT = timedelta(minutes=30)
LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a model's ledger."""

    event: str
    release_id: str
    source_version: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to propose, why, and as which attempt (from 1) at this source version."""

    propose: bool
    reason: str
    attempt: int = 0


def decide(facts: Sequence[Fact], version: str, *, paused: bool, now: datetime) -> Decision:
    """Decide about *version*, which the source holds now, by the newest release of the model.

    Only the newest release counts: a source that went from A to B and back to A has moved, and asks again.

        paused | newest release   | its events                      | propose
        -------+------------------+---------------------------------+------------------------------------
        yes    | any              | any                             | no: paused in the model's file
        no     | none             | -                               | yes: nothing was ever proposed
        no     | another version  | any                             | yes: the source has moved on
        no     | this version     | rejected, put-back              | no: a person asks, or it moves on
        no     | this version     | live                            | no: it is live
        no     | this version     | approved and failed             | no: a person looks first
        no     | this version     | superseded                      | no: what superseded it comes first
        no     | this version     | failed, the wait is not over    | no: not yet
        no     | this version     | failed, the wait is over        | yes: again
        no     | this version     | proposed, approved              | no: under way

    The wait after a failure before the gate is 30 minutes and doubles with each failure in a row, to a day.
    """
    if paused:
        return Decision(False, "paused in the model's file")
    attempt = len({fact.release_id for fact in facts if fact.source_version == version}) + 1
    releases = _by_release(facts)
    if not releases:
        return Decision(True, "nothing was ever proposed", attempt)
    newest = releases[-1]
    if version not in {fact.source_version for fact in newest}:
        return Decision(True, "the source has moved on", attempt)
    events = {fact.event for fact in newest}
    for final, reason in _FINAL:
        if final <= events:
            return Decision(False, reason)
    if "failed" not in events:
        return Decision(False, f"release {newest[0].release_id} is under way")
    due = newest[-1].at + _wait(_failures_in_a_row(releases, version))
    if now < due:
        return Decision(
            False, f"release {newest[0].release_id} failed: again after {due.isoformat(timespec='seconds')}"
        )
    return Decision(True, f"release {newest[0].release_id} failed before the gate", attempt)


_FINAL: tuple[tuple[set[str], str], ...] = (
    ({"rejected"}, "it was rejected: start the release by hand, or let the source move on"),
    ({"put-back"}, "it was put back: start the release by hand, or let the source move on"),
    ({"live"}, "it is live"),
    ({"approved", "failed"}, "it failed after the gate: look at that release first"),
    ({"superseded"}, "it was superseded"),
)


def _by_release(facts: Sequence[Fact]) -> list[list[Fact]]:
    """Return the facts of each release in time order, the oldest release first."""
    releases: dict[str, list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.at):
        releases.setdefault(fact.release_id, []).append(fact)
    return list(releases.values())


def _failures_in_a_row(releases: list[list[Fact]], version: str) -> int:
    count = 0
    for release in reversed(releases):
        if version not in {fact.source_version for fact in release} or "failed" not in {fact.event for fact in release}:
            break
        count += 1
    return count


def _wait(failures: int) -> timedelta:
    return min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT)
