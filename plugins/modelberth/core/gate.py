"""The gate: how many have to say yes, who may, and when it ends without an answer.

A gate of N approvals is asked N times, one after the other, each time those who have not answered yet. Every answer
is a receipt of its own, ``06-approve``, ``06-approve-2``, and so on; one that says no ends the release.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from modelberth.core.units import span

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from modelberth.core.people import People
    from modelberth.core.plan import Approver, Gate


def answers(approvals: int, four_eyes: bool, requested_by: str | None) -> int:
    """Return how many different people have to say yes.

    four eyes | requester | people
    ----------+-----------+-----------------------------------------------------------
    no        | any       | approvals
    yes       | known     | approvals, the requester not among them
    yes       | not known | approvals, at least two: one of them may be the requester
    """
    return max(approvals, 2) if four_eyes and not requested_by else approvals


def needed(gate: Gate) -> int:
    """Return how many different people have to say yes at *gate*."""
    return answers(gate.approvals, gate.four_eyes, gate.requested_by)


def receipt_name(number: int) -> str | None:
    """Return what the receipt of the answer *number*, counted from 1, has in the place of a target."""
    return None if number == 1 else str(number)


def receipt_names(gate: Gate) -> list[str | None]:
    """Return the names of all the answers that *gate* needs, in order."""
    return [receipt_name(number) for number in range(1, needed(gate) + 1)]


def askable(gate: Gate, answered: Collection[str] = ()) -> tuple[Approver, ...]:
    """Return whose answer would count: approvers who are not the requester under four eyes, and not in *answered*."""
    return tuple(
        one for one in gate.approvers if one.id not in answered and not _is_requester({one.id, one.name}, gate)
    )


def responder_problems(responder: object, gate: Gate, answered: Collection[str] = ()) -> list[str]:
    """Return why an answer of *responder* (``{"id", "name"}`` as the auth manager gave it) does not count.

    responder                  | counts
    ---------------------------+-----------------------------------------------
    nobody, or without an id   | no: anonymous, or a time-out
    not one of the approvers   | no: only the id is looked at, names can change
    the requester              | not under four eyes: neither id nor name match
    who has answered before    | no: approvals are different people's
    else                       | yes

    :param answered: The ids of those whose answers are on record.
    """
    if not isinstance(responder, dict) or not responder.get("id"):
        return ["nobody is known to have given it: it is anonymous or a time-out"]
    who = responder["id"]
    known = {one.id: one.name for one in gate.approvers}
    if who not in known:
        return [f"it was given by {who!r}; approvers are {', '.join(known)}"]
    if _is_requester({who, known[who], responder.get("name")}, gate):
        return [f"it was given by {who!r}, who requested the release: four_eyes asks for somebody else's"]
    return [f"{who!r} has answered before: approvals are different people's"] if who in answered else []


def taking_along(gate: Gate, others: Collection[str | None]) -> Gate:
    """Return *gate* for a plan that switches as well what *others* requested: nobody decides about their own.

    four eyes | who requested them all | approvers                | requester
    ----------+------------------------+--------------------------+-----------------------------------------
    no        | any                    | all                      | the leading release's
    yes       | all known              | without the others       | the leading release's, who may not answer
    yes       | one is not known       | without who is known     | not known: two people answer
    """
    if not gate.four_eyes or not others:
        return gate
    requesters = {gate.requested_by, *others}
    known = {one for one in requesters if one}
    leading = gate.requested_by if len(known) == len(requesters) else None
    left_out = known - {leading}
    return replace(
        gate,
        approvers=tuple(one for one in gate.approvers if not left_out & {one.id, one.name}),
        requested_by=leading,
    )


def problem(
    gate: Gate, people: People, answered: Collection[str] = (), left_out: Collection[Approver] = ()
) -> str | None:
    """Return why *gate* can never be answered, as whole sentences; None if it can, as far as *people* know.

    :param answered: The ids of those whose answers are on record.
    :param left_out: The approvers whom ``taking_along`` has taken out.
    """
    if not gate.approvers and not left_out:
        return "No person is an approver of all its targets, and one answer is for all: make one so in their files."
    askable_ids = {one.id for one in askable(gate)}
    obstacles = {
        one.id: people.obstacle(one.id) if one.id in askable_ids else "requested it"
        for one in gate.approvers
        if one.id not in answered
    }
    obstacles |= {one.id: "requested what is switched together" for one in left_out}
    able = [who for who, obstacle in obstacles.items() if obstacle is None]
    if len(able) + len(answered) >= needed(gate):
        return None
    unknown = " (four_eyes is on, and nobody knows who requested the release)" * (needed(gate) > gate.approvals)
    reasons = "; ".join(f"{who!r}: {obstacle}" for who, obstacle in obstacles.items() if obstacle)
    return (
        f"The gate asks for {needed(gate)} different people{unknown}, of {len(obstacles) + len(answered)} approvers "
        f"only {len(able) + len(answered)} can answer{f' ({reasons})' * bool(reasons)}. "
        "Correct approvers, approvals or four_eyes in the services' files."
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a gate ends that nobody answers: the ledger's *event*, and why."""

    event: str
    reason: str


def ending(gate: Gate, asked_at: datetime, now: datetime, own: Collection[str], newer: str | None) -> Ending | None:
    """Return how a gate ends by itself, None while it may be answered; no row approves.

    ledger on this release | newer proposal | asked                        | ends as
    -----------------------+----------------+------------------------------+-----------
    rejected               | any            | any                          | rejected
    superseded             | any            | any                          | superseded
    neither                | yes            | any                          | superseded
    neither                | no             | longer ago than answer_within| rejected
    neither                | no             | later                        | not at all

    :param asked_at: When the plan was made: clearing the task does not start the clock again.
    :param own: The ledger's events of this release; another release's plan may have taken it along.
    :param newer: A newer release that supersedes this one.
    """
    for event in ("rejected", "superseded"):
        if event in own:
            return Ending(event, f"it was {event} before")
    if newer:
        return Ending("superseded", f"release {newer} is a newer proposal")
    if now > deadline(gate, asked_at):
        return Ending("rejected", f"nobody answered within {span(gate.answer_within)} (answer_within)")
    return None


def deadline(gate: Gate, asked_at: datetime) -> datetime:
    """Return until when an answer counts."""
    return asked_at + timedelta(seconds=gate.answer_within)


def ids(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids of those who gave *answers*."""
    responders = (one.get("responder") for one in answers)
    return [one["id"] for one in responders if isinstance(one, dict) and one.get("id")]


def said(answer: Mapping[str, Any]) -> str:
    """Return who gave *answer*, and the note that they left."""
    who = ", ".join(ids([answer])) or "nobody: the time was over"
    return f"{who}: {answer['note']}" if answer.get("note") else who


def _is_requester(names: Collection[str | None], gate: Gate) -> bool:
    """Airflow notes who started a run by name only, so a match of either is taken for the same person."""
    return gate.four_eyes and gate.requested_by is not None and gate.requested_by in names
