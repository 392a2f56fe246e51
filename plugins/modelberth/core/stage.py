"""What a stage run does with each version that a registry names, and how it says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from modelberth.core.prune import READY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modelberth.core.prune import Lying
    from modelberth.core.revision import Revision, Snapshot


class State(StrEnum):
    """What a line of the table says."""

    PRESENT = "present"
    FETCHED = "fetched"
    WAITING = "waiting"
    FAILED = "failed"
    UNREFERENCED = "unreferenced"


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of one version that is named, or of a snapshot that nothing names.

    :param version: As the registry calls it; empty of a snapshot that it does not name.
    :param what: The revision or snapshot, where it is known.
    :param why: Whole sentences, where there is anything to say.
    """

    state: State
    model: str
    version: str = ""
    what: str = ""
    why: str = ""


def on_claim(revision: Revision, lying: Iterable[Lying]) -> Snapshot | None:
    """Return the newest copy of *revision* that can be served as it lies there.

    a copy                        | can
    ------------------------------+-----
    ready                         | yes
    damaged, foreign              | no
    condemned, or in the trash    | no: a sync takes the mark off
    """
    copies = [
        one.snapshot
        for one in lying
        if (one.model, one.snapshot.digest) == (revision.model, revision.digest)
        and one.state == READY
        and not one.trashed
        and one.condemned is None
    ]
    return max(copies, default=None)


def decide(problem: str, revision: Revision | None, there: Snapshot | None, *, verified: bool) -> State:
    """Return what is to be done with one version: nothing, bring it (waiting), or say what is wrong (failed).

    it can be had | its revision is known | a good copy is on the claim | which was read again | then
    --------------+-----------------------+-----------------------------+----------------------+---------
    no            | any                   | any                         | any                  | failed
    yes           | no                    | any                         | any                  | waiting
    yes           | yes                   | no                          | any                  | waiting
    yes           | yes                   | yes                         | no                   | waiting
    yes           | yes                   | yes                         | yes                  | present

    What was interrupted is waiting: fetch, sync and verify each go on with what they find.

    :param problem: Why it cannot be had; empty when it can.
    :param revision: What a signed record of an upload says that the source's version is.
    """
    if problem:
        return State.FAILED
    return State.PRESENT if revision and there and verified else State.WAITING


def afterwards(line: Line, *, tried: bool, missing: str = "") -> Line:
    """Return what is said of a version at the end of a run.

    it is   | and was to be brought | then
    --------+-----------------------+-----------------------------------------
    failed  | any                   | failed
    present | no                    | present
    present | yes                   | fetched
    waiting | yes                   | failed, and why
    waiting | no                    | waiting: it was named while the run was on its way, or the run had enough to do

    :param missing: Why it is not there, or which of its steps to look at; a whole sentence.
    """
    if line.state is State.PRESENT and tried:
        return Line(State.FETCHED, line.model, line.version, line.what)
    if line.state is not State.WAITING:
        return line
    if not tried:
        return Line(State.WAITING, line.model, line.version, line.what, "The next run brings it.")
    return Line(State.FAILED, line.model, line.version, line.what, missing)


def remembered(
    before: Iterable[Mapping[str, str]], now: Sequence[Mapping[str, str]], *, complete: bool
) -> list[dict[str, str]]:
    """Return what is put on record as named, so that a prune leaves it: each with model, version and revision.

    it was on record | it is named now           | all registries answered | then
    -----------------+---------------------------+-------------------------+--------------------------
    any              | with a revision           | any                     | as it is now
    yes              | without: it has a problem | any                     | as it was
    yes              | the model has a problem   | any                     | as it was
    yes              | no                        | no                      | as it was
    yes              | no                        | yes                     | left out: nobody wants it
    no               | without                   | any                     | left out: nobody knows it
    """
    known = [dict(one) for one in now if one["revision"]]
    fixed = {(one["model"], one["version"]) for one in known}
    in_doubt = {(one["model"], one["version"]) for one in now if not one["revision"]}
    kept = [
        dict(one)
        for one in before
        if (one["model"], one["version"]) not in fixed
        and (not complete or (one["model"], one["version"]) in in_doubt or (one["model"], "") in in_doubt)
    ]
    return known + kept


def table(lines: Sequence[Line]) -> str:
    """Return *lines* as a Markdown table, what failed first, below the counts."""
    order = [State.FAILED, State.WAITING, State.FETCHED, State.UNREFERENCED, State.PRESENT]
    counts = ", ".join(f"{sum(one.state is state for one in lines)} {state}" for state in State)
    rows = [("Model", "Version", "State", "What", "Why"), ("---",) * 5]
    for one in sorted(lines, key=lambda one: (order.index(one.state), one.model, one.version)):
        what = f"`{one.what}`" if one.what else ""
        rows.append((one.model, one.version, str(one.state), what, one.why))
    said = ["| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join([counts, "", *said])
