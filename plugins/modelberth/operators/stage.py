"""Find out what the registries of a service name and its claim lacks; and say, at the end, what became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.catalog import load
from modelberth.core.mentions import mentions
from modelberth.core.prune import FOREIGN, Seen, Unknown, Use
from modelberth.core.release import release_id
from modelberth.core.stage import Line, State, afterwards, remembered, table
from modelberth.kubernetes.claimpod import ClaimPod, PodLostError
from modelberth.kubernetes.client import (
    Cluster,
    ClusterRefusedError,
    ClusterUnreachableError,
    ObjectMissingError,
    workload_path,
)
from modelberth.kubernetes.pruning import pruning
from modelberth.kubernetes.usage import together
from modelberth.operators.mapping import widest
from modelberth.operators.refusal import refusals_are_final
from modelberth.operators.stage_pods import PROBLEM
from modelberth.operators.staging import list_claim, look, named_by, receipts_of, stage_of
from modelberth.receipts import evidence_at
from modelberth.receipts.staged import staged_record
from modelberth.sources import proposal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Service
    from modelberth.core.prune import Lying
    from modelberth.operators.staging import Seen as Version

STEP = "list"
STEPS = {"upload": "fetch", "sync": "sync", "verify": "verify"}
"""The receipts that bring a version, in their order, and the tasks that leave them."""


class ListNamedOperator(BaseOperator):
    """
    Ask the registries what they name, look what of it is on the claim, and return what is to be brought.

    Each version that is to be brought gets a signed receipt, which says where its bytes are; the steps that bring it
    believe that and nothing else. What cannot be had disturbs no other: *report* fails with it.

    :param service: The service, as in the catalog. (templated)
    """

    template_fields: Sequence[str] = ("service",)

    def __init__(self, *, service: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service = service
        self._pod: ClaimPod | None = None

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Return one row for each version that is to be brought, as many as one run takes on."""
        try:
            with refusals_are_final():
                catalog = load()
                service = catalog.service(self.service)
                found, problems = named_by(catalog, service)
                self._pod = ClaimPod(Cluster(service.connection), service, STEP)
                versions = look(catalog, service, found, list_claim(self._pod, self.log))
                for problem in problems:
                    self.log.error("%s", problem)
                for one in versions:
                    self.log.info("%s: %s. %s", one.named, one.line.state, one.line.why)
                run, waiting = context["dag_run"], [one for one in versions if one.line.state is State.WAITING]
                return [
                    _proposed(catalog, service, one, release_id(run.dag_id, f"{run.run_id}/{one.named}", run.run_after))
                    for one in waiting[: widest()]
                ]
        except (ClusterUnreachableError, PodLostError) as error:
            raise AirflowException(str(error)) from error

    def on_kill(self) -> None:
        """Take the pod away."""
        if self._pod:
            self._pod.remove()


def _proposed(catalog: Catalog, service: Service, one: Version, new_id: str) -> dict[str, str]:
    """Put on record what is to be brought; return what the steps are told of it."""
    assert one.found  # noqa: S101 - for mypy: what waits was found
    model, version = one.named.model, one.named.version
    known = staged_record(stage_of(service).receipts, service.name, service)
    under = known.release_id(model, one.found.name, new_id)
    receipts = receipts_of(catalog, service, model)
    about = {"stage": service.name, "named": version, "source": dict(one.named.source)}
    evidence_at(receipts.url, receipts.connection, model, under).write("resolve", proposal(one.found) | about)
    return {"model": model, "version": version, "release_id": under}


