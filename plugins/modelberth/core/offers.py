"""Which release of a model may still be decided: what another model's release takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def undecided(ledger: Iterable[tuple[str, str]]) -> str | None:
    """Return the release that may still be decided by *ledger*, pairs of release and event; None if there is none.

    Only the newest counts of those that are offers: it supersedes the others, whatever became of it.

    newest release's events            | then
    -----------------------------------+---------------------------
    not proposed: a rollback           | the one before it is asked
    proposed, failed, not approved     | the one before it is asked
    proposed only                      | it
    proposed, any other                | none
    """
    events: dict[str, set[str]] = {}
    for release, event in ledger:
        if event == "observed":  # of somebody else's change, which was seen by the plan of that release
            continue
        events.setdefault(release, set()).add(event)
    for release in sorted(events, reverse=True):
        seen = events[release]
        if "proposed" in seen and not ("failed" in seen and "approved" not in seen):
            return release if seen == {"proposed"} else None
    return None
