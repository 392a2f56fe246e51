"""What there is to prune, as ``modelberth list`` says it, and what becomes of it, as a person is shown it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelberth.core.prune import DAMAGED, READY, STAGING_IDLE, Do, Lying
from modelberth.core.revision import Revision, Snapshot
from modelberth.core.units import human

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from modelberth.core.prune import Decision, Seen


@dataclass(frozen=True)
class Claimed:
    """What lies on a claim.

    :param staging: Revisions that were being fetched and whose journal has not moved for a day, with their bytes.
    """

    snapshots: tuple[Lying, ...]
    staging: Mapping[str, int] = field(default_factory=dict)


def claimed(listing: Mapping[str, Any], damaged: Collection[tuple[str, Snapshot]] = ()) -> Claimed:
    """Return what ``modelberth list`` said of a claim.

    :param damaged: Snapshots, with their models, that are on record as damaged elsewhere than on the claim.
    """
    rows = [(model["model"], row, False) for model in listing["models"] for row in model["snapshots"]]
    rows += [(row["model"], row, True) for row in listing["trash"]]
    snapshots = tuple(_lying(model, row, trashed, damaged) for model, row, trashed in rows)
    staging = {
        f"{row['model']}@{row['digest']}": int(row["bytes"])
        for row in listing["staging"]
        if row["idle_seconds"] >= STAGING_IDLE
    }
    return Claimed(snapshots, staging)


def in_bucket(listing: Mapping[str, Any]) -> tuple[list[Lying], list[str]]:
    """Return what ``modelberth list`` said of a bucket: revisions that have bytes, and those half removed already."""
    found = []
    for row in listing["revisions"]:
        revision, since = Revision.parse(row["revision"]), row.get("condemned")
        condemned = datetime.fromisoformat(since) if since else None
        found.append(Lying(revision.model, Snapshot(revision.digest, 1), row["state"], 0, condemned, in_bucket=True))
    return [one for one in found if one.state == READY], [str(one) for one in found if one.state != READY]


def table(decisions: Sequence[Decision], staging: Mapping[str, int], seen: Seen) -> str:
    """Return what becomes of everything that was found as a Markdown table, what changes first, and what is in doubt.

    :param staging: Revisions whose staging directories go, with their bytes.
    """
    order = list(reversed(Do))
    rows = [("Snapshot", "State", "Size", "What", "Why"), ("---",) * 5]
    for one in sorted(decisions, key=lambda one: (order.index(one.do), str(one.lying))):
        lying = one.lying
        state = f"{lying.state}, condemned" if lying.condemned and not lying.trashed else lying.state
        rows.append((f"`{lying}`", state, human(lying.bytes), str(one.do), one.why))
    rows += [
        (f"`{revision}`", "staging", human(count), "delete", "Nobody has written there for a day.")
        for revision, count in sorted(staging.items())
    ]
    lines = ["| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in row) + " |" for row in rows]
    doubts = [f"* {why}" for why in dict.fromkeys(doubt.why for doubt in seen.unknown)]
    about = ["", "What is used cannot be known as long as:", "", *doubts] if doubts else []
    return "\n".join([*(lines if len(rows) > 2 else ["There is nothing."]), *about])


def _lying(model: str, row: Mapping[str, Any], trashed: bool, damaged: Collection[tuple[str, Snapshot]]) -> Lying:
    snapshot = Snapshot.parse(row["snapshot"])
    state = DAMAGED if row["state"] == READY and (model, snapshot) in damaged else row["state"]
    since = row.get("condemned")
    condemned = datetime.fromisoformat(since) if since else None
    return Lying(model, snapshot, state, int(row.get("bytes", 0)), condemned, trashed)
