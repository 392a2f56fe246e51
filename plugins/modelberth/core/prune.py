"""What becomes of each snapshot on a claim: kept, condemned, taken off the list again, or deleted.

Two phases. A snapshot that nothing uses is condemned: a mark on the claim, which moves no byte, so whoever begins to
use it within the grace finds it where it was. When the grace has passed and still nothing uses it, it is renamed out
of sight, use is looked up once more, and only then it is deleted; else it is renamed back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

from modelberth.core.ledger import LIVE
from modelberth.core.mentions import Mention

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from modelberth.core.revision import Snapshot

MOMENT = "%Y-%m-%dT%H:%M:%SZ"
"""How a mark says since when its snapshot is condemned."""

READY, DAMAGED, FOREIGN = "ready", "damaged", "foreign"

STAGING_IDLE = 86400
"""Seconds for which a journal has not moved, when nobody is taken to go on with it."""

LEAST_GRACE = 3600
"""Seconds: as long as a check before a rollout holds, which is not passed by what is condemned."""


class Do(StrEnum):
    """What is done with a snapshot."""

    KEEP = "keep"
    WAIT = "wait"
    CONDEMN = "condemn"
    LIFT = "lift"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Lying:
    """One snapshot as it lies on the claim.

    A revision's bytes *in_bucket* are looked at as its copy 1, and named without a number.

    :param state: ``ready``, ``damaged`` (on record) or ``foreign``.
    :param condemned: Since when it is; None if it is not, or nobody knows since when.
    :param trashed: It is out of sight already.
    """

    model: str
    snapshot: Snapshot
    state: str
    bytes: int = 0
    condemned: datetime | None = None
    trashed: bool = False
    in_bucket: bool = False

    def __str__(self) -> str:
        revision = f"{self.model}@{self.snapshot.digest}"
        return revision if self.in_bucket else f"{revision}.{self.snapshot.copy}"

    @property
    def this_condemnation(self) -> str:
        """Its name, with since when it is condemned: what is done late must be about that, not about a later time."""
        return f"{self}={self.condemned:{MOMENT}}" if self.condemned else str(self)


@dataclass(frozen=True, slots=True)
class Use:
    """Somebody names a snapshot.

    :param who: As a person would find it: ``Deployment serving/embedder``.
    """

    who: str
    mention: Mention


@dataclass(frozen=True, slots=True)
class Unknown:
    """Somebody may use snapshots, of *model* or (None) of any, and nobody can tell which.

    :param why: A whole sentence, which says what to do.
    """

    why: str
    model: str | None = None


@dataclass(frozen=True)
class Seen:
    """All that is known about who uses what."""

    uses: tuple[Use, ...] = ()
    unknown: tuple[Unknown, ...] = ()

    def users(self, one: Lying) -> list[str]:
        """Return who uses *one*, each once."""
        return list(dict.fromkeys(use.who for use in self.uses if use.mention.means(one.snapshot)))

    def of_revisions(self) -> Seen:
        """Return the same as it is for a bucket: who uses one copy on a claim uses the revision."""
        return Seen(tuple(Use(use.who, Mention(use.mention.digest)) for use in self.uses), self.unknown)

    def doubts(self, one: Lying) -> list[str]:
        """Return why it cannot be known whether somebody uses *one*."""
        return list(dict.fromkeys(doubt.why for doubt in self.unknown if doubt.model in (None, one.model)))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one snapshot, and why."""

    lying: Lying
    do: Do
    why: str


def decide(one: Lying, seen: Seen, grace: timedelta, now: datetime) -> Decision:
    """Return what is to be done with one snapshot.

    | it is | used | known? | condemned | then |
    |---|---|---|---|---|
    | foreign | any | any | any | refuse: it is not ours |
    | in its place | yes | any | no | keep |
    | in its place or in the trash | yes | any | yes | lift: back as if nothing had been |
    | in its place | no | no | any | refuse: nothing of it is changed |
    | in the trash | no | no | any | lift |
    | in its place | no | yes | no | condemn |
    | in its place | no | yes | within the grace | wait |
    | in its place or in the trash | no | yes | for the grace | delete |
    | in the trash | no | yes | within the grace, or nobody knows since when | lift |

    :param grace: How long a snapshot must have been condemned.
    """
    if one.state == FOREIGN and not one.trashed:
        return Decision(one, Do.REFUSE, "It is not ours: remove it by hand if it is yours.")
    marked = one.trashed or one.condemned is not None
    if users := seen.users(one):
        return Decision(one, Do.LIFT if marked else Do.KEEP, f"Used by {_listed(users)}.")
    if doubts := seen.doubts(one):
        return Decision(one, Do.LIFT if one.trashed else Do.REFUSE, _doubted(doubts))
    if not marked:
        return Decision(one, Do.CONDEMN, f"Nothing uses it: it goes in {_span(grace)} if that stays so.")
    if one.condemned and now - one.condemned >= grace:
        return Decision(one, Do.DELETE, f"Nothing uses it; condemned since {_moment(one.condemned)}.")
    if one.trashed:
        return Decision(one, Do.LIFT, "It is in the trash, though its grace has not passed.")
    assert one.condemned  # noqa: S101 - for mypy: it is marked, and not in the trash
    return Decision(one, Do.WAIT, f"Nothing uses it: it goes after {_moment(one.condemned + grace)}.")


