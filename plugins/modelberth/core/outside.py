"""What somebody else changed since the last release: found, said, and taken as it is, never overwritten silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from modelberth.core.plan import Plan


@dataclass(frozen=True, slots=True)
class Change:
    """One variable that is not as release *since* left it."""

    target: str
    model: str
    variable: str
    left: str
    found: str | None
    since: str

    def __str__(self) -> str:
        found = repr(self.found) if self.found is not None else "not set"
        return f"{self.variable} of {self.target} is {found}; release {self.since} left it at {self.left!r}"

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {key: getattr(self, key) for key in ("target", "model", "variable", "left", "found", "since")}


def newest_live(entries: Iterable[tuple[datetime, str, str]]) -> str | None:
    """Return the release that went live last by *entries*: when, which release, and the event."""
    return max(((at, release) for at, release, event in entries if event == "live"), default=(None, None))[1]


def changes(plan: Plan, last: Mapping[str, Plan]) -> list[Change]:
    """Return what is not as it was left, of all that *plan* is about.

    the variable in the last plan | now            | changed from outside
    ------------------------------+----------------+---------------------
    not there, or no last plan    | any            | nobody can say: no
    ``to``                        | the same       | no
    ``to``                        | another, unset | yes

    :param last: By model, the plan of the release that went live last.
    """
    found = []
    for target in plan.targets:
        for binding in target.bindings:
            before = last.get(binding.model)
            left = _left(before, target.name, binding.model) if before else {}
            to = left.get(str(binding))
            if before and to is not None and binding.from_ != to:
                found.append(Change(target.name, binding.model, str(binding), to, binding.from_, before.release_id))
    return found


def _left(plan: Plan, target: str, model: str) -> dict[str, str]:
    """Return what *plan* brought, by container and variable."""
    return {str(one): one.to for at in plan.targets if at.name == target for one in at.bindings_of(model)}
