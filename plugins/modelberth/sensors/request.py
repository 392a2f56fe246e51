"""What a person is shown at the gate, in the Markdown that Airflow renders. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core import gate
from modelberth.core.units import human, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from modelberth.core.confirm import Confirm
    from modelberth.core.people import People
    from modelberth.core.plan import Approver, Canary, Difference, Plan, Released, Target

Receipt = dict[str, Any]
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """The receipt that proves one model at one service."""

    service: str
    model: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Request:
    """All that is known of what a person is asked.

    :param number: Which of several answers this is, counted from 1.
    :param answered: The answers before this one.
    :param previews: The receipt of its preview by target, where there was one.
    :param until: When the release is rejected if nobody answers.
    """

    plan: Plan
    number: int
    answered: Sequence[Receipt]
    verified: Sequence[Verified]
    previews: Mapping[str, Receipt]
    people: People
    until: datetime


def subject(asked: Request) -> str:
    """Return the headline: what goes where."""
    what = ", ".join(f"{one.revision.short} ({human(one.bytes)})" for one in asked.plan.models)
    where = ", ".join(target.name for target in asked.plan.targets)
    total = gate.needed(asked.plan.gate)
    asks = f"Roll back to {what} at {where}?" if asked.plan.rollback else f"Release {what} to {where}?"
    return asks + (f" (answer {asked.number} of {total})" if total > 1 else "")


def body(asked: Request) -> str:
    """Return everything that a decision needs."""
    plan = asked.plan
    what_an_answer_does = (
        "The answer is bound to this plan. *Reject* leaves everything that serves as it is. If nobody answers until "
        f"{asked.until:%Y-%m-%d %H:%M} UTC, the release is rejected."
    )
    return "\n\n".join(
        [
            _table(("", ""), _release(plan)),
            "**What changes**",
            _table(("Target", "Workload", "Model", "Against what is live"), _changes(plan)),
            _table(("Target", "Variable", "", "Value"), _each(_bindings, plan.targets)),
            "**What was proven** (every byte read again, after staging)",
            _table(("Service", "Model", "Bytes", "How", "Node", "When"), map(_proof, asked.verified)),
            *_content(asked.verified),
            *_signed(plan),
            *_previews(asked.previews),
            "**How it is rolled out**, in this order; what does not confirm in time is put back",
            _table(("Target", "Pods", "Strategy", "First", "Confirm", "Within"), map(_rollout, plan.targets)),
            _table(("Target", "Room for it", "Why"), map(_capacity, plan.targets)),
            f"**Who is asked**: {_how_many(asked)}",
            _table(("Id", "Name", ""), [(one.id, one.name, _standing(one, asked)) for one in plan.gate.approvers]),
            what_an_answer_does,
        ]
    )


def _release(plan: Plan) -> list[Row]:
    alone = len(plan.models) == 1
    return [
        *(row for one in plan.models for row in _model(one, "" if alone else f" of {one.model}")),
        ("Requested by", plan.gate.requested_by or "not known"),
        ("Release", f"`{plan.release_id}`"),
        ("Plan", f"`{plan.digest}`"),
    ]


def _model(one: Released, of: str) -> list[Row]:
    return [
        (f"Revision{of}", f"`{one.revision}`"),
        (f"Size{of}", f"{human(one.bytes)} in {one.files} files"),
        (f"Source version{of}", f"`{one.source_version}`" if one.source_version else "not known"),
    ]


def _changes(plan: Plan) -> list[Row]:
    unknown = "not compared: a rollback asks no bucket" if plan.rollback else _NO_MANIFEST
    return [
        (target.name, str(target), one.model, _difference(one.difference) if one.difference else unknown)
        for target in plan.targets
        for one in target.served
    ]


_NO_MANIFEST = "cannot be known: what is live has no manifest in the bucket"


def _difference(difference: Difference) -> str:
    if difference.live is None:
        return f"no model of ours is live; {difference.added} files, {human(difference.bytes)}"
    if not (difference.added or difference.changed or difference.removed):
        return "the same revision"
    return (
        f"{difference.added} files added, {difference.changed} changed, {difference.removed} removed, "
        f"{human(difference.bytes)}; live is `{difference.live}`"
    )


def _bindings(target: Target) -> list[Row]:
    """Return two rows a binding: two paths of a snapshot beside each other are wider than a screen."""
    rows: list[Row] = []
    for one in target.bindings:
        rows.append((target.name, f"`{one}`", "now", f"`{one.from_}`" if one.from_ else "not set"))
        rows.append(("", "", "then", f"`{one.to}`"))
    return rows


def observed(changes: Sequence[Mapping[str, Any]]) -> str:
    """Return what is said of what somebody else changed since the last release; nothing, if nobody did."""
    rows = [(one["target"], f"`{one['variable']}`", f"`{one['left']}`", _value(one["found"])) for one in changes]
    if not rows:
        return ""
    since = ", ".join(dict.fromkeys(f"`{one['since']}`" for one in changes))
    head = f"**Observed**: somebody else changed what release {since} had left; this release starts from what is there"
    return f"{head}\n\n{_table(('Target', 'Variable', 'Was left at', 'Is now'), rows)}"


def _value(live: str | None) -> str:
    return f"`{live}`" if live else "not set"


def _proof(one: Verified) -> Row:
    receipt = one.receipt
    return one.service, one.model, human(receipt["bytes"]), receipt["how"], receipt["node"], receipt["at"]


def _content(verified: Sequence[Verified]) -> list[str]:
    """Return what was found in the content: the same bytes are looked at once for each service."""
    looked = {one.model: one.receipt for one in verified if one.receipt.get("content")}
    rows = [(model, _counted(receipt["content"]), "; ".join(receipt["findings"])) for model, receipt in looked.items()]
    return ["**What is in it**", _table(("Model", "Problems", "Such as"), rows)] if rows else []


def _signed(plan: Plan) -> list[str]:
    rows = [(model.model, one.kind, str(one)) for model in plan.models for one in model.signed]
    return ["**Who signed it**", _table(("Model", "Signature of", ""), rows)] if rows else []


def _counted(content: Mapping[str, int]) -> str:
    return ", ".join(f"{check} {count or 'none'}" for check, count in content.items())


def _previews(previews: Mapping[str, Receipt]) -> list[str]:
    if not previews:
        return []
    return [
        "**Preview**: one pod with the new snapshots, which got no traffic",
        _table(("Target", "Result", "Node", "When"), [_preview(name, one) for name, one in previews.items()]),
    ]


def _preview(target: str, receipt: Receipt) -> Row:
    return target, str(receipt.get("result")), str(receipt.get("node")), receipt["at"]


def _rollout(target: Target) -> Row:
    rolling = target.strategy.get("rollingUpdate") or {}
    details = ", ".join(f"{key} {value}" for key, value in sorted(rolling.items()))
    strategy = str(target.strategy.get("type", "")) + (f" ({details})" if details else "")
    within = f"{target.ready_within} s"
    return target.name, str(target.replicas), strategy, _first(target.canary), _confirm(target.confirm), within


def _first(canary: Canary | None) -> str:
    """Return which pods come before the others, and how long they are watched."""
    if canary is None:
        return "-"
    pods = "all" if canary.partition is None else f"from number {canary.partition} on"
    return f"{pods}, for {span(canary.soak)}"


def _confirm(confirm: Confirm) -> str:
    ways = [confirm.style] * (confirm.style != "path") + ["by a probe pod"] * (confirm.probe is not None)
    return confirm.level + (f" ({', '.join(ways)})" if ways else "")


def _capacity(target: Target) -> Row:
    return target.name, target.capacity.verdict, "; ".join(target.capacity.reasons)


def _how_many(asked: Request) -> str:
    """Return how many answers it takes, and whose do not count."""
    rules, total = asked.plan.gate, gate.needed(asked.plan.gate)
    people = "one person" if total == 1 else f"{total} different people, one after the other"
    if not rules.four_eyes:
        return people
    if rules.requested_by:
        return f"{people}, not who requested it (four eyes)"
    return f"{people}, since nobody knows who requested it (four eyes)"


def _standing(one: Approver, asked: Request) -> str:
    """Return what is known of an approver, and what is not."""
    said = {receipt["responder"]["id"]: receipt.get("note") for receipt in asked.answered}
    if one.id in said:
        return "has approved" + (f": {said[one.id]}" if said[one.id] else "")
    if one not in gate.askable(asked.plan.gate):
        return "requested it, so may not answer"
    if obstacle := asked.people.obstacle(one.id):
        return f"cannot answer: {obstacle}"
    if asked.people.roles is None:
        return f"may answer, if Airflow knows them: {asked.people.unknown}, so Airflow checks it with the answer"
    return "may answer"


def _each(rows: Any, targets: Sequence[Target]) -> list[Row]:
    return [row for target in targets for row in rows(target)]


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return *text* as it can be in a table: it may be anything that somebody wrote."""
    return " ".join(text.split()).replace("|", "\\|")
