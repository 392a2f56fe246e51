r"""The rollout: rolling out, confirming and putting back as one state machine without memory of its own.

What was done is read from four create-only records and from the workload itself, so the machine may be killed
at any point, run twice at once, or be taken up by another process:

    started   this release may change this workload; its time starts the clock of ready_within
    soaking   what comes first (a canary) has confirmed; its time starts the clock of the soak
    decided   "keep" or "put back", once and for all: two runs of one release cannot do both
    outcome   what became of it; the approval is used

    START -> LOCK -> PATCH -> WAIT -> CONFIRM [-> SOAK -> CONFIRM again and again [-> WIDEN -> WAIT -> CONFIRM]] -> KEEP
                                   \-> PUT_BACK -> RESTORE -> UNSTICK -> WAIT                                       |
                                                                       \-> UNLOCK -> FINISH <-----------------------/

The lock is taken in a patch before the one that changes the pods, and the latter tests it. So a run that decided to
put back and released the lock cannot be followed by another run's late first patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from modelberth.core.binding import Live
from modelberth.core.observed import Decision, Lock
from modelberth.core.progress import State

if TYPE_CHECKING:
    from modelberth.core.observed import Observed, Soak

ENOUGH_ATTEMPTS = 3
"""A pod that answers wrongly is asked again: a server may be ready a moment before it is right. Not for ever."""


class Do(Enum):
    """What comes next."""

    REFUSE = auto()
    START = auto()
    LOCK = auto()
    PATCH = auto()
    WAIT = auto()
    CONFIRM = auto()
    SOAK = auto()
    WIDEN = auto()
    KEEP = auto()
    PUT_BACK = auto()
    RESTORE = auto()
    UNSTICK = auto()
    UNLOCK = auto()
    FINISH = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Action:
    """The one next thing to do, and why."""

    do: Do
    reason: str = ""


def decide(seen: Observed) -> Action:
    """Return what comes next.

    outcome | decided  | started | then
    --------+----------+---------+-------------------------------------
    yes     | any      | any     | DONE
    no      | keep     | any     | UNLOCK while the lock is ours, then FINISH
    no      | put back | any     | as in the table of _putting_back
    no      | no       | yes     | as in the table of _rolling_out
    no      | no       | no      | as in the table of _starting
    """
    if seen.finished:
        return Action(Do.DONE)
    if seen.decided is Decision.KEEP:
        return Action(Do.UNLOCK if seen.lock is Lock.OURS and not seen.gone else Do.FINISH)
    if seen.decided is Decision.PUT_BACK:
        return _putting_back(seen)
    return _rolling_out(seen) if seen.started else _starting(seen)


def _starting(seen: Observed) -> Action:
    """Return whether a release that has changed nothing yet may begin.

    ended, frozen, gone | paused | lock     | values      | partition     | then
    --------------------+--------+----------+-------------+---------------+-------
    one of them         | any    | any      | any         | any           | REFUSE
    none                | yes    | any      | any         | any           | REFUSE
    none                | no     | others   | any         | any           | REFUSE
    none                | no     | any      | one foreign | any           | REFUSE
    none                | no     | any      | any         | not from      | REFUSE
    none                | no     | free/ours| from, to    | from, no soak | START
    """
    if stopped := seen.ended or seen.frozen or seen.gone:
        return Action(Do.REFUSE, stopped)
    if seen.paused:
        return Action(Do.REFUSE, "it is paused, so no rollout could complete: resume it")
    if seen.lock is Lock.OTHERS:
        return Action(Do.REFUSE, seen.held)
    if Live.FOREIGN in seen.values:
        return Action(Do.REFUSE, "a live value is neither what the plan found nor what it brings: start a new release")
    if seen.soak and seen.soak.partition not in (None, Live.FROM):
        return Action(Do.REFUSE, "its partition is not what the plan found: start a new release")
    return Action(Do.START)


def _rolling_out(seen: Observed) -> Action:
    """Return the next step of a release that has started and is undecided; the first row that holds counts.

    ended, gone, or lock with others           | PUT_BACK
    a value or the partition is foreign        | PUT_BACK
    a value is from again after it was to      | PUT_BACK
    values to, but the partition is from before the soak is over | PUT_BACK
    a value is from, or lock free: time over   | PUT_BACK
    lock free                                  | LOCK
    a value is from                            | PATCH
    the soak is on                             | CONFIRM, WAIT, WIDEN or PUT_BACK: see _soaking
    complete                                   | CONFIRM, SOAK, KEEP or PUT_BACK: see _confirming
    failed, hopeless, or the time is over      | PUT_BACK
    waiting                                    | WAIT
    """
    disturbed = _disturbed(seen)
    if disturbed:
        return Action(Do.PUT_BACK, disturbed)
    pending = Live.FROM in seen.values
    if (pending or seen.lock is Lock.FREE) and seen.seconds_left <= 0:
        return Action(Do.PUT_BACK, "its time was over before it was rolled out")
    if seen.lock is Lock.FREE:
        return Action(Do.LOCK)
    if pending:
        return Action(Do.PATCH)
    if seen.soak and seen.soak.on:
        return _soaking(seen, seen.soak)
    return _confirming(seen) if seen.progress.state is State.COMPLETE else _waiting(seen)


def _disturbed(seen: Observed) -> str | None:
    """Return what came between, if something did."""
    if seen.ended or seen.gone:
        return seen.ended or seen.gone
    if seen.lock is Lock.OTHERS:
        return seen.held
    if Live.FOREIGN in seen.values:
        return "somebody set another value"
    if Live.FROM in seen.values and seen.patched:
        return "somebody set the former value again"
    return _widened(seen.soak) if seen.soak and Live.FROM not in seen.values else None


def _widened(soak: Soak) -> str | None:
    """Return that somebody else moved the partition after it was set, if that was done.

    partition | the soak                | moved
    ----------+-------------------------+------
    none, to  | any                     | no
    from      | is over: WIDEN did that | no
    from      | is not, or not begun    | yes
    foreign   | any                     | yes
    """
    over = soak.left is not None and soak.left <= 0
    if soak.partition in (None, Live.TO) or (soak.partition is Live.FROM and over):
        return None
    return "somebody changed its partition before the soak was over"


def _waiting(seen: Observed) -> Action:
    """Return whether pods that are not all ready yet are waited for.

    failed or hopeless | time left | pods are stuck | then
    -------------------+-----------+----------------+---------
    yes                | any       | any            | PUT_BACK
    no                 | no        | any            | PUT_BACK
    no                 | yes       | yes            | UNSTICK: they were not ready before, and a StatefulSet waits
    no                 | yes       | no             | WAIT
    """
    if seen.progress.state is State.FAILED:
        return Action(Do.PUT_BACK, seen.progress.reason)
    if seen.hopeless:
        return Action(Do.PUT_BACK, f"its new pods will not become ready: {seen.hopeless}")
    if seen.seconds_left <= 0:
        return Action(Do.PUT_BACK, f"it was not ready in time: {seen.progress.reason}")
    if seen.stuck:
        return Action(Do.UNSTICK, f"{', '.join(seen.stuck)} of the former template would not become ready")
    return Action(Do.WAIT, seen.progress.reason)


def _confirming(seen: Observed) -> Action:
    """Return what follows completion; no pod ever passes unasked.

    confirmation | attempts | time left | a soak is asked for and has not begun | then
    -------------+----------+-----------+---------------------------------------+---------
    none         | -        | any       | any                                   | CONFIRM
    no problems  | any      | any       | yes                                   | SOAK
    no problems  | any      | any       | no                                    | KEEP
    problems     | < 3      | yes       | any                                   | CONFIRM
    problems     | 3        | any       | any                                   | PUT_BACK
    problems     | any      | no        | any                                   | PUT_BACK
    """
    if seen.confirmation is None:
        return Action(Do.CONFIRM)
    if not seen.confirmation.problems:
        return Action(Do.SOAK if seen.soak and seen.soak.left is None else Do.KEEP)
    if seen.confirmation.attempts < ENOUGH_ATTEMPTS and seen.seconds_left > 0:
        return Action(Do.CONFIRM, seen.confirmation.problems[0])
    return Action(Do.PUT_BACK, "its pods did not confirm: " + "; ".join(seen.confirmation.problems))


def _soaking(seen: Observed, soak: Soak) -> Action:
    """Return what becomes of what came first and is being watched; ready or not, it is asked.

    hopeless | confirmation | attempts | soak left | then
    ---------+--------------+----------+-----------+---------
    yes      | any          | any      | any       | PUT_BACK
    no       | none, or due | -        | any       | CONFIRM
    no       | problems     | < 3      | any       | CONFIRM
    no       | problems     | 3        | any       | PUT_BACK
    no       | no problems  | any      | yes       | WAIT
    no       | no problems  | any      | no        | WIDEN: see Soak.on
    """
    if seen.hopeless:
        return Action(Do.PUT_BACK, f"it did not stay well: {seen.hopeless}")
    if seen.confirmation is None:
        return Action(Do.CONFIRM)
    if problems := seen.confirmation.problems:
        if seen.confirmation.attempts < ENOUGH_ATTEMPTS:
            return Action(Do.CONFIRM, problems[0])
        return Action(Do.PUT_BACK, "it did not stay well: " + "; ".join(problems))
    if soak.left is not None and soak.left > 0:
        return Action(Do.WAIT, f"{soak.left:.0f} s of its soak are left")
    return Action(Do.WIDEN)


def _putting_back(seen: Observed) -> Action:
    """Return the next step of undoing; the first row that holds counts.

    gone, or lock with others                       | FINISH: nothing here is this release's to change any more
    a value is to, or the partition is              | RESTORE
    pods are stuck                                  | UNSTICK: a StatefulSet waits for them for ever
    not complete, time left, and was complete before| WAIT
    lock ours                                       | UNLOCK
    else                                            | FINISH
    """
    if seen.gone or seen.lock is Lock.OTHERS:
        return Action(Do.FINISH, seen.gone or seen.held)
    if Live.TO in seen.values or (seen.soak and seen.soak.partition is Live.TO):
        return Action(Do.RESTORE)
    if seen.stuck:
        return Action(Do.UNSTICK, f"{', '.join(seen.stuck)} would not become ready")
    if seen.progress.state is not State.COMPLETE and seen.was_complete and seen.seconds_left > 0:
        return Action(Do.WAIT, seen.progress.reason)
    return Action(Do.UNLOCK if seen.lock is Lock.OURS else Do.FINISH)