def second_look(one: Lying, seen: Seen) -> Decision:
    """Return what is to be done with what was just condemned or renamed out of sight.

    | used | known? | in the trash | then |
    |---|---|---|---|
    | yes | any | any | lift |
    | no | no | yes | lift |
    | no | no | no | wait: the next run decides |
    | no | yes | yes | delete |
    | no | yes | no | wait |
    """
    if users := seen.users(one):
        return Decision(one, Do.LIFT, f"Used by {_listed(users)}, seen at the second look.")
    if doubts := seen.doubts(one):
        return Decision(one, Do.LIFT if one.trashed else Do.WAIT, _doubted(doubts))
    return Decision(one, Do.DELETE if one.trashed else Do.WAIT, "Nothing uses it, seen twice.")


# What was live before, and what is about to be. -----------------------------------------------------------------------


def last_live(
    lived: Mapping[tuple[str, str], Iterable[Snapshot]], lying: Sequence[Lying], keep: Mapping[str, int]
) -> list[Use]:
    """Return the last snapshots that were live, as uses: a rollback may want them.

    Of each service and model the last *keep* ones count, those that are gone as well. One that is damaged or gone is
    stood in for by the newest copy of its revision that is well.

    :param lived: By service and model, the newest first.
    :param keep: How many, by model.
    """
    found = []
    for (service, model), snapshots in lived.items():
        last = list(dict.fromkeys(snapshots))[: keep.get(model, 0)]
        for good in filter(None, (_stand_in(model, one, lying) for one in last)):
            who = f"a rollback of service {service} ({model} keeps the last {keep[model]} that were live)"
            found.append(Use(who, Mention(good.digest, good.copy)))
    return found


def _stand_in(model: str, snapshot: Snapshot, lying: Sequence[Lying]) -> Snapshot | None:
    """Return *snapshot* if it is well, else the newest copy of its revision that is."""
    well = {one.snapshot for one in lying if one.model == model and one.state == READY}
    copies = (one for one in well if one.digest == snapshot.digest)
    return snapshot if snapshot in well else max(copies, default=None)


class Standing(Enum):
    """Whether a release may still be rolled out, as far as the ledger says."""

    PENDING = auto()
    ENDED = auto()
    FAILED = auto()


def standing(events: Collection[str], newer: bool) -> Standing:
    """Return how a release with these ledger *events* stands: while it is pending, it needs its snapshots.

    | events | newer proposal | then |
    |---|---|---|
    | none of proposed, rollback, approved | any | ended: it is no release |
    | one of live, rejected, superseded, put-back, rolled-back | any | ended |
    | not failed | any | pending |
    | failed | no | failed: a person may clear its tasks, see ``may_go_on`` |
    | failed | yes | ended: it is superseded |
    | failed, a rollback that nobody has approved | yes | failed: no proposal supersedes it |

    :param newer: Whether a newer release supersedes it.
    """
    if not {"proposed", "rollback", "approved"}.intersection(events) or _ENDS.intersection(events):
        return Standing.ENDED
    if "failed" not in events:
        return Standing.PENDING
    asks = "rollback" in events and "approved" not in events
    return Standing.ENDED if newer and not asks else Standing.FAILED


_ENDS = frozenset({"live", "rejected", "superseded", "put-back", "rolled-back"})


def may_go_on(outcomes: Collection[str | None], approved: bool, answer_until: datetime, now: datetime) -> bool:
    """Return whether a release that has a plan, but failed, goes on if a person clears its tasks.

    | outcomes | approved | answer_until | goes on |
    |---|---|---|---|
    | one put back or lost | any | any | no: its approval is used |
    | live at all targets | any | any | no: it serves |
    | else | yes | any | yes: its approval still counts, as after a freeze |
    | else | no | is to come | yes: it waits at its gate, or will |
    | else | no | is over | no: its gate rejects it |

    :param outcomes: Of every target of its plan, None where it has none.
    :param answer_until: When the gate ends by itself.
    """
    if all(one == LIVE for one in outcomes) or not {LIVE, None}.issuperset(outcomes):
        return False
    return approved or now <= answer_until


def _doubted(doubts: Sequence[str]) -> str:
    more = f" And {len(doubts) - 1} reasons more, see below." if len(doubts) > 1 else ""
    return f"Nobody can know whether it is used. {doubts[0]}{more}"


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _span(grace: timedelta) -> str:
    days, hours = grace.days, grace.seconds // 3600
    return " ".join(part for part in (f"{days} d" * bool(days), f"{hours} h" * bool(hours)) if part)
