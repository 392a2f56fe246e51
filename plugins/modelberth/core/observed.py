"""What a rollout is decided by: its records, the workload, its pods, as one look has found them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from modelberth.core.binding import Live
from modelberth.core.progress import Progress, State


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


@dataclass(frozen=True, slots=True)
class Soak:
    """The soak that the plan asks for; of a release that changes nothing there is none.

    :param left: Seconds; None before it has begun.
    :param partition: What the live partition of a StatefulSet is to the plan; None where the target comes as a whole.
    """

    left: float | None = None
    partition: Live | None = None

    @property
    def on(self) -> bool:
        """Whether what came first is being watched: until its time is over and the rest may follow."""
        return self.left is not None and (self.left > 0 or self.partition is Live.TO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that the machine decides by."""

    started: bool = False
    decided: Decision | None = None
    finished: bool = False
    ended: str | None = None
    """Why a person or the end of the run wants this release out of the way; None while nobody does."""

    frozen: str | None = None
    """Why no release may begin at all; None while one may. It does not matter once one has begun."""

    gone: str | None = None
    """Why the workload is not the one of the plan; None while it is."""

    paused: bool = False
    lock: Lock = Lock.FREE
    held: str = "another release holds it"
    """Who else holds the workload and what to do about it; it counts while the lock is another's."""

    values: tuple[Live, ...] = ()
    patched: bool = False
    """This process has seen the workload with the new values."""

    soak: Soak | None = None
    progress: Progress = field(default=Progress(State.WAITING))
    hopeless: str | None = None
    """Why its new pods will not become ready, however long they are waited for; None while they may."""

    stuck: tuple[str, ...] = ()
    """Pods of a StatefulSet that wait to become ready with a template that is not the newest any more."""

    was_complete: bool = True
    """The workload was complete when the release started: only then is a put-back waited for."""

    confirmation: Confirmation | None = None
    """None also when the last one is due to be made again."""

    seconds_left: float = 0.0
