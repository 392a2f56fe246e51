"""What of a model's content is looked at before a person is asked, and what follows from what is found.

code      files that execute code when they are loaded, or are programs
headers   files whose header is not what their name says
licence   a model that does not say under which terms it may be used
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS = ("code", "headers", "licence")
OFF, WARN, REQUIRE = POLICIES = ("off", "warn", "require")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is in a release's way, and what the person at the gate should know; whole sentences."""

    refused: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


def asked(policies: Mapping[str, str]) -> list[str]:
    """Return the checks that are not off, in their order."""
    return [check for check in CHECKS if policies.get(check, OFF) != OFF]


def judge(policies: Mapping[str, str], found: Mapping[str, Any] | None) -> Judgement:
    """Return what follows from *found*, how many problems each check that was done has found.

    policy  | found      | then
    --------+------------+---------
    off     | any        | nothing
    any     | 0          | nothing
    warn    | 1 or more  | warned
    warn    | not looked | warned
    require | 1 or more  | refused
    require | not looked | refused
    """
    said = {REQUIRE: [], WARN: []}  # type: dict[str, list[str]]
    for check in asked(policies):
        count = (found or {}).get(check)
        if count is None:
            said[policies[check]].append(f"content.{check} was not looked at")
        elif count:
            said[policies[check]].append(f"content.{check} has {count} problem{'s' * (count != 1)}")
    return Judgement(tuple(said[REQUIRE]), tuple(said[WARN]))
