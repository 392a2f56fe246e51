"""What can be served again: snapshots that were live at a service and are still on its claim."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from modelberth.core.revision import Revision, Snapshot
from modelberth.core.units import human

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

VERIFIED_WITHIN = timedelta(days=7)
"""How old a snapshot's newest verification may be without another one that is started beside a rollback to it."""


class NotPossibleError(ValueError):
    """What was asked for cannot be served again; the text says what can."""


@dataclass(frozen=True, slots=True)
class Lived:
    """A snapshot that was live at a service.

    :param release_id: The release whose receipts prove that it was uploaded and verified.
    :param by: The release, or the rollback, that brought it into service.
    :param at: When it went live.
    """

    snapshot: Snapshot
    release_id: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot on the claim, as a pod has just seen it: ``ready``, ``damaged`` or ``foreign``."""

    snapshot: Snapshot
    state: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot that was live before; *obstacle* is why it cannot be served again, None if it can."""

    lived: Lived
    bytes: int | None
    obstacle: str | None


def candidates(
    lived: Iterable[Lived], held: Iterable[Held], damaged: Collection[Snapshot], serving: Collection[Snapshot]
) -> list[Candidate]:
    """Return each snapshot that was live, the one that was live last first.

    on the claim     | damage on record | served now | can be served again
    -----------------+------------------+------------+---------------------------------------------
    ready            | no               | no         | yes
    ready            | no               | yes        | no: it is
    ready            | yes              | any        | no
    not ready        | any              | any        | no: it is damaged, or not ours
    no               | any              | any        | no: only a release brings it back

    :param damaged: The snapshots that a verify found damaged.
    :param serving: Those that all bindings of the service name now.
    """
    there = {one.snapshot: one for one in held}
    newest: dict[Snapshot, Lived] = {}
    for one in sorted(lived, key=lambda one: (one.at, one.by)):
        newest[one.snapshot] = one
    return [
        Candidate(one, _bytes(one, there), _obstacle(one, there, damaged, serving))
        for one in sorted(newest.values(), key=lambda one: (one.at, one.by), reverse=True)
    ]


def _bytes(one: Lived, there: Mapping[Snapshot, Held]) -> int | None:
    return there[one.snapshot].bytes if one.snapshot in there else None


def _obstacle(
    one: Lived, there: Mapping[Snapshot, Held], damaged: Collection[Snapshot], serving: Collection[Snapshot]
) -> str | None:
    held = there.get(one.snapshot)
    if held is None:
        return "not on the claim any more"
    if one.snapshot in damaged:
        return "on record as damaged"
    if held.state != "ready":
        return f"{held.state} on the claim"
    return "served now" if one.snapshot in serving else None


def chosen(found: Sequence[Candidate], model: str, to: str) -> Candidate:
    """Return the candidate that *to* names: a snapshot, or a revision, of which the copy that was live last is meant.

    :raises NotPossibleError: It names none that can be served again.
    """
    named = [one for one in found if to in (str(one.lived.snapshot), str(Revision(model, one.lived.snapshot.digest)))]
    possible = [one for one in named if one.obstacle is None]
    if possible:
        return possible[0]
    others = ", ".join(str(one.lived.snapshot) for one in found if one.obstacle is None) or "none"
    why = f"it is {named[0].obstacle}" if named else "it was never live at this service"
    raise NotPossibleError(
        f"Nothing was changed: {to!r} of model {model!r} cannot be served again, {why}. Snapshots that can: {others}. "
        "Give one of them, or its revision, as 'to'; a release brings back what is not on the claim."
    )


def table(found: Sequence[Candidate], now: datetime) -> str:
    """Return *found* as the Markdown table that a person chooses from."""
    if not found:
        return "No snapshot of this model was ever live at this service."
    rows = [("Snapshot", "Live since", "By release", "Size", "Can be served again"), ("---",) * 5]
    rows += [
        (
            f"`{one.lived.snapshot}`",
            f"{one.lived.at:%Y-%m-%d %H:%M} ({_ago(now - one.lived.at)} ago)",
            one.lived.by,
            human(one.bytes) if one.bytes is not None else "",
            f"no: {one.obstacle}" if one.obstacle else "yes",
        )
        for one in found
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ago(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"


def wants_verify(verified_at: datetime | None, now: datetime) -> bool:
    """Return whether a verification belongs beside a rollback to a snapshot that was verified last at *verified_at*.

    verified            | wants one
    --------------------+----------
    within 7 days       | no
    longer ago          | yes
    nobody knows when   | yes
    """
    return verified_at is None or now - verified_at > VERIFIED_WITHIN
