"""``modelberth prune``: what goes is named, in steps that somebody looks between; nothing else is touched.

::

    condemn     .modelberth/condemned/<model>/<snapshot>.json       a mark; the snapshot stays where it is
    trash       the mark becomes .taken, then one rename to .modelberth/trash/<model>/<snapshot>
    lift        back from wherever it is, as if nothing had been
    delete      one more rename to a name from which nothing comes back, then the bytes

Each step may be killed at any moment and run again: it looks at what is there and goes on from that.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from modelberth.core import layout
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.revision import Revision, Snapshot
from modelberth.core.units import human
from modelberth.engine import claim, condemned, filesystem, leftovers, removing
from modelberth.engine.condemned import is_there
from modelberth.engine.steps import Steps, refuse_repeats, since_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

log = logging.getLogger(__name__)

_One = TypeVar("_One")

_STEPS = ("condemn", "lift", "trash", "delete", "staging")


@dataclass(frozen=True, order=True, slots=True)
class Named:
    """A snapshot with its model: ``<model>@sha256:<64 hex>.<n>``, and ``=<time>`` after it.

    :param since: What is to be done holds only if the snapshot is condemned since exactly then; empty: always. So what
        was decided about it, and is done late, is not done after it was used and condemned once more.
    """

    model: str
    snapshot: Snapshot
    since: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> Named:
        """Return the snapshot that *text* names.

        :raises ValueError: *text* is not ``<model>@sha256:<64 hex>.<n>``, or that with ``=<time>``.
        """
        name, since = since_of(text)
        revision, dot, copy = name.rpartition(".")
        if not dot or not copy.isdecimal() or copy != copy.lstrip("0"):
            raise ValueError(f"Not a model's snapshot: {text!r}; expected '<model>@sha256:<64 hex>.<n>' with n from 1.")
        found = Revision.parse(revision)
        return cls(found.model, Snapshot(found.digest, int(copy)), since)

    def __str__(self) -> str:
        return f"{self.model}@{self.snapshot.digest}.{self.snapshot.copy}"

    def place(self, root: Path) -> Path:
        """Return where it is served from."""
        return root / layout.snapshot_path(self.model, self.snapshot)

    def trash(self, root: Path) -> Path:
        """Return where it is out of sight."""
        return root / layout.trash_path(self.model) / str(self.snapshot)


@dataclass(frozen=True)
class Order:
    """What is asked for; one snapshot may be in one of the lists only.

    :param staging: Revisions whose staging directories go, if nobody has written there for a day.
    """

    root: Path
    condemn: tuple[Named, ...] = ()
    lift: tuple[Named, ...] = ()
    trash: tuple[Named, ...] = ()
    delete: tuple[Named, ...] = ()
    staging: tuple[Revision, ...] = ()


@dataclass
class _Run:
    """One run, and what it did."""

    root: Path
    stop: Stop
    freed: int = 0

    def condemn(self, one: Named) -> bool:
        """Mark a snapshot; say whether there is one."""
        if not is_there(one.place(self.root)):
            return False
        claim.published(self.root, Revision(one.model, one.snapshot.digest), one.snapshot)
        condemned.condemn(self.root, one.model, one.snapshot)
        return True

    def lift(self, one: Named) -> bool:
        """Bring a snapshot back; say whether it is there."""
        place, trash = one.place(self.root), one.trash(self.root)
        if is_there(trash):
            _refuse_occupied(place, one)
            removing.move(trash, place)
            removing.set_mode(place, 0o555)
            _make_durable(place.parent, trash.parent)
        for mark in _marks(self.root, one):
            mark.unlink(missing_ok=True)
        if not is_there(place):
            return False
        removing.set_mode(place, 0o555)  # an earlier run may have opened it, to rename it
        return True

    def trash(self, one: Named) -> bool:
        """Rename a condemned snapshot out of sight; say whether it is there."""
        place, trash = one.place(self.root), one.trash(self.root)
        if not is_there(trash) and not is_there(place):
            return False
        if one.since and condemned.since(self.root, one.model, one.snapshot) != one.since:
            raise _not_condemned(one)
        if is_there(trash):
            return True
        claim.refuse_other_than_directory(place.parent)
        claim.refuse_other_than_directory(place)
        _take(self.root, one)
        condemned.make_directories(self.root, layout.trash_path(one.model))
        removing.set_mode(place, 0o755)  # a directory that its owner may not write cannot be moved to another
        removing.move(place, trash)
        _make_durable(place.parent, trash.parent)
        return True

    def delete(self, one: Named) -> bool:
        """Remove a snapshot that is condemned, or out of sight already; say whether it was there."""
        there = self.trash(one)
        if there:
            trash = one.trash(self.root)
            claim.refuse_other_than_directory(trash)
            doomed = trash.with_name(f"{leftovers.DOOMED}{trash.name}-{secrets.token_hex(8)}")
            removing.move(trash, doomed)
            _make_durable(trash.parent)
            freed = removing.remove(doomed, str(one), self.stop)
            self.freed += freed
            log.info("Snapshot %s: deleted, %s are free.", one, human(freed))
        mark, taken = _marks(self.root, one)
        taken.unlink(missing_ok=True)
        for record in (mark, self.root / layout.damage_path(one.model, one.snapshot)):
            if not is_there(one.place(self.root)):
                record.unlink(missing_ok=True)
        return there

    def remove_staging(self, revision: Revision) -> bool:
        """Remove a staging directory; one that somebody wrote in within a day is a problem."""
        self.freed += leftovers.remove_staging(self.root, revision, self.stop)
        return True


def prune(order: Order, stop: Stop) -> Result:
    """Do what is asked for, in the order lift, condemn, trash, delete; and clear what killed runs left.

    :raises Failure: All that could not be done; ``facts`` is what was.
    """
    refuse_repeats("Snapshot", [*order.condemn, *order.lift, *order.trash, *order.delete])
    run, steps = _Run(claim.existing_root(order.root), stop), Steps(_STEPS, stop)
    steps.each("lift", order.lift, _told("lift snapshot", run.lift))
    steps.each("condemn", order.condemn, _told("condemn snapshot", run.condemn))
    steps.each("trash", order.trash, _told("trash snapshot", run.trash))
    steps.each("delete", order.delete, _told("delete snapshot", run.delete))
    steps.each("staging", order.staging, _told("remove what was staged of", run.remove_staging))
    with filesystem.told("clear what earlier runs left"):
        run.freed += leftovers.clear(run.root, stop)
    return steps.result(run.freed)


def _told(what: str, step: Callable[[_One], bool]) -> Callable[[_One], bool]:
    """Return *step*, which says what it could not do when the claim's file system fails."""

    def told(one: _One) -> bool:
        with filesystem.told(f"{what} {one}"):
            return step(one)

    return told


