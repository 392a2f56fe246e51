"""Look, on a schedule, whether evidence and what is served are as they were left; nothing is ever put right here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.catalog import CatalogError, load
from modelberth.core.drift import Left, Seen, differences
from modelberth.core.plan import PlanRefusedError, parse
from modelberth.kubernetes import workload
from modelberth.kubernetes.client import ClusterRefusedError, ClusterUnreachableError
from modelberth.kubernetes.rollback import Situation
from modelberth.operators import release_of
from modelberth.receipts import (
    EvidenceForgedError,
    EvidenceMissingError,
    StoreError,
    StoreUnreachableError,
    ledger,
    open_store,
    signing_key,
)
from modelberth.receipts.audit import Auditor
from modelberth.receipts.holding import is_under_way
from modelberth.receipts.lived import decided_at, last_switch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Model, Target
    from modelberth.receipts import Evidence

PROBLEMS = "problems"
"""The XCom under which what was found is passed on."""

_SHOWN = 50
"""Problems that an error names; the log has all."""

_UNKNOWN = (
    *(AirflowException, CatalogError, ClusterRefusedError, ClusterUnreachableError, EvidenceForgedError),
    *(EvidenceMissingError, PlanRefusedError, StoreError, StoreUnreachableError, ValueError),
)
"""What keeps one service or model from being looked at, and is a problem of that one only."""


class AuditReceiptsOperator(BaseOperator):
    """
    Audit every release of every model of the catalog: each signature, each digest, each step, each entry of the ledger.

    It fails with what is missing, forged or out of order, one line each, as ``python -m modelberth.receipts`` says it.
    """

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow passes it by name
        """Read all and judge it."""
        problems: list[str] = []
        releases = 0
        for model in load().models.values():
            try:
                auditor = Auditor(open_store(model.receipts.url, model.receipts.connection), signing_key())
                report = auditor.audit(model.name, None, datetime.now(UTC))
            except _UNKNOWN as error:
                problems.append(f"{model.name}: its receipts could not be read: {error}")
                continue
            releases += report.releases
            problems += [str(problem) for problem in report.problems]
        fail(self, "What is on record does not hold", problems)
        return {"releases": releases, "problems": 0}


def fail(task: BaseOperator, what: str, problems: Sequence[str]) -> None:
    """Fail *task* with *problems*, if there are any."""
    for problem in problems:
        task.log.error("%s", problem)
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more: see the log"] * (len(problems) > _SHOWN)
        raise AirflowFailException("\n- ".join([f"{what}:", *problems[:_SHOWN], *more]))


@dataclass
class Found:
    """What was found of one model: what to verify again, what somebody else changed, what could not be looked at."""

    served: list[dict[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    revisions: set[str] = field(default_factory=set)


class CompareServedOperator(BaseOperator):
    """
    Compare what is served of every model at every service with the last receipts.

    What somebody else changed goes into the model's ledger as *observed*, once, and stays as it is. Returned is which
    snapshots are served, for them to be verified; problems are left for :class:`ReportDriftOperator`.
    """

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Look at each model; one that cannot be looked at hides no other."""
        catalog, found = load(), {}
        for model in catalog.models.values():
            found[model.name] = _compared(catalog, model)
            for line in found[model.name].changed:
                self.log.warning("%s", line)
            _observe(model, release_of(context), found[model.name])
        problems = [line for one in found.values() for line in (*one.changed, *one.unknown)]
        context["ti"].xcom_push(key=PROBLEMS, value=problems)
        return [served for one in found.values() for served in one.served]


class ReportDriftOperator(BaseOperator):
    """
    Fail when what is served is not what the last release left, after all that is served was verified.

    :param problems: A line each. (templated)
    """

    template_fields: Sequence[str] = ("problems",)

    def __init__(self, *, problems: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow passes it by name
        """Fail with all problems."""
        fail(self, "Somebody else changed what is served, or it could not be looked at", self.problems or [])


def _compared(catalog: Catalog, model: Model) -> Found:
    found = Found()
    for service in catalog.services_of(model.name):
        try:
            situation = Situation(catalog, model.name, service.name)
            last = last_switch(model, service)
            for target in situation.targets:
                left = _left(last, model.name, target.name) if last else None
                seen = _seen(catalog, situation, target, left)
                found.changed += [f"{model.name} at {target.name}: {line}" for line in differences(left, seen)]
                if seen.revision:
                    found.revisions.add(seen.revision)
            found.served += [
                {"model": model.name, "target": service.name, "snapshot": str(one)} for one in situation.serving
            ]
        except _UNKNOWN as error:
            found.unknown.append(f"{model.name} at {service.name} could not be looked at: {error}")
    return found


def _seen(catalog: Catalog, situation: Situation, target: Target, left: Left | None) -> Seen:
    document = situation.found[target.name].document
    if not document:
        raise PlanRefusedError(" ".join(situation.found[target.name].problems))
    bound = situation.service.bindings_of(situation.model.name, target.workload)
    receipt = workload.notes(document).get(workload.RECEIPT)
    odd = receipt if left is None or receipt != left.receipt else None
    return Seen(
        values={
            str(one): workload.live_value(workload.container(document, one.container) or {}, one.variable)
            for one in bound
        },
        revision=workload.template_notes(document).get(workload.revision_note(situation.model.name)),
        receipt=receipt,
        at=_decided_at(catalog, situation, document, odd) if odd else None,
        under_way=_under_way(catalog, situation, document),
    )


def _decided_at(catalog: Catalog, situation: Situation, document: dict[str, Any], digest: str) -> datetime | None:
    """Return when a release of one of the workload's models took the decision with *digest*, None if none did."""
    found = (decided_at(place, name, digest) for place, name in _kept(catalog, situation, document))
    return next(filter(None, found), None)


def _under_way(catalog: Catalog, situation: Situation, document: dict[str, Any]) -> bool:
    """Return whether a release that has begun here holds the workload: its annotation alone proves nothing."""
    holder, uid = workload.notes(document).get(workload.LOCK), document["metadata"]["uid"]
    kept = _kept(catalog, situation, document) if holder else ()
    return any(is_under_way(place, name, str(holder), uid) for place, name in kept)


def _kept(catalog: Catalog, situation: Situation, document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each model that the workload serves or was given, and where its receipts are."""
    bound = {one.model for one in situation.service.bindings}
    for name in sorted(bound | workload.models_of(document)):
        place = catalog.models.get(name, situation.model).receipts
        yield (place.url, place.connection), name


def _left(evidence: Evidence, model: str, target: str) -> Left | None:
    """Return what the release left at *target*; None of one that came into the catalog since."""
    plan = parse(evidence.read("plan")["plan"])
    if target not in [one.name for one in plan.targets]:
        return None
    return Left(
        release_id=evidence.release_id,
        values={str(one): one.to for one in plan.target(target).bindings_of(model)},
        revision=str(plan.revisions[model]),
        receipt=str(evidence.digest("decided", target)),
        at=datetime.fromisoformat(evidence.read("decided", target)["at"]),
    )


def _observe(model: Model, audit_id: str, found: Found) -> None:
    """Put on record what somebody else changed, unless the newest observation says the same."""
    if not found.changed:
        return
    book, reason = ledger(model), "; ".join(found.changed)
    before = [entry.reason for entry in book.entries() if entry.event == "observed"]
    if before[-1:] != [reason]:
        [revision] = found.revisions if len(found.revisions) == 1 else [None]
        book.record("observed", audit_id, revision=revision, reason=reason)
