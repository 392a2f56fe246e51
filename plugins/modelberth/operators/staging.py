"""What a service's registries name, and how much of it is on the claim: looked at before and after a stage run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException
from pydantic import TypeAdapter, ValidationError

from modelberth.catalog import CatalogError, Model
from modelberth.catalog.sources import AnySource
from modelberth.core.failure import Failure
from modelberth.core.prunelist import claimed
from modelberth.core.registry import Named, fitting
from modelberth.core.stage import Line, State, decide, on_claim
from modelberth.core.units import human
from modelberth.kubernetes.claimpod import CLAIM
from modelberth.operators.outcome import Outcome
from modelberth.receipts import EvidenceForgedError, StoreError, StoreUnreachableError
from modelberth.receipts.damage import damage_record
from modelberth.receipts.uploaded import uploaded_record
from modelberth.receipts.verified import verified_record
from modelberth.sources import SourceVersion, source_of
from modelberth.sources.registry import entries

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping, Sequence

    from modelberth.catalog import Catalog, Service
    from modelberth.catalog.model import Store
    from modelberth.catalog.registry import Stage
    from modelberth.core.prune import Lying
    from modelberth.kubernetes.claimpod import ClaimPod

AT_ONCE = 16
"""Versions that are looked at at the same time: sources and stores are waited for."""

_PROBLEMS = (Failure, StoreError, StoreUnreachableError, EvidenceForgedError, AirflowException, ValueError)
"""What keeps one registry or version from being looked at, and is a problem of that one only."""

_SOURCE: TypeAdapter[Any] = TypeAdapter(AnySource)


@dataclass(frozen=True, slots=True)
class Seen:
    """One version that is named, as it was found.

    :param found: What its source holds; None if that cannot be had.
    """

    line: Line
    named: Named
    found: SourceVersion | None = None
    revision: str = ""


def stage_of(service: Service) -> Stage:
    """Return what the service's file says of staging.

    :raises CatalogError: Nothing, by now.
    """
    if service.stage is None:
        raise CatalogError(f"Service {service.name!r} has no 'stage' in its file by now: there is nothing to bring.")
    return service.stage


def receipts_of(catalog: Catalog, service: Service, model: str) -> Store:
    """Return where the evidence about *model* is: where its file says, else where the service's does."""
    known = catalog.models.get(model)
    return known.receipts if known else stage_of(service).receipts


def staged_model(catalog: Catalog, service: Service, name: str, source: Mapping[str, Any]) -> Model:
    """Return model *name* with *source*; what else is to be known says its file, else the service's ``stage``.

    :raises CatalogError: Its file is broken, or it cannot be a model.
    """
    if name in catalog.problems and name not in catalog.models:
        raise CatalogError(f"The file of model {name!r} is broken: correct it. {' '.join(catalog.problems[name])}")
    try:
        parsed = _SOURCE.validate_python(dict(source))
        if known := catalog.models.get(name):
            return known.model_copy(update={"source": parsed})
        stage = stage_of(service)
        return Model(name=name, source=parsed, bucket=stage.bucket, receipts=stage.receipts)
    except ValidationError as error:
        raise CatalogError("; ".join(str(one["msg"]) for one in error.errors())) from error


def named_by(catalog: Catalog, service: Service) -> tuple[list[Named], list[str]]:
    """Return all that the registries of *service* name, and why some of them could not be asked."""
    registries = stage_of(service).registry
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda one: _asked(catalog, service, one), registries))
    found = [named for answer in answers if not isinstance(answer, str) for named in answer]
    return fitting(found), [answer for answer in answers if isinstance(answer, str)]


def _asked(catalog: Catalog, service: Service, registry: Any) -> list[Named] | str:
    try:
        return entries(catalog, service, registry)
    except _PROBLEMS as error:
        return str(error)


def look(catalog: Catalog, service: Service, named: Sequence[Named], lying: Sequence[Lying]) -> list[Seen]:
    """Return how much of each version that is *named* there is; one that cannot be had disturbs no other.

    :param lying: What is on the claim.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda one: _seen(catalog, service, one, lying), named))


def _seen(catalog: Catalog, service: Service, named: Named, lying: Sequence[Lying]) -> Seen:
    if named.problem:
        return _failed(named, named.problem)
    try:
        model = staged_model(catalog, service, named.model, named.source)
        found = source_of(model).resolve()
        if model.size_limit and found.bytes > model.size_limit:
            text = f"The source holds {human(found.bytes)}, more than size_limit {human(model.size_limit)}."
            return _failed(named, text)
        revision = uploaded_record(model).revision(found.name)
        there = on_claim(revision, _not_damaged(model, service, lying)) if revision else None
        verified = bool(there and verified_record(model, service).last(there))
    except (*_PROBLEMS, CatalogError) as error:
        return _failed(named, str(error))
    state = decide("", revision, there, verified=verified)
    what = f"{revision}.{there.copy}" if revision and there else str(revision or "")
    return Seen(Line(state, named.model, named.version, what), named, found, str(revision or ""))


def _not_damaged(model: Model, service: Service, lying: Iterable[Lying]) -> list[Lying]:
    record = damage_record(model, service)
    ours = [one for one in lying if one.model == model.name]
    return [one for one in ours if record.problem(one.snapshot) is None]


def _failed(named: Named, problem: str) -> Seen:
    return Seen(Line(State.FAILED, named.model, named.version, why=problem), named)


def list_claim(pod: ClaimPod, log: logging.Logger) -> tuple[Lying, ...]:
    """Return what is on a claim, as a pod of ours sees it.

    :raises AirflowException: The pod did not end well.
    :raises PodLostError: Nobody knows how it ended.
    """
    ended = pod.run(["list", CLAIM], log, writes=False)
    outcome = Outcome(ended.exit_code, ended.message, ended.where, ended.reason, ended.node)
    return claimed(outcome.result("list")).snapshots