def _refuse_occupied(place: Path, one: Named) -> None:
    if is_there(place):
        raise Failure(
            ExitCode.FOREIGN,
            f"Snapshot {one} cannot come back from the trash: {str(place)!r} is there by now, which no sync makes. "
            "Remove one of the two by hand.",
        )


def _take(root: Path, one: Named) -> None:
    """Rename the mark, which nobody can lift from then on.

    :raises Failure: The snapshot is not condemned, or not any more.
    """
    mark, taken = _marks(root, one)
    try:
        if not is_there(taken):
            removing.move(mark, taken)
            filesystem.sync_directory(taken.parent)
    except FileNotFoundError as error:
        raise _not_condemned(one) from error


def _not_condemned(one: Named) -> Failure:
    since = f" since {one.since}" if one.since else ""
    return Failure(
        ExitCode.REFUSED,
        f"Snapshot {one} is not condemned{since}, or somebody began to use it: nothing of it was deleted. "
        f"Condemn it first, and delete it when it was not used for a while: modelberth prune ROOT --condemn {one}",
    )


def _marks(root: Path, one: Named) -> tuple[Path, Path]:
    return root / layout.mark_path(one.model, one.snapshot), root / layout.taken_path(one.model, one.snapshot)


def _make_durable(*directories: Path) -> None:
    for directory in directories:
        filesystem.sync_directory(directory)
