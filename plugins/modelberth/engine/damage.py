"""Reads and writes the records of damage on a claim; ``core.damage`` draws their place and form.

A record stays until somebody removes it: a snapshot whose bytes were wrong once, be it for a bad cable, has shown that
what serves from it cannot be relied on, and a fresh copy costs only the chunks that are bad.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.core.damage import LARGEST_RECORD, Damage, Problem, joined
from modelberth.core.failure import Failure
from modelberth.core.revision import Snapshot
from modelberth.engine import claim, filesystem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelberth.core.revision import Revision

log = logging.getLogger(__name__)

_LONGEST = 200
"""Letters of what somebody else may have written, in a message."""


def on_record(root: Path, revision: Revision, snapshot: Snapshot) -> str | None:
    """Return what the claim has on record against *snapshot*, as a whole sentence; None for nothing.

    A record that cannot be read counts: nobody writes one for a snapshot that is well.

    :raises OSError: The file system does not answer.
    """
    path = root / layout.damage_path(revision.model, snapshot)
    try:
        path.lstat()  # not os.path.lexists: to it, a file system that does not answer has nothing
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        with os.fdopen(filesystem.open_regular(path), "rb") as stream:
            found = Damage.read(stream.read(LARGEST_RECORD + 1), revision, snapshot)
    except (OSError, ValueError) as error:
        return f"It is on record as damaged, in {str(path)!r}, which is no record of ours: {str(error)[:_LONGEST]}"
    first, at, node = found.problems[0], found.at[:_LONGEST], found.node[:_LONGEST]
    return (
        f"It is on record as damaged: problems: {found.problem_count}, found at {at!r} on node {node!r}, the first in "
        f"{first.file!r}, bytes {first.start}-{first.start + first.length} ({str(path)!r})."
    )


def recorded(root: Path, model: str) -> frozenset[Snapshot]:
    """Return the snapshots of *model* that are on record as damaged, those that are gone included."""
    found = set()
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / layout.damaged_path(model)) as records:
        for record in records:
            with suppress(ValueError):
                found.add(Snapshot.parse(record.name.removesuffix(".json")))
    return frozenset(found)


def put_on_record(
    root: Path, revision: Revision, snapshot: Snapshot, node: str, problems: Sequence[Problem]
) -> str | None:
    """Write down that *snapshot* is damaged, in place of what was on record before.

    What was found is worth more than its record: no error of the file system hides it.

    :return: Where on the claim; None when that was not possible, as on a claim that is mounted read-only.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = Damage(1, revision, snapshot, at, node, len(problems), joined(problems))
    where = layout.damage_path(revision.model, snapshot)
    above = [root / directory for directory in reversed((root / where).relative_to(root).parents)]
    try:
        for directory in above[1:]:
            claim.own_directory(directory)
        filesystem.write_durably(root / where, record.dump())
        for directory in above:
            filesystem.sync_directory(directory)
    except (OSError, Failure) as error:
        log.warning("Snapshot %s: its damage could not be put on record on the claim: %s", snapshot, error)
        return None
    log.info("Snapshot %s: put on record as damaged: %s", snapshot, where)
    return where
