"""Say what a release will be about, and everything that would stop it, before anything is moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import yaml
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

from modelberth.catalog import RemoteSource, load
from modelberth.catalog.together import nothing_waits, together_problems
from modelberth.core import gate
from modelberth.core.failure import Failure
from modelberth.core.units import human
from modelberth.kubernetes import preflight
from modelberth.kubernetes.client import Cluster, ClusterRefusedError, ClusterUnreachableError
from modelberth.kubernetes.planning import gate_of
from modelberth.kubernetes.target import find
from modelberth.operators import proposed_version, release_of, switched_with
from modelberth.operators.model import ModelOperator
from modelberth.operators.people import known_people
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import (
    EvidenceForgedError,
    StoreError,
    StoreUnreachableError,
    ledger,
    open_store,
    release_evidence,
    undecided_release,
)
from modelberth.sources import proposal, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Model, Service
    from modelberth.sources import SourceVersion


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stops the release.

    :param passing: Whether it may be over when Airflow tries again.
    """

    text: str
    passing: bool = False


class ResolveModelOperator(ModelOperator):
    """
    Fix the source version that a release is about, and refuse early what can be refused early.

    All problems are in one error: of the source, the buckets, the connections and every target's cluster. Nothing is
    changed but the ledger, which learns that this version is proposed, or that it could not be.

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Look at everything at once; then propose, or refuse."""
        with refusals_are_final():
            catalog, release_id = load(), release_of(context)
            model = catalog.model(self.model)
            requested_by = context["dag_run"].triggering_user_name
            version, findings = look(catalog, model, release_id, switched_with(context))
            findings["gate"] = _gate(catalog, model, requested_by)
            if version is None or any(findings.values()):
                raise self._refusal(context, version, findings, model)
            known = proposal(version)
            digest = release_evidence(model, release_id).write("resolve", {**known, "requested_by": requested_by})
            ledger(model).record("proposed", release_id, source_version=str(version.name))
            return {"release_id": release_id, "source_version": str(version.name), "receipt": str(digest)}

    def _refusal(
        self, context: Context, version: SourceVersion | None, findings: dict[str, list[Finding]], model: Model
    ) -> AirflowException:
        """Return the error with all findings; the ledger learns it when no try is left."""
        found = list(dict.fromkeys(one for some in findings.values() for one in some))
        passing = all(one.passing for one in found)
        last = context["ti"].try_number > context["ti"].max_tries
        about = str(version.name) if version else proposed_version(context)
        if about and not findings["receipts"] and (last or not passing):
            reason = found[0].text
            ledger(model).record("failed", release_of(context), source_version=about, reason=reason)
        lines = [f"Model {self.model!r} cannot be released, nothing was changed. {len(found)} to put right:"]
        kind = AirflowException if passing else AirflowFailException
        return kind("\n- ".join(lines + [one.text for one in found]))


def look(
    catalog: Catalog, model: Model, release_id: str, others: Sequence[str] = ()
) -> tuple[SourceVersion | None, dict[str, list[Finding]]]:
    """Return what the source holds, and what was found wrong by the name of what was looked at.

    :param others: Models that are to be switched together with *model*.
    """
    services = catalog.services_of(model.name)
    version = None
    with ThreadPoolExecutor(max_workers=8) as pool:
        source = pool.submit(_source, model)
        asked = {
            "bucket": pool.submit(_told, model.bucket.connection, partial(_list_bucket, model)),
            "receipts": pool.submit(_told, model.receipts.connection, partial(_read_receipts, model, release_id)),
            "with": pool.submit(_told, model.receipts.connection, partial(_with, catalog, model, others)),
            **{
                one.name: pool.submit(_told, one.connection, partial(_ask_cluster, catalog, model, one))
                for one in services
            },
        }
        if model.signatures:
            asked["signature"] = pool.submit(_verifiers, model)
    version, in_source = source.result()
    findings = {"source": in_source, **{name: answer.result() for name, answer in asked.items()}}
    if not services:
        findings["catalog"] = [Finding(_unbound(catalog, model))]
    return version, findings


