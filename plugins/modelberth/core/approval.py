"""Whether what was signed allows what is about to happen: the gate's last word, asked again before the first patch."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from modelberth.core.gate import ids, needed, responder_problems
from modelberth.core.ledger import LIVE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from modelberth.core.plan import Plan, Released, Served, Target

APPROVE, REJECT = "approve", "reject"
"""What an answer decides."""

CHECK_LASTS = timedelta(hours=1)
"""How long after a check a rollout may begin: what lies on a claim can change, and a task can be cleared late."""


class _Place(Protocol):
    @property
    def connection(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def claim(self) -> str: ...


def place(one: _Place) -> dict[str, str]:
    """Return which claim the service or target *one* is on, as receipts say it."""
    return {"connection": one.connection, "namespace": one.namespace, "claim": one.claim}


def place_problem(proven: Mapping[str, Any], one: _Place) -> str | None:
    """Return why what was *proven* is not about the claim of *one*, None if it is.

    connection, namespace and claim | about it
    --------------------------------+---------
    all the same                    | yes
    one differs, or is not said     | no
    """
    different = [
        f"its {key} is {proven.get(key)!r}, expected {value!r}"
        for key, value in place(one).items()
        if proven.get(key) != value
    ]
    return "; ".join(different) or None


def problems(answers: Sequence[Mapping[str, Any]], plan: Plan) -> list[str]:
    """Return why *answers*, whose signatures the caller has checked, do not allow *plan*; empty if they do.

    answers                          | allowed
    ---------------------------------+--------
    as many as its gate needs, good  | yes
    as many, one of them not good    | no: see ``answer_problems``
    fewer, more                      | no
    """
    found = answer_problems(answers, plan)
    if len(answers) != needed(plan.gate):
        found.append(f"it has {len(answers)} answers, expected {needed(plan.gate)}")
    return found


def answer_problems(answers: Sequence[Mapping[str, Any]], plan: Plan) -> list[str]:
    """Return why one of *answers*, in their order, is no approval of *plan*.

    decision | plan digest | release   | responder                       | answered at      | good
    ---------+-------------+-----------+---------------------------------+------------------+-----
    approve  | the plan's  | the plan's| may answer, and has not before  | a time with zone | yes
    another  | any         | any       | any                             | any              | no
    any      | another     | any       | any                             | any              | no
    any      | any         | another   | any                             | any              | no
    any      | any         | any       | none, foreign, again, requester | any              | no
    any      | any         | any       | any                             | none, no zone    | no
    """
    found: list[str] = []
    answered: list[str] = []
    for answer in answers:
        found += _answer_problems(answer, plan, answered)
        answered += ids([answer])
    return found


def _answer_problems(answer: Mapping[str, Any], plan: Plan, answered: Sequence[str]) -> list[str]:
    expected = {"decision": APPROVE, "plan_digest": str(plan.digest), "release_id": plan.release_id}
    found = [
        f"its {key} is {answer.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if answer.get(key) != value
    ]
    found += responder_problems(answer.get("responder"), plan.gate, answered)
    if not _is_time(answer.get("responded_at")):
        found.append(f"responded_at is {answer.get('responded_at')!r}, expected a time with its zone")
    return found


def check_problems(
    check: Mapping[str, Any], target: Target, plan: Plan, approvals: Collection[str], now: datetime
) -> list[str]:
    """Return why *check*, the quick proof after the gate, does not show that the target holds all that was approved.

    It must rest on the receipts of all answers, which shows that it came after without trusting two clocks.

    revisions, snapshots, claim | rests on      | made               | shows it
    ----------------------------+---------------+--------------------+---------
    the plan's                  | all answers   | within the hour    | yes
    the plan's                  | all answers   | earlier, not known | no
    the plan's                  | fewer, none   | any                | no
    one is another, or missing  | any           | any                | no

    :param approvals: The digests of the receipts of all answers that the plan needs.
    """
    expected = {one.model: _said(one, plan) for one in target.served}
    found = [
        f"its {key} is {check.get(key)!r}, expected {value!r}"
        for key, value in expected.pop(plan.model).items()
        if check.get(key) != value
    ]
    also = [{key: one.get(key) for key in ("revision", "snapshot")} for one in check.get("also", ())]
    found += [f"it has not shown {one['snapshot']} of {model}" for model, one in expected.items() if one not in also]
    if problem := place_problem(check, target):
        found.append(problem)
    if not set(approvals) <= set(check.get("previous", {}).values()):
        found.append("it was not made after this approval")
    made = check.get("at")
    if not _is_time(made) or now - datetime.fromisoformat(str(made)) > CHECK_LASTS:
        found.append(f"it was made at {made}, which is not within the last hour: clear the task 'check'")
    return [f"the check does not hold: {problem}" for problem in found]


def _said(served: Served, plan: Plan) -> dict[str, str]:
    return {"revision": str(plan.revisions[served.model]), "snapshot": str(served.snapshot)}


def turn_problems(outcomes: Mapping[str, Mapping[str, Any] | None], target: str, plan: Plan) -> list[str]:
    """Return why it is not the turn of *target*: a canary's success is what its outcome says, never a task's state.

    a target before it in the plan      | its turn
    ------------------------------------+---------
    all live, by this plan              | yes
    one without an outcome              | no
    one put back or lost                | no
    one live by another plan            | no
    (none is, or the plan is a rollback)| yes

    :param outcomes: The receipts by target, None where there is none.
    """
    found = []
    for name in plan.before(target):
        outcome = outcomes.get(name) or {"result": "not rolled out"}
        if outcome["result"] != LIVE:
            found.append(f"target {name!r}, which comes before {target!r}, is {outcome['result']}, not live")
        elif outcome.get("plan_digest") != str(plan.digest):
            found.append(f"target {name!r}, which comes before {target!r}, is live by another plan")
    return found


def superseding(release_id: str, ledger: Iterable[tuple[str, str]]) -> str | None:
    """Return the newest release that supersedes *release_id* by *ledger*, pairs of release and event, if one does.

    newer release's events            | supersedes
    ----------------------------------+-----------
    not proposed                      | no
    proposed                          | yes
    proposed, failed                  | no: it never was, or is no longer, an offer
    proposed, failed, approved        | yes: cleared after it had failed, it was an offer again
    proposed, failed, live            | yes
    proposed, any other               | yes
    any, but older or the same one    | no
    """
    events: dict[str, set[str]] = {}
    for release, event in ledger:
        events.setdefault(release, set()).add(event)
    return max((one for one, seen in events.items() if one > release_id and _counts(seen)), default=None)


def overtaken(released: Released, events: Collection[str], newer: str | None, model: str) -> str | None:
    """Return what came between the answer to a release of *model* and its rollout, for one model that it switches.

    the model  | its release's events         | newer proposal | overtaken
    -----------+------------------------------+----------------+----------
    any        | any                          | yes            | yes
    its own    | superseded: taken along      | no             | yes
    its own    | else                         | no             | no
    another    | approved, live, rejected     | no             | yes: it was decided by itself
    another    | else                         | no             | no

    :param events: What the ledger says of the release of *released*.
    :param newer: The release that supersedes it.
    """
    if newer:
        return f"release {newer} is a newer proposal" + (f" of {released.model}" if released.model != model else "")
    if released.model == model:
        return "another release has taken it along" if "superseded" in events else None
    decided = sorted({"approved", "rejected", "live"} & set(events))
    if decided:
        return f"release {released.release_id} of {released.model}, which it takes along, was {decided[0]} by itself"
    return None


def _counts(events: set[str]) -> bool:
    dead = "failed" in events and not events & {"approved", "live"}
    return "proposed" in events and not dead


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
