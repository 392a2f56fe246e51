"""Whether what a source holds now is proposed: decided from the ledger, so that nothing is proposed twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

FIRST_WAIT = timedelta(minutes=30)
LONGEST_WAIT = timedelta(days=1)
ON_THE_WAY = timedelta(days=1)
"""For a release to come to its gate. After that and its gate's longest wait, its run is gone."""


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
    """Whether to propose, why, and as the model's how many-th release (from 1): the same while the ledger is."""

    propose: bool
    reason: str
    attempt: int = 0


def due(every: timedelta | None, before: datetime | None, now: datetime) -> bool:
    """Return whether a model that is looked at *every* so often is looked at *now*; the looks of a model are aligned.

    every | last look       | due
    ------+-----------------+----
    None  | any             | yes
    set   | never           | yes
    set   | this interval   | no
    set   | an earlier one  | yes
    """
    if every is None or before is None:
        return True
    return now.timestamp() // every.total_seconds() > before.timestamp() // every.total_seconds()


def decide(
    entries: Sequence[Entry],
    version: str,
    *,
    answer_within: timedelta,
    now: datetime,
    earlier: int = 0,
) -> Decision:
    """Decide about *version*, which the source holds now, by the newest release of the model.

    Only the newest release counts, of those that knew their version: a source that went from A to B and back to A
    has moved, and asks again, unless A is what is live and nothing can come of B. Rollbacks, and what somebody else
    changed (``observed``), are no proposals: the source did not move by them. What a rollback serves again is live.

    :param entries: Of all releases since, and including, the newest that went live.
    :param answer_within: How long the gates of the model's releases wait at most; a release that was only proposed,
        and of which nothing was heard for that and a day, is lost.
    :param earlier: How many releases there were before those of *entries*.

        newest release   | its events                        | propose
        -----------------+-----------------------------------+------------------------------------
        none             | -                                 | yes: nothing was ever proposed
        another version  | of no effect, this one is live    | no: it is live
        another version  | rolled back, to this one          | no: it is live
        another version  | any other                         | yes: the source has moved on
        this version     | rejected, put-back, rolled-back   | no: a person asks, or it moves on
        this version     | live                              | no: it is live
        this version     | approved and failed               | no: a person looks first
        this version     | superseded                        | no: what superseded it comes first
        this version     | failed, the wait is not over      | no: not yet
        this version     | failed, the wait is over          | yes: again
        this version     | only proposed, and lost           | as if it had failed then
        this version     | proposed, approved                | no: under way

    Of no effect are releases that were rejected, superseded, lost, or that failed before the gate: what was live before
    them still is.

    The wait after a failure before the gate is 30 minutes and doubles with each failure in a row, to a day. Releases
    that failed without knowing a version, since the newest that knew, may have been about any: what would be proposed
    waits for them as well.
    """
    releases, lost_after = _by_release(_of_proposals(entries)), answer_within + ON_THE_WAY
    known = [release for release in releases if any(entry.source_version for entry in release)]
    unknown = _unknown_since(releases)
    if not known:
        decision = Decision(True, "nothing was ever proposed")
    elif version not in _versions(known[-1]):
        decision = _moved(_decisive(entries), version, lost_after, now)
    else:
        decision = _same_again(known, version, lost_after, now)
    if decision.propose and unknown and not (wait := _after_failures(unknown, "failed", lost_after, now)).propose:
        decision = wait
    return replace(decision, attempt=earlier + len(releases) + 1 if decision.propose else 0)


def first(models: Collection[str], most: int, look: str) -> set[str]:
    """Return *most* of *models*, all if they are not more; others at another *look*, so that none waits for ever."""

    def place(model: str) -> bytes:
        return hashlib.sha256(f"{look}/{model}".encode()).digest()

    return set(sorted(models, key=place)[:most])


def _moved(releases: list[list[Entry]], version: str, lost_after: timedelta, now: datetime) -> Decision:
    """Decide about *version*, which the newest of *releases* that proposed something was not about."""
    effective = (one for one in reversed(releases) if not _of_no_effect(one, lost_after, now))
    if (before := next(effective, None)) and version in _versions(before):
        events = {entry.event for entry in before}
        if "live" in events and "rolled-back" not in events:
            return Decision(False, "it is live, and nothing came of what was proposed since")
    return Decision(True, "the source has moved on")


