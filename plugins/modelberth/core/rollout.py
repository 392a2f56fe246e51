r"""The rollout: rolling out, confirming and putting back as one state machine without memory of its own.

What was done is read from three create-only records and from the workload itself, so the machine may be killed
at any point, run twice at once, or be taken up by another process:

    started   this release may change this workload; its time starts the clock of ready_within
    decided   "keep" or "put back", once and for all: two runs of one release cannot do both
    outcome   what became of it; the approval is used

    START -> LOCK -> PATCH -> WAIT -> CONFIRM -> KEEP     -> UNLOCK -> FINISH
                                   \-> PUT_BACK -> RESTORE -> WAIT -> UNLOCK -> FINISH

The lock is taken in a patch before the one that changes the pods, and the latter tests it. So a run that decided to
put back and released the lock cannot be followed by another run's late first patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from modelberth.core.plan import Live
from modelberth.core.progress import Progress, State

ENOUGH_ATTEMPTS = 3
"""A pod that answers wrongly is asked again: a server may be ready a moment before it is right. Not for ever."""


class Lock(Enum):
    """Who holds the workload; a holder that has an outcome holds nothing (kubectl's undo brings old notes back)."""

    FREE = auto()
    OURS = auto()
    OTHERS = auto()


class Decision(StrEnum):
    """What was decided about a change, once and for all."""

    KEEP = "keep"
    PUT_BACK = "put back"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What asking the pods has shown; *attempts* counts how often they were asked since the process began."""

    problems: tuple[str, ...]
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that the machine decides by."""

    started: bool = False
    decided: Decision | None = None
    finished: bool = False
    ended: str | None = None
    """Why a person or the end of the run wants this release out of the way; None while nobody does."""

    gone: str | None = None
    """Why the workload is not the one of the plan; None while it is."""

    paused: bool = False
    lock: Lock = Lock.FREE
    held: str = "another release holds it"
    """Who else holds the workload and what to do about it; it counts while the lock is another's."""

    values: tuple[Live, ...] = ()
    patched: bool = False
    """This process has seen the workload with the new values."""

    progress: Progress = field(default=Progress(State.WAITING))
    was_complete: bool = True
    """The workload was complete when the release started: only then is a put-back waited for."""

    confirmation: Confirmation | None = None
    seconds_left: float = 0.0


class Do(Enum):
    """What comes next."""

    REFUSE = auto()
    START = auto()
    LOCK = auto()
    PATCH = auto()
    WAIT = auto()
    CONFIRM = auto()
    KEEP = auto()
    PUT_BACK = auto()
    RESTORE = auto()
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

    ended | gone | paused | lock     | values      | then
    ------+------+--------+----------+-------------+-------
    yes   | any  | any    | any      | any         | REFUSE
    no    | yes  | any    | any      | any         | REFUSE
    no    | no   | yes    | any      | any         | REFUSE
    no    | no   | no     | others   | any         | REFUSE
    no    | no   | no     | any      | one foreign | REFUSE
    no    | no   | no     | free/ours| from, to    | START
    """
    if seen.ended or seen.gone:
        return Action(Do.REFUSE, seen.ended or seen.gone or "")
    if seen.paused:
        return Action(Do.REFUSE, "it is paused, so no rollout could complete: resume it")
    if seen.lock is Lock.OTHERS:
        return Action(Do.REFUSE, seen.held)
    if Live.FOREIGN in seen.values:
        return Action(Do.REFUSE, "a live value is neither what the plan found nor what it brings: start a new release")
    return Action(Do.START)


def _rolling_out(seen: Observed) -> Action:
    """Return the next step of a release that has started and is undecided; the first row that holds counts.

    ended, gone, or lock with others           | PUT_BACK
    a value is foreign                         | PUT_BACK
    a value is from again after it was to      | PUT_BACK
    a value is from, or lock free: time over   | PUT_BACK
    lock free                                  | LOCK
    a value is from                            | PATCH
    complete                                   | CONFIRM, KEEP, WAIT or PUT_BACK: see _confirming
    failed, or waiting and the time is over    | PUT_BACK
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
    if seen.progress.state is State.COMPLETE:
        return _confirming(seen)
    if seen.progress.state is State.FAILED:
        return Action(Do.PUT_BACK, seen.progress.reason)
    if seen.seconds_left <= 0:
        return Action(Do.PUT_BACK, f"it was not ready in time: {seen.progress.reason}")
    return Action(Do.WAIT, seen.progress.reason)


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
    return None


def _confirming(seen: Observed) -> Action:
    """Return what follows completion; no pod ever passes unasked.

    confirmation | attempts | time left | then
    -------------+----------+-----------+---------
    none         | -        | any       | CONFIRM
    no problems  | any      | any       | KEEP
    problems     | < 3      | yes       | CONFIRM
    problems     | 3        | any       | PUT_BACK
    problems     | any      | no        | PUT_BACK
    """
    if seen.confirmation is None:
        return Action(Do.CONFIRM)
    if not seen.confirmation.problems:
        return Action(Do.KEEP)
    if seen.confirmation.attempts < ENOUGH_ATTEMPTS and seen.seconds_left > 0:
        return Action(Do.CONFIRM, seen.confirmation.problems[0])
    return Action(Do.PUT_BACK, "its pods did not confirm: " + "; ".join(seen.confirmation.problems))


def _putting_back(seen: Observed) -> Action:
    """Return the next step of undoing; the first row that holds counts.

    gone, or lock with others                       | FINISH: nothing here is this release's to change any more
    a value is to                                   | RESTORE
    not complete, time left, and was complete before| WAIT
    lock ours                                       | UNLOCK
    else                                            | FINISH
    """
    if seen.gone or seen.lock is Lock.OTHERS:
        return Action(Do.FINISH, seen.gone or seen.held)
    if Live.TO in seen.values:
        return Action(Do.RESTORE)
    if seen.progress.state is not State.COMPLETE and seen.was_complete and seen.seconds_left > 0:
        return Action(Do.WAIT, seen.progress.reason)
    return Action(Do.UNLOCK if seen.lock is Lock.OURS else Do.FINISH)
