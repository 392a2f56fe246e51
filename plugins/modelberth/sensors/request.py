"""What a person is shown at the gate, in the Markdown that Airflow renders. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core.units import human

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelberth.core.plan import Difference, Plan, Target

Receipt = dict[str, Any]


def subject(plan: Plan) -> str:
    """Return the headline: what goes where."""
    targets = ", ".join(target.name for target in plan.targets)
    return f"Release {plan.own.revision.short} ({human(plan.own.bytes)}) to {targets}?"


def body(plan: Plan, requested_by: str | None, verified: Mapping[str, Receipt]) -> str:
    """Return everything that a decision needs.

    :param requested_by: Who started the release, where that is known.
    :param verified: Each service's receipt of its verification.
    """
    own = plan.own
    parts = [
        _table(
            ("", ""),
            [
                ("Revision", f"`{own.revision}`"),
                ("Size", f"{human(own.bytes)} in {own.files} files"),
                ("Source version", f"`{own.source_version}`" if own.source_version else "not known"),
                ("Requested by", requested_by or "not known"),
                ("Release", f"`{plan.release_id}`"),
                ("Plan", f"`{plan.digest}`"),
            ],
        ),
        "**What changes**",
        _table(
            ("Target", "Workload", "Model", "Against what is live"),
            [row for target in plan.targets for row in _changes(target)],
        ),
        _table(("Target", "Variable", "", "Value"), [row for target in plan.targets for row in _bindings(target)]),
        "**What was proven** (every byte read again, after staging)",
        _table(
            ("Service", "Bytes", "How", "Node", "When"), [_proof(name, receipt) for name, receipt in verified.items()]
        ),
        "**How it is rolled out**, in this order; what does not confirm in time is put back",
        _table(("Target", "Pods", "Strategy", "Confirm", "Within"), [_rollout(target) for target in plan.targets]),
        "The answer is bound to this plan. *Reject* leaves everything that serves as it is.",
    ]
    return "\n\n".join(parts)


def _changes(target: Target) -> list[tuple[str, str, str, str]]:
    return [(target.name, str(target), one.model, _difference(one.difference)) for one in target.served]


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "cannot be known: what is live has no manifest in the bucket"
    if difference.live is None:
        return f"no model of ours is live; {difference.added} files, {human(difference.bytes)}"
    if not (difference.added or difference.changed or difference.removed):
        return "the same revision"
    return (
        f"{difference.added} files added, {difference.changed} changed, {difference.removed} removed, "
        f"{human(difference.bytes)}; live is `{difference.live}`"
    )


def _bindings(target: Target) -> list[tuple[str, str, str, str]]:
    """Return two rows a binding: two paths of a snapshot beside each other are wider than a screen."""
    rows = []
    for one in target.bindings:
        rows.append((target.name, f"`{one}`", "now", f"`{one.from_}`" if one.from_ else "not set"))
        rows.append(("", "", "then", f"`{one.to}`"))
    return rows


def _proof(service: str, receipt: Receipt) -> tuple[str, str, str, str, str]:
    return service, human(receipt["bytes"]), receipt["how"], receipt["node"], receipt["at"]


def _rollout(target: Target) -> tuple[str, str, str, str, str]:
    rolling = target.strategy.get("rollingUpdate") or {}
    details = ", ".join(f"{key} {value}" for key, value in sorted(rolling.items()))
    strategy = str(target.strategy.get("type", "")) + (f" ({details})" if details else "")
    return target.name, str(target.replicas), strategy, target.confirm.level, f"{target.ready_within} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
