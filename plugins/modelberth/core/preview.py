"""The preview: one pod with what is to come, tried before a person is asked; decided step by step like a rollout.

    CREATE -> WAIT -> CONFIRM -> PASS | FAIL -> REMOVE -> DONE

What was done is read from the pod and from the receipt, so whoever takes it up goes on. No pod outlives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from modelberth.core.rollout import ENOUGH_ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.core.observed import Confirmation
    from modelberth.core.plan import Plan

CONFIRMED, NOT_CONFIRMED = "confirmed", "not confirmed"


class Pod(Enum):
    """How the preview's pod is."""

    NONE = auto()
    WAITING = auto()
    READY = auto()
    ENDED = auto()
    LEAVING = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that is decided by.

    :param ended: Why somebody wants it out of the way, None while nobody does.
    :param confirmed: A receipt says that this very plan was tried and confirmed.
    :param failed: Why this process has found that it does not, None while it has not.
    :param keeps: What keeps the pod from being ready.
    :param hopeless: Why it will not become ready, None while it may.
    """

    ended: str | None = None
    confirmed: bool = False
    failed: str | None = None
    pod: Pod = Pod.NONE
    keeps: str = ""
    hopeless: str | None = None
    confirmation: Confirmation | None = None
    seconds_left: float = 0.0


class Do(Enum):
    """What comes next."""

    CREATE = auto()
    WAIT = auto()
    CONFIRM = auto()
    PASS = auto()
    FAIL = auto()
    REMOVE = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Action:
    """The one next thing to do, and why."""

    do: Do
    reason: str = ""


def decide(seen: Seen) -> Action:
    """Return what comes next; the first row that holds counts.

    ended, confirmed or failed: the pod is there       | REMOVE
    ended, confirmed or failed: it is not, or leaving  | DONE
    the pod is leaving (of an attempt before)          | WAIT
    there is none                                      | CREATE
    it has ended                                       | FAIL
    it is not ready, and hopeless                      | FAIL
    it is not ready, and the time is over              | FAIL
    it is not ready                                    | WAIT
    it is ready                                        | CONFIRM, PASS or FAIL: see _confirming
    """
    if over := seen.ended or seen.failed or ("it has confirmed" if seen.confirmed else None):
        return Action(Do.DONE if seen.pod in (Pod.NONE, Pod.LEAVING) else Do.REMOVE, over)
    if seen.pod is Pod.LEAVING:
        return Action(Do.WAIT, "the pod of an attempt before is ending")
    if seen.pod is Pod.NONE:
        return Action(Do.CREATE)
    if seen.pod is Pod.ENDED:
        return Action(Do.FAIL, f"its pod has ended: {seen.keeps}")
    if seen.pod is Pod.READY:
        return _confirming(seen)
    if seen.hopeless:
        return Action(Do.FAIL, f"it will not become ready: {seen.hopeless}")
    if seen.seconds_left <= 0:
        return Action(Do.FAIL, f"it was not ready in time: {seen.keeps}")
    return Action(Do.WAIT, seen.keeps)


def _confirming(seen: Seen) -> Action:
    """Return what follows readiness.

    confirmation | attempts | time left | then
    -------------+----------+-----------+--------
    none         | -        | any       | CONFIRM
    no problems  | any      | any       | PASS
    problems     | < 3      | yes       | CONFIRM
    problems     | 3        | any       | FAIL
    problems     | any      | no        | FAIL
    """
    if seen.confirmation is None:
        return Action(Do.CONFIRM)
    if not (problems := seen.confirmation.problems):
        return Action(Do.PASS)
    if seen.confirmation.attempts < ENOUGH_ATTEMPTS and seen.seconds_left > 0:
        return Action(Do.CONFIRM, problems[0])
    return Action(Do.FAIL, "it did not confirm: " + "; ".join(problems))


def problem(receipt: Mapping[str, Any] | None, plan: Plan) -> str | None:
    """Return why *receipt* does not show that what *plan* brings was tried and confirmed, None if it does.

    receipt | its plan | its result    | shows it
    --------+----------+---------------+---------
    none    | -        | -             | no
    there   | this one | confirmed     | yes
    there   | this one | not confirmed | no
    there   | another  | any           | no
    """
    if receipt is None:
        return "there is none"
    if receipt.get("plan_digest") != str(plan.digest):
        return f"it is of plan {receipt.get('plan_digest')}, expected {plan.digest}"
    return None if receipt.get("result") == CONFIRMED else f"it says {receipt.get('result')!r}"
