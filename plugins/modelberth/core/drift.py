"""Whether what is served is what the last release says: somebody else may have changed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Left:
    """What the release that went live last left at a target of one model.

    :param release_id: That release.
    :param values: What each of the model's variables was set to, by ``container/VARIABLE``.
    :param revision: What the pod template's annotation names.
    :param receipt: The digest of its decision, which the workload bears.
    """

    release_id: str
    values: Mapping[str, str]
    revision: str
    receipt: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The same, as it is now; *under_way*: a release or rollback holds the workload."""

    values: Mapping[str, str | None]
    revision: str | None
    receipt: str | None
    under_way: bool


def differences(left: Left | None, seen: Seen) -> list[str]:
    """Return what somebody else changed, a line each.

    under way | left by a release | seen                          | said
    ----------+-------------------+-------------------------------+--------------------------------------------
    yes       | any               | any                           | nothing: it is being changed
    no        | nothing           | any                           | nothing: there is no receipt to compare it with
    no        | a value           | another value, or none        | which
    no        | a value           | the value, another annotation | which
    no        | a value           | all the same                  | nothing
    """
    if seen.under_way or left is None:
        return []
    found = [
        f"{name} is {value!r}, but release {left.release_id} left {left.values.get(name)!r}"
        for name, value in seen.values.items()
        if value != left.values.get(name)
    ]
    notes = (("revision", seen.revision, left.revision), ("receipt", seen.receipt, left.receipt))
    return found + [
        f"its annotation names {what} {now}, but release {left.release_id} left {then}"
        for what, now, then in notes
        if now != then
    ]
