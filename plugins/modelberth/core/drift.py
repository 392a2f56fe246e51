"""Whether what is served is what the last release says: somebody else may have changed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Left:
    """What the release that went live last left at a target of one model.

    :param release_id: That release.
    :param values: What each of the model's variables was set to, by ``container/VARIABLE``.
    :param revision: What the pod template's annotation names.
    :param receipt: The digest of its decision, which the workload bears.
    :param at: When that was decided.
    """

    release_id: str
    values: Mapping[str, str]
    revision: str
    receipt: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """The same, as it is now.

    :param at: When what *receipt* names was decided; None if nothing of it is on record.
    :param under_way: A release or rollback that has begun here and has not ended holds the workload.
    """

    values: Mapping[str, str | None]
    revision: str | None
    receipt: str | None
    at: datetime | None
    under_way: bool


def differences(left: Left | None, seen: Seen) -> list[str]:
    """Return what somebody else changed, a line each.

    under way | left by a release | seen                          | said
    ----------+-------------------+-------------------------------+--------------------------------------------------
    yes       | any               | any                           | nothing: it is being changed
    no        | nothing           | a receipt, not on record      | that: all evidence of what is live was taken away
    no        | nothing           | none, or one on record        | nothing: there is nothing to compare it with
    no        | a value           | another value, or none        | which
    no        | a value           | the value, another annotation | which, but a receipt that was decided later: a
              |                   |                               | release of another model of the workload left that
    no        | a value           | all the same                  | nothing
    """
    if seen.under_way:
        return []
    if left is None:
        gone = f"its annotation names receipt {seen.receipt}, of which nothing is on record"
        return [gone] if seen.receipt and seen.at is None else []
    found = [
        f"{name} is {value!r}, but release {left.release_id} left {left.values.get(name)!r}"
        for name, value in seen.values.items()
        if value != left.values.get(name)
    ]
    later = seen.at is not None and seen.at > left.at
    notes = [("revision", seen.revision, left.revision)]
    notes += [] if later else [("receipt", seen.receipt, left.receipt)]
    return found + [
        f"its annotation names {what} {now}, but release {left.release_id} left {then}"
        for what, now, then in notes
        if now != then
    ]
