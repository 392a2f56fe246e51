"""Whether what was signed allows what is about to happen: the gate's last word, asked again before the first patch."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelberth.core.plan import Plan, Target

APPROVE = "approve"


def problems(approval: Mapping[str, Any], plan: Plan) -> list[str]:
    """Return why *approval*, whose signature the caller has checked, does not allow *plan*; empty if it does.

    decision | plan digest | release   | responder     | answered at      | allowed
    ---------+-------------+-----------+---------------+------------------+--------
    approve  | the plan's  | the plan's| in the plan   | a time with zone | yes
    another  | any         | any       | any           | any              | no
    any      | another     | any       | any           | any              | no
    any      | any         | another   | any           | any              | no
    any      | any         | any       | none, foreign | any              | no
    any      | any         | any       | any           | none, no zone    | no
    """
    expected = {"decision": APPROVE, "plan_digest": str(plan.digest), "release_id": plan.release_id}
    found = [
        f"its {key} is {approval.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if approval.get(key) != value
    ]
    found += responder_problems(approval.get("responder"), plan)
    if not _is_time(approval.get("responded_at")):
        found.append(f"responded_at is {approval.get('responded_at')!r}, expected a time with its zone")
    return found


def responder_problems(responder: object, plan: Plan) -> list[str]:
    """Return why *responder* (``{"id", "name"}`` as the auth manager gave it) may not answer for *plan*.

    Only the id counts: a name can be changed by the one who bears it.
    """
    if not isinstance(responder, dict) or not responder.get("id"):
        return ["nobody is known to have given it: it is anonymous or a time-out"]
    allowed = [approver.id for approver in plan.approvers]
    if responder["id"] not in allowed:
        return [f"it was given by {responder['id']!r}; approvers are {', '.join(allowed)}"]
    return []


def check_problems(check: Mapping[str, Any], target: Target, plan: Plan, approval_digest: str) -> list[str]:
    """Return why *check*, the quick proof after the gate, does not show that the target holds what was approved.

    It must rest on the approval's receipt, which shows that it came after without trusting two clocks.

    revision and snapshot | rests on      | shows it
    ----------------------+---------------+---------
    the plan's            | this approval | yes
    the plan's            | another, none | no
    another               | any           | no
    """
    expected = {"revision": str(plan.revision), "snapshot": str(target.snapshot)}
    found = [
        f"its {key} is {check.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if check.get(key) != value
    ]
    if approval_digest not in check.get("previous", {}).values():
        found.append("it was not made after this approval")
    return found


def superseding(release_id: str, ledger: Iterable[tuple[str, str]]) -> str | None:
    """Return the newest release that supersedes *release_id* by *ledger*, pairs of release and event, if one does.

    newer release's events  | supersedes
    ------------------------+-----------
    none, failed            | no
    proposed                | yes
    proposed, approved, ... | yes
    proposed, failed, ...   | no: it never was, or is no longer, an offer
    older or the same one   | no
    """
    events: dict[str, set[str]] = {}
    for release, event in ledger:
        events.setdefault(release, set()).add(event)
    newer = [one for one, seen in events.items() if one > release_id and "proposed" in seen and "failed" not in seen]
    return max(newer, default=None)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
