"""Whether what a source holds now is proposed: decided from the ledger, so that nothing is proposed twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

FIRST_WAIT = timedelta(minutes=30)
LONGEST_WAIT = timedelta(days=1)


class Entry(Protocol):
    """One line of a model's ledger."""

    @property
    def event(self) -> str:
        """What became of the release: ``proposed``, ``rejected``, ``live``, ..."""
        ...

    @property
    def release_id(self) -> str:
        """Which release."""
        ...

    @property
    def source_version(self) -> str | None:
        """What the source held, where the event knows it."""
        ...

    @property
    def at(self) -> datetime:
        """When."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to propose, why, and as which attempt (from 1) at this source version."""

    propose: bool
    reason: str
    attempt: int = 0


def decide(entries: Sequence[Entry], version: str, *, paused: bool, now: datetime) -> Decision:
    """Decide about *version*, which the source holds now, by the newest release of the model.

    Only the newest release counts, of those that knew their version: a source that went from A to B and back to A
    has moved, and asks again.

        paused | newest release   | its events                      | propose
        -------+------------------+---------------------------------+------------------------------------
        yes    | any              | any                             | no: paused in the model's file
        no     | none             | -                               | yes: nothing was ever proposed
        no     | another version  | any                             | yes: the source has moved on
        no     | this version     | rejected, put-back, rolled-back | no: a person asks, or it moves on
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
    attempt = len({entry.release_id for entry in entries if entry.source_version == version}) + 1
    releases = _by_release(entries)
    if not releases:
        return Decision(True, "nothing was ever proposed", attempt)
    newest = releases[-1]
    if version not in {entry.source_version for entry in newest}:
        return Decision(True, "the source has moved on", attempt)
    events = {entry.event for entry in newest}
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
    ({"rolled-back"}, "it was rolled back: start the release by hand, or let the source move on"),
    ({"live"}, "it is live"),
    ({"approved", "failed"}, "it failed after the gate: look at that release first"),
    ({"superseded"}, "it was superseded"),
)


def _by_release(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries of each release that knew its source's version, in time order, the oldest release first."""
    releases: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.release_id)):
        releases.setdefault(entry.release_id, []).append(entry)
    return [release for release in releases.values() if any(entry.source_version for entry in release)]


def _failures_in_a_row(releases: list[list[Entry]], version: str) -> int:
    count = 0
    for release in reversed(releases):
        if version not in {entry.source_version for entry in release} or "failed" not in {
            entry.event for entry in release
        }:
            break
        count += 1
    return count


def _wait(failures: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(failures - 1, 10)), LONGEST_WAIT)
