"""What a release amounts to when nothing of it runs any more: read from the evidence, not from tasks' states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

EVENTS = (
    *("proposed", "rollback", "observed", "approved", "rejected", "superseded", "failed", "put-back", "live"),
    *("rolled-back",),
)
"""What the ledger knows, in the order in which it can happen to a release.

A release begins as ``proposed``, serving an earlier snapshot again as ``rollback``. ``observed`` is no release of ours:
somebody else changed what is served, and it was seen by the plan or the audit whose id the entry bears.
``rolled-back`` is said of the release that was live before a rollback.
"""

LIVE, PUT_BACK, LOST = "live", "put back", "lost"
"""Outcomes of one target. Lost: the workload was no longer this release's to change."""


class End(Enum):
    """How a run has to look, so that its colour says what became of the release."""

    SUCCESS = auto()
    SKIPPED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the run ends, what the ledger is told (None: it knows already), and why."""

    end: End
    event: str | None
    reason: str


def verdict(events: Collection[str], outcomes: Mapping[str, str | None]) -> Verdict:
    """Return what a release with these ledger *events* and *outcomes* by target amounts to.

    ledger says          | outcomes             | end     | ledger is told
    ---------------------+----------------------+---------+---------------
    live                 | any                  | success | nothing
    rejected, superseded | none live            | skipped | nothing
    neither              | all live             | failed  | nothing: its record is missing, not its success
    neither              | one put back or lost | failed  | put-back
    neither              | else                 | failed  | failed
    """
    told = ", ".join(f"{service}: {outcome or 'not rolled out'}" for service, outcome in outcomes.items())
    if "live" in events:
        return Verdict(End.SUCCESS, None, "it is live")
    if ("rejected" in events or "superseded" in events) and LIVE not in outcomes.values():
        return Verdict(End.SKIPPED, None, "it was rejected" if "rejected" in events else "it was superseded")
    if outcomes and all(outcome == LIVE for outcome in outcomes.values()):
        return Verdict(End.FAILED, None, "it serves, but is not recorded: clear the task 'record'")
    if PUT_BACK in outcomes.values() or LOST in outcomes.values():
        return Verdict(End.FAILED, "put-back", f"it did not go live ({told})")
    return Verdict(End.FAILED, "failed", f"it did not go live ({told or 'it had no plan yet'})")
