"""Whether the ledger says of a release what its receipts say; pure, like ``core.audit``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modelberth.core import approval
from modelberth.core.chain import Chain, Problem, Receipt
from modelberth.core.receipt import Name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from modelberth.core.plan import Plan

SETTLED = timedelta(minutes=10)
"""A receipt and the ledger's entry about it are written one after the other: so young, one may be ahead."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of one event of the release."""

    event: str
    at: datetime
    source_version: str | None
    revision: str | None


NEEDS = {
    "proposed": "resolve",
    "rollback": "plan",
    "approved": "approve",
    "rejected": "plan",
    "live": "record",
    "put-back": "outcome",
    "rolled-back": "record",
}
"""What the ledger may only say of a release that has the receipt."""
TELLS = {"resolve": ("proposed", "failed"), "started": ("approved",), "record": ("live",)}
"""What the ledger must say, one of it, of a release that has the receipt."""
STAGED = "stage"
"""What the resolve of a stage run says: for which service. It proposes nothing, so the ledger is not told."""
EXCLUDE = (("rejected", "live"), ("put-back", "live"))


def problems(release: Chain, entries: Mapping[str, Entry], plan: Plan | None, now: datetime) -> Iterator[Problem]:
    """Yield where ledger and receipts contradict each other.

    the ledger says           | the release                | then
    --------------------------+----------------------------+------------------------------------------
    an event of NEEDS         | has not its receipt        | the receipt is missing
    none of TELLS             | has the receipt, settled   | the ledger's entry is missing; not of a stage run
    not rejected              | has an answer that says no | the ledger's entry is missing
    both of EXCLUDE           | any                        | one of them is wrong
    live, approved            | another revision           | the entry is about another
    proposed                  | no such source version     | the entry is about another
    """
    path = f"ledger/{release.model}/{release.release_id}"
    for event, step in NEEDS.items():
        if event in entries and not any(name.step == step for name in (*release.receipts, *release.doubtful)):
            where = release.path(Name(step)) if step in _ONE else release.path(f"{Name(step).stem}-*.json")
            yield Problem(where, f"is missing, but the ledger says {event!r}")
    for step, events in TELLS.items():
        receipt = next(iter(release.of(step)), None)
        if (
            receipt
            and STAGED not in receipt.body
            and not entries.keys() & set(events)
            and now - made_at(receipt) > SETTLED
        ):
            yield Problem(f"{path}-{events[0]}.json", f"is missing, since {receipt.name} is there")
    refusal = next((one for one in release.of("approve") if one.body.get("decision") == approval.REJECT), None)
    if refusal and "rejected" not in entries and now - made_at(refusal) > SETTLED:
        yield Problem(f"{path}-rejected.json", f"is missing, since {refusal.name} says no")
    for one, other in EXCLUDE:
        if one in entries and other in entries:
            yield Problem(f"{path}-{one}.json", f"contradicts the entry {other!r} of the same release")
    yield from _same(release, entries, plan, path)


_ONE = frozenset({"resolve", "plan", "approve", "record"})


def _same(release: Chain, entries: Mapping[str, Entry], plan: Plan | None, path: str) -> Iterator[Problem]:
    versions = {one.body.get("source_version") for name, one in release.receipts.items() if name.step == "resolve"}
    proposed = entries.get("proposed")  # its first entry stands, also when the source moved on and resolve ran again
    if versions and proposed and proposed.source_version not in versions:
        text = f"names source version {proposed.source_version}, but resolve found {', '.join(map(str, versions))}"
        yield Problem(f"{path}-proposed.json", text)
    for event in ("approved", "live", "rolled-back"):
        entry = entries.get(event)
        if plan and entry and entry.revision != str(plan.own.revision):
            yield Problem(f"{path}-{event}.json", f"names {entry.revision}, but the plan {plan.own.revision}")


def rolled_back(releases: Iterable[Chain], entries: Mapping[str, Collection[str]]) -> list[Problem]:
    """Return where the ledger and the rollbacks of one model do not agree on what was rolled back.

    a rollback that is live says it replaced a release | the ledger says rolled-back of it | then
    ---------------------------------------------------+-----------------------------------+---------------------------
    yes                                                | yes                               | nothing
    yes                                                | no                                | the entry is missing
    no                                                 | yes                               | nothing on record says so

    :param entries: The events of each release.
    """
    model = ""
    said: dict[str, str] = {}
    for release in releases:
        plan, model = release.newest("plan"), release.model
        told = plan.body.get("rollback") if plan and "live" in entries.get(release.release_id, ()) else None
        replaced = told.get("instead_of", []) if isinstance(told, dict) else []
        said |= {str(one): release.release_id for one in replaced}
    noted = {release_id for release_id, events in entries.items() if "rolled-back" in events}
    path = f"ledger/{model}/{{}}-rolled-back.json".format
    return [
        *(
            Problem(path(one), f"is missing, since rollback {said[one]} replaced that release")
            for one in said.keys() - noted
        ),
        *(
            Problem(path(one), "says so, but no rollback on record that is live replaced it")
            for one in noted - said.keys()
        ),
    ]


def made_at(receipt: Receipt) -> datetime:
    """Return when *receipt* was made; of one that does not say so, never."""
    try:
        return datetime.fromisoformat(str(receipt.body.get("at")))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