def _with(catalog: Catalog, model: Model, others: Sequence[str]) -> list[str]:
    if problems := together_problems(catalog, model.name, others):
        return problems
    return [nothing_waits(other) for other in others if undecided_release(catalog.model(other)) is None]


def _gate(catalog: Catalog, model: Model, requested_by: str | None) -> list[Finding]:
    """Return why nobody could approve, as far as that can be known before there is anything to approve."""
    services = catalog.services_of(model.name)
    problem = services and gate.problem(gate_of(services, requested_by), known_people())
    return [Finding(problem)] if problem else []


def _source(model: Model) -> tuple[SourceVersion | None, list[Finding]]:
    try:
        version = source_of(model).resolve()
    except Failure as failure:
        return None, [Finding(problem, failure.code.worth_retrying) for problem in failure.problems]
    except (AirflowException, ValueError) as error:  # what a hook says of its connection
        return None, [Finding(str(error))]
    limit = model.size_limit
    if limit and version.bytes > limit:
        return version, [Finding(f"The source holds {human(version.bytes)}, more than size_limit {human(limit)}.")]
    return version, []


def _list_bucket(model: Model) -> list[str]:
    open_store(model.bucket.url, model.bucket.connection).keys(f"{model.name}/revisions/.none")
    return []


def _read_receipts(model: Model, release_id: str) -> list[str]:
    release_evidence(model, release_id).find("resolve")
    return []


def _verifiers(model: Model) -> list[Finding]:
    """Return why a signature could not be verified, whoever had made it."""
    from modelberth.signatures.configured import verifier_of
    from modelberth.signatures.verifier import VerifierUnreachableError, VerifierUnusableError

    found = []
    for asked in model.signatures.values():
        try:
            verifier_of(asked)
        except VerifierUnusableError as error:
            found.append(Finding(str(error)))
        except VerifierUnreachableError as error:
            found.append(Finding(str(error), passing=True))
    return found


def _ask_cluster(catalog: Catalog, model: Model, service: Service) -> list[str]:
    from kubernetes.config import ConfigException

    try:
        cluster = Cluster(service.connection)
    except (yaml.YAMLError, ConfigException) as error:
        # The cause is not shown: it may quote the kubeconfig.
        return [f"Connection {service.connection!r} holds no usable kubeconfig ({type(error).__name__}): correct it."]
    problems = preflight.problems(cluster, service)
    if problems := problems or preflight.secret_problems(cluster, service, _secrets(catalog, model, service)):
        return problems
    targets = [one for one in catalog.targets(model.name) if one.service.name == service.name]
    return [problem for one in targets for problem in find(one, [model.name], cluster).problems]


def _secrets(catalog: Catalog, model: Model, service: Service) -> list[str]:
    """Return the Secrets that the files of *model* and *service* name beside the bucket's: a source's, a probe's."""
    uploads = catalog.services_of(model.name)[0].name == service.name
    source = model.source.secret if uploads and isinstance(model.source, RemoteSource) else None
    probe = service.confirm.probe.secret if service.confirm.probe else None
    return [name for name in (source, probe) if name]


def _told(connection: str, ask: partial[list[str]]) -> list[Finding]:
    """Return what *ask* finds with *connection*; that it cannot be asked is a finding as well."""
    try:
        BaseHook.get_connection(connection)  # the AWS hook takes a missing one for 'use the worker's own rights'
    except AirflowNotFoundException:
        return [Finding(f"Airflow has no connection {connection!r}: create it, or correct the catalog.")]
    try:
        return [Finding(problem) for problem in ask()]
    except (StoreUnreachableError, ClusterUnreachableError) as error:
        return [Finding(str(error), passing=True)]
    except (ClusterRefusedError, StoreError, EvidenceForgedError, AirflowException, ValueError) as error:
        return [Finding(str(error))]


def _unbound(catalog: Catalog, model: Model) -> str:
    broken = ", ".join(catalog.problems)
    hint = f" These files are broken: {broken}." if broken else ""
    return f"No service binds model {model.name!r}: add a binding to a file in {catalog.root / 'services'}.{hint}"
