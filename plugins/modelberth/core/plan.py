"""The plan: what a release will do, frozen once all is staged and verified; its digest is what a person approves.

    {"schema": 2, "model": "minilm", "release_id": "20260102t030405z-9f86d08188",
     "models": [{"model": "minilm", "release_id": "20260102t030405z-9f86d08188", "revision": "minilm@sha256:1f0c...",
                 "source_version": "sha256:77b0...", "files": 5, "bytes": 91000000,
                 "signed": [{"kind": "revision", "result": "valid", "against": "key sha256:9a12...",
                             "by": "key sha256:9a12...", "problems": []}]}],
     "gate": {"approvers": [{"id": "alice", "name": "Alice"}], "approvals": 1, "four_eyes": false,
              "requested_by": "bob", "answer_within": 604800},
     "targets": [{"name": "embedder", "service": "embedder", "connection": "modelberth_kubernetes",
                  "namespace": "serving", "claim": "models",
                  "workload": {"kind": "Deployment", "name": "embedder", "uid": "6d4f..."},
                  "replicas": 1, "strategy": {"type": "RollingUpdate"},
                  "served": [{"model": "minilm", "snapshot": "1f0c....1", "revision_from": null,
                              "difference": {"live": null, "added": 5, "changed": 0, "removed": 0, "bytes": 91000000}}],
                  "bindings": [{"model": "minilm", "container": "server", "variable": "MODEL_PATH", "from": null,
                                "to": "/models/minilm/1f0c....1/files"}],
                  "ready_within": 120,
                  "confirm": {"level": "reported", "port": 8000, "report": "/modelz", "style": "path", "smoke": [],
                              "probe": null},
                  "capacity": {"verdict": "fits", "reasons": []}, "canary": null, "preview": false}]}

The first of ``models`` is the release's own; the others are switched with it, each proven by the receipts of its own
release. In a rollback the first is of the earlier release that brought what is served again. ``from`` is null where
the variable is not set; ``revision_from`` is the pod template's annotation as it was found; ``difference`` is null
where what is live has no manifest in the bucket, and in a rollback, which asks no bucket. ``strategy`` is the
workload's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelberth.core import canonical, strict
from modelberth.core.binding import Binding  # noqa: TC001  (strict asks for the fields' types)
from modelberth.core.confirm import LEVELS, Confirm
from modelberth.core.digest import Digest
from modelberth.core.reports import REPORTS
from modelberth.core.revision import Revision, Snapshot  # noqa: TC001
from modelberth.core.signature import Signed  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 2

FITS, DOES_NOT_FIT, CANNOT_KNOW = VERDICTS = ("fits", "does not fit", "cannot know")

Document = dict[str, Any]


class PlanRefusedError(ValueError):
    """The bytes are not a plan of a schema that this version knows."""


@dataclass(frozen=True, slots=True)
class Released:
    """One model that the plan switches; its *release_id*'s receipts prove that it was uploaded and verified."""

    model: str
    release_id: str
    revision: Revision
    source_version: str | None
    files: int
    bytes: int
    signed: tuple[Signed, ...] = ()
    """What was found of the signatures that the model's file asks for."""


@dataclass(frozen=True, slots=True)
class Approver:
    """A person who may answer the gate, as the auth manager names them."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Who has to say yes, and how: the strictest of all services.

    :param requested_by: Who started the release; None where that is not known.
    :param answer_within: Seconds.
    """

    approvers: tuple[Approver, ...]
    approvals: int
    four_eyes: bool
    requested_by: str | None
    answer_within: int


