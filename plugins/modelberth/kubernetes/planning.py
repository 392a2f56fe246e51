"""Making a plan: what was proven, what is live, what the catalog asks for, frozen in one document."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelberth.core import approval, content, layout, signature
from modelberth.core import gate as gates
from modelberth.core.binding import Binding
from modelberth.core.confirm import Confirm, Probe, Smoke
from modelberth.core.difference import difference
from modelberth.core.failure import Failure
from modelberth.core.manifest import Manifest
from modelberth.core.people import NOBODY_KNOWN
from modelberth.core.plan import Approver, Gate, Plan, PlanRefusedError, Released, Served, Target, Workload
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision, Snapshot
from modelberth.kubernetes import canary, patience, workload
from modelberth.kubernetes.rehearsal import rehearse
from modelberth.kubernetes.target import Found, find
from modelberth.receipts import open_store
from modelberth.receipts.damage import damage_record
from modelberth.receipts.signed import read_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from modelberth import catalog as catalogs
    from modelberth.catalog import Catalog, Model, Service
    from modelberth.core.digest import Digest
    from modelberth.core.plan import Difference
    from modelberth.receipts import Evidence


def make_plan(catalog: Catalog, model_name: str, evidence: Evidence, others: Sequence[Evidence] = ()) -> Plan:
    """Return the plan of the release that *evidence* is about.

    :param others: Of releases of other models that are switched with it.
    :raises PlanRefusedError: With everything that stands in the way of a rollout, as far as it can be known.
    :raises EvidenceMissingError: Something is not proven, such as a target that came into the catalog meanwhile.
    """
    model, targets = catalog.model(model_name), catalog.targets(model_name)
    services = catalog.services_of(model_name)
    if not services:
        raise PlanRefusedError(f"Release {evidence.release_id} has no target: no service binds {model.name!r}.")
    parts = [_Part.read(catalog, one) for one in (evidence, *others)]
    found = {target.name: find(target, [part.released.model for part in parts]) for target in targets}
    asks = gate_of(services, _requester(evidence))
    gate = gates.taking_along(asks, [_requester(one) for one in others])
    left_out = [one for one in asks.approvers if one not in gate.approvers]
    problems = [*_problems(targets, found, parts), gates.problem(gate, NOBODY_KNOWN, left_out=left_out)]
    if said := " ".join(filter(None, problems)):
        raise PlanRefusedError(f"Release {evidence.release_id} cannot be rolled out: {said}")
    planned = [_planned(one, found[one.name], _at(parts, one)) for one in targets]
    plan = Plan(
        model=model.name,
        release_id=evidence.release_id,
        models=tuple(part.released for part in parts),
        gate=gate,
        targets=tuple(canary.with_what_is_tried_first(planned, targets)),
    )
    rehearse(plan, {name: one.document for name, one in found.items()})
    return plan


def _requester(evidence: Evidence) -> str | None:
    """Return who requested a release, None where nobody knows: refresh proposed it."""
    return evidence.read("resolve").get("requested_by")


@dataclass(frozen=True)
class _Part:
    """One model that the plan switches: what its release has proven; *verified* and *snapshots* by service."""

    released: Released
    verified: Mapping[str, Mapping[str, Any]]
    snapshots: Mapping[str, Snapshot]
    difference_to: _Differences

    @classmethod
    def read(cls, catalog: Catalog, evidence: Evidence) -> _Part:
        """Return what *evidence* shows for all services of its model."""
        model, services = catalog.model(evidence.model), catalog.services_of(evidence.model)
        released = _with_signatures(model, read_released(model, evidence), evidence)
        verified = {one.name: evidence.read("verify", one.name) for one in services}
        for name, receipt in verified.items():
            _require_content(model, name, receipt)
        return cls(
            released,
            verified,
            {one.name: read_verified(evidence, model, one, released.revision) for one in services},
            _Differences(model, released.revision),
        )


def _require_content(model: Model, service: str, receipt: Mapping[str, Any]) -> None:
    if refused := content.judge(model.content.model_dump(), receipt.get("content")).refused:
        raise PlanRefusedError(
            f"Model {model.name!r} was verified for service {service!r}, but {'; '.join(refused)}, and its file "
            "requires by now that there is none: put it right, then clear the service's verify."
        )


def _with_signatures(model: Model, released: Released, evidence: Evidence) -> Released:
    """Return *released* with what is on record of the signatures that the model's file asks for by now."""
    policies = {kind: asked.policy for kind, asked in model.signatures.items()}
    found = tuple(one for one in read_signed(evidence, released.revision) if one.kind in policies)
    if refused := signature.judge(policies, found).refused:
        raise PlanRefusedError(signature.refusal(str(released.revision), refused))
    return replace(released, signed=found)


