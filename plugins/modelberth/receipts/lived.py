"""What was live at a service, by the outcomes of every release that was approved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modelberth.core import approval
from modelberth.core.ledger import LIVE
from modelberth.core.plan import PlanRefusedError, parse
from modelberth.core.rollback import Lived
from modelberth.receipts import evidence_at, ledger_at
from modelberth.receipts.damage import OnClaim

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.core.plan import Plan
    from modelberth.receipts import Evidence, ModelConfig

_AT_ONCE = 16


class _Bound(Protocol):
    @property
    def model(self) -> str: ...


class Serving(OnClaim, Protocol):
    """A service of the catalog: where it is, and the models that it binds."""

    @property
    def name(self) -> str:
        """What plans call it."""
        ...

    @property
    def bindings(self) -> Sequence[_Bound]:
        """What names a model each."""
        ...


class _Switch(NamedTuple):
    """A snapshot that went live, and the receipts of the release whose plan did it."""

    lived: Lived
    evidence: Evidence


def lived(model: ModelConfig, service: Serving) -> list[Lived]:
    """Return every snapshot of *model* that was live at *service*, on the claim that it is on now, the oldest first.

    :raises EvidenceForgedError: A receipt or an entry of the ledger is not ours; then nothing is known for sure.
    """
    return [one.lived for one in _switches(model, service)]


def last_switch(model: ModelConfig, service: Serving) -> Evidence | None:
    """Return the receipts of the release whose plan brought into service what of *model* was live last.

    :raises EvidenceForgedError: A receipt or an entry of the ledger is not ours; then nothing is known for sure.
    """
    found = _switches(model, service)
    return found[-1].evidence if found else None


def decided_at(receipts: tuple[str, str], model: str, digest: str) -> datetime | None:
    """Return when the decision whose receipt has *digest* was taken, None if no release of *model* has it.

    :param receipts: Their URL and connection.
    :raises EvidenceForgedError: A receipt or an entry of the ledger is not ours; then nothing is known for sure.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for found in pool.map(lambda release: release.by_digest("decided"), _approved(receipts, model)):
            if digest in found:
                return datetime.fromisoformat(found[digest]["at"])
    return None


def _switches(model: ModelConfig, service: Serving) -> list[_Switch]:
    """Return what went live, the oldest first, each once: what was taken along may be known from two releases."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        some = pool.map(lambda release: _switch(release, model.name, service), _releases(model, service))
        found = {one.lived: one for one in some if one}
    return sorted(found.values(), key=lambda one: (one.lived.at, one.lived.by))


def _releases(model: ModelConfig, service: Serving) -> Iterator[Evidence]:
    """Yield all releases whose plan may have switched *model*: its own, and those of models that *service* serves too.

    A release that took another model along is named by that model's last receipt, but only once it is live everywhere:
    before that, and where a later target failed, only its own plan says so.
    """
    for name in sorted({model.name, *(binding.model for binding in service.bindings)}):
        yield from _approved((model.receipts.url, model.receipts.connection), name)


def _approved(receipts: tuple[str, str], model: str) -> Iterator[Evidence]:
    """Yield the releases of *model* that were approved."""
    entries = ledger_at(*receipts, model).entries()
    approved = sorted({entry.release_id for entry in entries if entry.event in ("approved", "live")})
    yield from (evidence_at(*receipts, model, one) for one in approved)


def _switch(release: Evidence, model: str, service: Serving) -> _Switch | None:
    """Return what one release brought of *model*: nothing unless it is live at all its targets at *service*."""
    evidence = _switched_by(release)
    plan = _plan(evidence)
    targets = [one for one in plan.targets if one.service == service.name and one.bindings_of(model)] if plan else []
    outcomes = [evidence.find("outcome", one.name) for one in targets]
    if plan is None or not targets or any(one is None or one["result"] != LIVE for one in outcomes):
        return None
    if approval.place_problem(approval.place(targets[0]), service):
        return None
    at = max(datetime.fromisoformat(one["at"]) for one in outcomes if one)
    [proven] = [one.release_id for one in plan.models if one.model == model]
    by = proven if model != plan.model else plan.release_id
    return _Switch(Lived(targets[0].snapshot_of(model), proven, by, at), evidence)


def _switched_by(release: Evidence) -> Evidence:
    """Return the receipts of the release whose plan brought *release* into service: its own, or one that took it along.

    :raises EvidenceForgedError: Its record is not ours.
    """
    by = (release.find("record") or {}).get("by")
    return evidence_at(by["url"], by["connection"], by["model"], by["release_id"]) if by else release


def _plan(evidence: Evidence) -> Plan | None:
    """Return the plan of the release; None if there is none, or one of a schema that this version does not know."""
    receipt = evidence.find("plan")
    try:
        return parse(receipt["plan"]) if receipt else None
    except PlanRefusedError:
        return None
