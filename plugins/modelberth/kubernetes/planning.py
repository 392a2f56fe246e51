"""Making a plan: what was proven, what is live, what the catalog asks for, frozen in one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core import approval, layout
from modelberth.core.difference import difference
from modelberth.core.failure import Failure
from modelberth.core.manifest import Manifest
from modelberth.core.plan import Approver, Binding, Confirm, Plan, PlanRefusedError, Smoke, Target, Workload
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision, Snapshot
from modelberth.kubernetes import workload
from modelberth.kubernetes.target import Found, find
from modelberth.receipts import open_store
from modelberth.receipts.damage import damage_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.catalog import Catalog, Model, Service
    from modelberth.core.digest import Digest
    from modelberth.core.plan import Difference
    from modelberth.receipts import Evidence


def make_plan(catalog: Catalog, model_name: str, evidence: Evidence) -> Plan:
    """Return the plan of the release that *evidence* is about.

    :raises PlanRefusedError: With everything that stands in the way of a rollout, as far as it can be known.
    :raises EvidenceMissingError: Something is not proven, such as a target that came into the catalog meanwhile.
    """
    model, services = catalog.model(model_name), catalog.targets(model_name)
    upload = evidence.read("upload")
    revision = Revision.parse(upload["revision"])
    snapshots = {service.name: _verified(evidence, model, service, revision) for service in services}
    found = {service.name: find(service, model.name) for service in services}
    problems = [problem for one in found.values() for problem in one.problems]
    approvers = _approvers(services)
    if not approvers:
        problems.append(_NOBODY if services else f"No service binds {model.name!r} any more: there is no target.")
    if problems:
        raise PlanRefusedError(f"Release {evidence.release_id} cannot be rolled out: {' '.join(problems)}")
    difference_to = _Differences(model, revision)
    return Plan(
        model=model.name,
        release_id=evidence.release_id,
        revision=revision,
        source_version=evidence.read("resolve").get("source_version"),
        files=upload["files"],
        bytes=upload["bytes"],
        approvers=approvers,
        targets=tuple(
            _target(service, model.name, found[service.name], snapshots[service.name], difference_to)
            for service in services
        ),
    )


_NOBODY = "No person is an approver of all its targets, and one answer is for all: make one so in the services' files."


def _verified(evidence: Evidence, model: Model, service: Service, revision: Revision) -> Snapshot:
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


def _approvers(services: Sequence[Service]) -> tuple[Approver, ...]:
    """Return who may answer for all *services*."""
    if not services:
        return ()
    common = set.intersection(*({one.id for one in service.approvers} for service in services))
    return tuple(Approver(one.id, one.name) for one in services[0].approvers if one.id in common)


def _target(service: Service, model: str, found: Found, snapshot: Snapshot, difference_to: _Differences) -> Target:
    document, bindings = found.document, _bindings(service, model, found, snapshot)
    return Target(
        service=service.name,
        connection=service.connection,
        namespace=service.namespace,
        claim=service.claim,
        workload=Workload(service.workload.kind, service.workload.name, document["metadata"]["uid"]),
        replicas=workload.replicas(document),
        strategy=workload.strategy(document),
        snapshot=snapshot,
        bindings=bindings,
        revision_from=workload.template_notes(document).get(workload.revision_note(model)),
        ready_within=service.ready_within,
        confirm=_confirm(service),
        difference=difference_to(_live(model, bindings[0].from_)),
    )


def _bindings(service: Service, model: str, found: Found, snapshot: Snapshot) -> tuple[Binding, ...]:
    bound, paths = service.bindings_of(model), found.serving_paths(model, snapshot)
    containers = [workload.container(found.document, one.container) or {} for one in bound]
    return tuple(
        Binding(one.container, one.variable, workload.live_value(container, one.variable), path)
        for one, container, path in zip(bound, containers, paths, strict=True)
    )


def _confirm(service: Service) -> Confirm:
    asked, smoke = service.confirm, service.confirm.smoke
    request = Smoke(smoke.path, smoke.body, smoke.status, smoke.json_path) if smoke else None
    return Confirm(asked.level, asked.port, asked.report, request)


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