def _problems(targets: Sequence[catalogs.Target], found: Mapping[str, Found], parts: Sequence[_Part]) -> Iterator[str]:
    """Yield what stands in the way of each of *targets*: first what was found there, then time, then the canary."""
    for one in found.values():
        yield from one.problems
    for target in targets:
        one, read = found[target.name], _reading(_at(parts, target), target)
        if one.bindings:
            yield from patience.problems(target.service, one.document, one.containers, read)
    for target in targets:
        yield from canary.problems(target, found[target.name].document)


def _planned(target: catalogs.Target, found: Found, parts: Sequence[_Part]) -> Target:
    """Return *target* as the plan has it, which switches the models of *parts*."""
    snapshots = {part.released.model: part.snapshots[target.service.name] for part in parts}
    differences = {part.released.model: part.difference_to for part in parts}
    return make_target(target, found, snapshots, differences, _reading(parts, target))


def _at(parts: Sequence[_Part], target: catalogs.Target) -> list[_Part]:
    """Return those of *parts* whose model *target* serves."""
    return [part for part in parts if target.service.bindings_of(part.released.model, target.workload)]


def _reading(parts: Sequence[_Part], target: catalogs.Target) -> dict[str, float]:
    """Return what verify said of all bytes that pods of *target* are to load, and in how many seconds it read them."""
    read = [part.verified[target.service.name] for part in parts]
    return {key: sum(one.get(key) or 0 for one in read) for key in ("bytes", "seconds")}


def read_released(model: Model, evidence: Evidence) -> Released:
    """Return what the release that *evidence* is about has uploaded."""
    upload = evidence.read("upload")
    return Released(
        model=model.name,
        release_id=evidence.release_id,
        revision=Revision.parse(upload["revision"]),
        source_version=evidence.read("resolve").get("source_version"),
        files=upload["files"],
        bytes=upload["bytes"],
    )


def read_verified(evidence: Evidence, model: Model, service: Service, revision: Revision) -> Snapshot:
    """Return the snapshot that was read again on the service's claim."""
    receipt = evidence.read("verify", service.name)
    if receipt["revision"] != str(revision):
        raise PlanRefusedError(
            f"Service {service.name!r} was verified to hold {receipt['revision']}, but {revision} was uploaded: "
            "clear the service's sync."
        )
    if problem := approval.place_problem(receipt, service):
        raise PlanRefusedError(
            f"Service {service.name!r} was verified on another claim: {problem}. The catalog changed: "
            "clear the service's sync."
        )
    snapshot = Snapshot.parse(receipt["snapshot"])
    if problem := damage_record(model, service).problem(snapshot):
        raise PlanRefusedError(problem)
    return snapshot


def gate_of(services: Sequence[Service], requested_by: str | None) -> Gate:
    """Return who has to answer for all *services*: the strictest of each."""
    common = set.intersection(*({one.id for one in service.approvers} for service in services))
    return Gate(
        approvers=tuple(Approver(one.id, one.name) for one in services[0].approvers if one.id in common),
        approvals=max(service.approvals for service in services),
        four_eyes=any(service.four_eyes for service in services),
        requested_by=requested_by,
        answer_within=min(service.answer_within for service in services),
    )