class ReportStagedOperator(BaseOperator):
    """
    Look again, and say of all that is named and of all that is on the claim how it stands.

    The table is in the log, in the XCom and where Airflow shows rendered fields. It fails when something that is
    named could not be brought, or a registry not be asked.

    :param service: The service, as in the catalog. (templated)
    :param tried: What was to be brought, as *list* returned it; None if *list* failed. (templated)
    """

    template_fields: Sequence[str] = ("service", "tried", "table")
    template_fields_renderers = {"table": "md"}  # noqa: RUF012 - as BaseOperator has it
    overwrite_rtif_after_execution = True  # the table is known after execution

    def __init__(self, *, service: str, tried: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service = service
        self.tried = tried
        self.table = ""
        self._pod: ClaimPod | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Say how it stands; fail with what is not as it should be."""
        try:
            with refusals_are_final():
                return self._report(context)
        except (ClusterUnreachableError, PodLostError) as error:
            raise AirflowException(str(error)) from error

    def on_kill(self) -> None:
        """Take the pod away."""
        if self._pod:
            self._pod.remove()

    def _report(self, context: Context) -> dict[str, Any]:
        catalog = load()
        service = catalog.service(self.service)
        found, problems = named_by(catalog, service)
        self._pod = ClaimPod(Cluster(service.connection), service, STEP)
        lying = list_claim(self._pod, self.log)
        versions = look(catalog, service, found, lying)
        _remember(service, versions, complete=not problems)
        lines = [self._line(context, catalog, service, one) for one in versions]
        lines += unreferenced(catalog, service, lying)
        self.table = table(lines)
        self.log.info("Service %s, claim %s/%s:\n%s", service.name, service.namespace, service.claim, self.table)
        problems += [f"{one.model} {one.version}: {one.why}" for one in lines if one.state is State.FAILED]
        problems += ["'list' failed: nothing was brought. See its log."] * (self.tried is None)
        context["ti"].xcom_push(key="table", value=self.table)
        if problems:
            raise AirflowFailException("\n- ".join([f"Not staged for service {service.name!r}:", *problems]))
        return {str(state): sum(one.state is state for one in lines) for state in State}

    def _line(self, context: Context, catalog: Catalog, service: Service, one: Version) -> Line:
        tried = {(row["model"], row["version"]): index for index, row in enumerate(self.tried or ())}
        index = tried.get((one.named.model, one.named.version))
        why = ""
        if index is not None and one.line.state is State.WAITING:
            why = self._why(context, catalog, service, one.named.model, index)
        return afterwards(one.line, tried=index is not None, missing=why)

    def _why(self, context: Context, catalog: Catalog, service: Service, model: str, index: int) -> str:
        """Return why a version that was to be brought is not there: what its first step without a receipt said."""
        receipts = receipts_of(catalog, service, model)
        evidence = evidence_at(receipts.url, receipts.connection, model, self.tried[index]["release_id"])
        targets = {"upload": None}
        steps = [step for step in STEPS if evidence.find(step, targets.get(step, service.name)) is None]
        task = STEPS[steps[0] if steps else "verify"]
        said = context["ti"].xcom_pull(task_ids=f"version.{task}", key=PROBLEM, map_indexes=index)
        return str(said) if said else f"Its {task} has not ended well: see its log. The next run goes on with it."


def _remember(service: Service, versions: Sequence[Version], *, complete: bool) -> None:
    """Put on record what is named, for a prune to leave it."""
    record = staged_record(stage_of(service).receipts, service.name, service)
    now = [_row(one) for one in versions]
    record.note(remembered(record.named() or (), now, complete=complete))


def _row(one: Version) -> dict[str, str]:
    snapshot = one.line.what.rpartition(":")[2] if one.line.what != one.revision else ""
    named = {"model": one.named.model, "version": one.named.version, "revision": one.revision}
    return named | ({"snapshot": snapshot} if snapshot else {})


def unreferenced(catalog: Catalog, service: Service, lying: Sequence[Lying]) -> Iterator[Line]:
    """Yield what is on the claim and neither named by a registry nor used by anybody who can be seen."""
    seen = together([_bound(catalog, service), _used(catalog, service, lying)])
    for one in lying:
        if one.state == FOREIGN or one.trashed or seen.users(one):
            continue
        doubts = seen.doubts(one)
        why = f"Whether somebody uses it cannot be known: {doubts[0]}" if doubts else "prune_claims takes it."
        yield Line(State.UNREFERENCED, one.model, "", str(one), why)


def _used(catalog: Catalog, service: Service, lying: Sequence[Lying]) -> Seen:
    """Return what a prune would see; a right to look that is missing is a doubt."""
    try:
        return pruning(catalog, service.connection, service.namespace, service.claim).seen(lying)
    except ClusterRefusedError as error:
        return Seen(unknown=(Unknown(str(error)),))


def _bound(catalog: Catalog, service: Service) -> Seen:
    """Return what the workloads of the catalog on this claim name, which can be seen with a release's rights."""
    cluster, place = Cluster(service.connection), (service.connection, service.namespace, service.claim)
    uses = []
    for other in catalog.services.values():
        for workload in other.workloads() if (other.connection, other.namespace, other.claim) == place else ():
            try:
                document = cluster.get(workload_path(other.namespace, workload.kind, workload.name))
            except ObjectMissingError:
                continue
            uses += [Use(str(workload), mention) for mention in mentions(json.dumps(document))]
    return Seen(tuple(uses))