def _of_no_effect(release: list[Entry], lost_after: timedelta, now: datetime) -> bool:
    events = {entry.event for entry in release}
    return not {"approved", "live", "put-back", "rolled-back"} & events and bool(
        {"rejected", "superseded"} & events or _failed_at(release, lost_after, now)
    )


def _same_again(releases: list[list[Entry]], version: str, lost_after: timedelta, now: datetime) -> Decision:
    """Decide about *version*, which the newest of *releases* was about."""
    newest = releases[-1]
    events = {entry.event for entry in newest}
    for final, reason in _FINAL:
        if final <= events:
            return Decision(False, reason)
    if _failed_at(newest, lost_after, now) is None:
        return Decision(False, f"release {newest[0].release_id} is under way")
    how = "failed before the gate" if "failed" in events else f"was lost: nothing was heard of it for {lost_after}"
    return _after_failures(_failures_in_a_row(releases, version, lost_after, now), how, lost_after, now)


def _after_failures(failures: list[list[Entry]], how: str, lost_after: timedelta, now: datetime) -> Decision:
    """Wait after the last of *failures*, which ended as *how* says, the longer the more there are."""
    last = failures[-1]
    ended = _failed_at(last, lost_after, now) or last[-1].at
    due = ended + min(FIRST_WAIT * (1 << min(len(failures) - 1, 10)), LONGEST_WAIT)
    if now < due:
        return Decision(False, f"release {last[0].release_id} {how}: again after {due.isoformat(timespec='seconds')}")
    return Decision(True, f"release {last[0].release_id} {how}")


_FINAL: tuple[tuple[set[str], str], ...] = (
    ({"rejected"}, "it was rejected: start the release by hand, or let the source move on"),
    ({"put-back"}, "it was put back: start the release by hand, or let the source move on"),
    ({"rolled-back"}, "it was rolled back: start the release by hand, or let the source move on"),
    ({"live"}, "it is live"),
    ({"approved", "failed"}, "it failed after the gate: look at that release first"),
    ({"superseded"}, "it was superseded"),
)


def _of_proposals(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that are about versions of the source."""
    rollbacks = {entry.release_id for entry in entries if entry.event == "rollback"}
    return [entry for entry in entries if entry.event != "observed" and entry.release_id not in rollbacks]


def _decisive(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the releases that knew their version; of rollbacks only those that went live."""
    tried = {entry.release_id for entry in entries if entry.event == "rollback"}
    tried -= {entry.release_id for entry in entries if entry.event == "live"}
    wanted = [entry for entry in entries if entry.event != "observed" and entry.release_id not in tried]
    return [release for release in _by_release(wanted) if any(_versions(release))]


def _by_release(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries of each release, in time order, the oldest release first: their names are in that order."""
    releases: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.release_id, entry.at)):
        releases.setdefault(entry.release_id, []).append(entry)
    return list(releases.values())


def _versions(release: list[Entry]) -> set[str | None]:
    return {entry.source_version for entry in release}


def _failed_at(release: list[Entry], lost_after: timedelta, now: datetime) -> datetime | None:
    """Return when *release* failed or was given up for lost, None if it is neither."""
    events, last = {entry.event for entry in release}, release[-1].at
    if "failed" in events:
        return last
    return last + lost_after if events == {"proposed"} and now >= last + lost_after else None


def _failures_in_a_row(
    releases: list[list[Entry]], version: str, lost_after: timedelta, now: datetime
) -> list[list[Entry]]:
    """Return the newest releases as long as they failed at *version*, the oldest first."""
    failed = takewhile(
        lambda one: version in _versions(one) and _failed_at(one, lost_after, now) is not None, reversed(releases)
    )
    return list(failed)[::-1]


def _unknown_since(releases: list[list[Entry]]) -> list[list[Entry]]:
    """Return the releases after the newest that knew its version, the oldest first."""
    return list(takewhile(lambda one: not any(_versions(one)), reversed(releases)))[::-1]