def make_target(
    target: catalogs.Target,
    found: Found,
    snapshots: Mapping[str, Snapshot],
    differences: Mapping[str, Callable[[Revision | None], Difference | None]],
    verified: Mapping[str, Any],
) -> Target:
    """Return *target* as the plan has it.

    :param differences: For each model that is switched, how its new revision differs from the one that is live.
    :param verified: What verify said of the bytes that pods are to load.
    """
    service, document = target.service, found.document
    bindings = tuple(_binding(found, binding, mount, snapshots) for binding, mount in found.bindings)
    return Target(
        name=target.name,
        service=service.name,
        connection=service.connection,
        namespace=service.namespace,
        claim=service.claim,
        workload=Workload(target.workload.kind, target.workload.name, document["metadata"]["uid"]),
        replicas=workload.replicas(document),
        strategy=workload.strategy(document),
        served=tuple(
            _served(model, document, snapshots[model], [one for one in bindings if one.model == model], difference_to)
            for model, difference_to in differences.items()
        ),
        bindings=bindings,
        ready_within=patience.ready_within(service, document, found.containers, verified),
        confirm=_confirm(service),
        capacity=found.room,
        canary=None,
        preview=False,
    )


def _binding(
    found: Found, bound: catalogs.Binding, mount: workload.Mount, snapshots: Mapping[str, Snapshot]
) -> Binding:
    live = workload.live_value(workload.container(found.document, bound.container) or {}, bound.variable)
    path = mount.serving_path(bound.model, snapshots[bound.model])
    return Binding(bound.model, bound.container, bound.variable, live, path)


def _served(
    model: str,
    document: workload.Document,
    snapshot: Snapshot,
    bindings: Sequence[Binding],
    to: Callable[[Revision | None], Difference | None],
) -> Served:
    noted = workload.template_notes(document).get(workload.revision_note(model))
    return Served(model, snapshot, noted, to(_live(model, bindings[0].from_)))


def _confirm(service: Service) -> Confirm:
    asked = service.confirm
    smoke = tuple(
        Smoke(one.path, one.body, one.status, one.json_path, one.equals, one.tolerance) for one in asked.smoke
    )
    ours, probe = service.pods, None
    if asked.probe:
        probe = Probe(asked.probe.secret, asked.probe.scheme, ours.image, ours.service_account)
    return Confirm(asked.level, asked.port, asked.report, asked.style, smoke, probe)


def _live(model: str, value: str | None) -> Revision | None:
    """Return the revision that the live *value* serves, if it is one of our paths."""
    *_, owner, snapshot, _ = ["", "", *(value or "").split("/")]
    try:
        return Revision(model, Snapshot.parse(snapshot).digest) if owner == model else None
    except ValueError:
        return None


_HERE = layout.BucketUrl("s3", "bucket")
"""Without a prefix: a store's keys begin below it."""


class _Differences:
    """The difference between the new revision and another, by the manifests in the bucket."""

    def __init__(self, model: Model, revision: Revision) -> None:
        self._model = model
        self._store = open_store(model.bucket.url, model.bucket.connection)
        self._after = self._manifest(revision.digest)

    def __call__(self, live: Revision | None) -> Difference | None:
        """Return the difference to *live*; None where a manifest is not in the bucket (any more)."""
        before = self._manifest(live.digest) if live else None
        if self._after is None or (live and before is None):
            return None
        return difference(live, before, self._after)

    def _manifest(self, digest: Digest) -> Manifest | None:
        data = self._store.read(layout.manifest_key(_HERE, self._model.name, digest), limit=LARGEST)
        try:
            found = Manifest.parse(data) if data else None
        except Failure:
            return None
        return found if found and found.digest == digest else None