@dataclass(frozen=True, slots=True)
class Workload:
    """The one Kubernetes object that is changed; a namesake made later has another *uid*."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """Whether the cluster has room for the pods that a rollout adds, as far as that could be seen."""

    verdict: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Canary:
    """Which pods come first.

    :param partition: The ordinal of a StatefulSet's first pod that changes at once; None: the target is whole.
    :param soak: Seconds for which what came first has to stay well before the rest follows.
    """

    partition: int | None
    soak: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How the new revision differs from the one that is live (None: nothing is)."""

    live: str | None
    added: int
    changed: int
    removed: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Served:
    """One model at one target: the snapshot to come, and what was there."""

    model: str
    snapshot: Snapshot
    revision_from: str | None
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Target:
    """One workload of a service as this release will change it.

    :param name: The service's name; of a further workload of the service ``<service>-<workload>``.
    """

    name: str
    service: str
    connection: str
    namespace: str
    claim: str
    workload: Workload
    replicas: int
    strategy: Document
    served: tuple[Served, ...]
    bindings: tuple[Binding, ...]
    ready_within: int
    confirm: Confirm
    capacity: Capacity
    canary: Canary | None
    preview: bool = False
    """Whether one pod is tried before the gate; its receipt is asked for then."""

    def bindings_of(self, model: str) -> list[Binding]:
        """Return the bindings that name *model*."""
        return [binding for binding in self.bindings if binding.model == model]

    def snapshot_of(self, model: str) -> Snapshot:
        """Return the snapshot of *model* that is to come.

        :raises KeyError: The target does not serve *model*.
        """
        return {one.model: one.snapshot for one in self.served}[model]

    def __str__(self) -> str:
        return f"{self.workload.kind} {self.namespace}/{self.workload.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a person approves, and all that a rollout may do."""

    model: str
    release_id: str
    models: tuple[Released, ...]
    gate: Gate
    targets: tuple[Target, ...]

    @property
    def digest(self) -> Digest:
        """The SHA-256 of the canonical form: what an approval names."""
        return Digest.of(canonical.dump(self.document()))

    @property
    def own(self) -> Released:
        """The model that the release is of; the others come with it."""
        return self.models[0]

    @property
    def rollback(self) -> bool:
        """Whether it serves again what an earlier release has brought: that release's receipts prove it."""
        return self.own.release_id != self.release_id

    @property
    def revisions(self) -> dict[str, Revision]:
        """The revision of each model, by the model's name."""
        return {one.model: one.revision for one in self.models}

    def target(self, name: str) -> Target:
        """Return the target called *name*.

        :raises PlanRefusedError: The plan does not touch it.
        """
        for target in self.targets:
            if target.name == name:
                return target
        planned = ", ".join(target.name for target in self.targets)
        raise PlanRefusedError(
            f"Target {name!r} is not in the plan of release {self.release_id}, which is for {planned}: "
            f"start a new release."
        )

    def before(self, name: str) -> list[str]:
        """Return the targets that have to be live before *name* is changed.

        Of a rollback there is none: what was live before is tried nowhere first.
        """
        names = [target.name for target in self.targets]
        return [] if self.rollback else names[: names.index(name)]

    def with_room_as_in(self, earlier: Plan) -> Plan:
        """Return this plan with the room that *earlier* saw: what is done does not change with it."""
        seen = {target.name: target.capacity for target in earlier.targets}
        targets = (replace(one, capacity=seen.get(one.name, one.capacity)) for one in self.targets)
        return replace(self, targets=tuple(targets))

    def document(self) -> Document:
        """Return the plan as plain JSON types."""
        document: Document = strict.dump(self)
        return {"schema": SCHEMA, **document}


def parse(document: object) -> Plan:
    """Return the plan that *document* holds.

    Strict, because a key that this version does not know may be one that a person relied on.

    :raises PlanRefusedError: Another schema, a missing or unknown key, a value of another type, or parts that
        contradict each other.
    """
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or type(schema) is not int or schema != SCHEMA:
        raise PlanRefusedError(
            f"Plan refused: expected schema {SCHEMA}, got {schema!r}. "
            "It was made by another version of Modelberth: start a new release."
        )
    try:
        plan = strict.load(Plan, {key: value for key, value in document.items() if key != "schema"}, "plan")
    except ValueError as error:
        raise PlanRefusedError(f"Plan refused: {error}") from error
    if found := list(_contradictions(plan)):
        raise PlanRefusedError(f"Plan refused: {'; '.join(found)}.")
    return plan


def _contradictions(plan: Plan) -> Iterator[str]:
    """Yield where the parts of *plan* do not fit each other: no code below asks again."""
    if plan.own.model != plan.model or plan.own.release_id > plan.release_id:
        yield f"its first model is {plan.own.model!r} of release {plan.own.release_id}, not its own or an earlier one's"
    yield from (f"model {name!r} but revision {one}" for name, one in plan.revisions.items() if one.model != name)
    if len(plan.revisions) != len(plan.models) or len({target.name for target in plan.targets}) != len(plan.targets):
        yield "a model or a target is named twice"
    for target in plan.targets:
        yield from (f"target {target.name!r}: {said}" for said in _contradictions_of(target, plan))


def _contradictions_of(target: Target, plan: Plan) -> Iterator[str]:
    served, bound = [one.model for one in target.served], {binding.model for binding in target.bindings}
    if plan.model not in served or len(set(served)) != len(served) or set(served) != bound:
        yield f"it serves {', '.join(served)} but binds {', '.join(sorted(bound))} in a release of {plan.model}"
    revisions = plan.revisions
    for one in target.served:
        if one.model not in revisions or revisions[one.model].digest != one.snapshot.digest:
            yield f"snapshot {one.snapshot} of {one.model} is not of {revisions.get(one.model)}"
    known = (
        (target.confirm.level, LEVELS),
        (target.confirm.style, tuple(REPORTS)),
        (target.capacity.verdict, VERDICTS),
    )
    yield from (f"{value!r} is none of {', '.join(values)}" for value, values in known if value not in values)
