"""The plan: what a release will do, frozen once all is staged and verified; its digest is what a person approves.

    {"schema": 1, "model": "minilm", "release_id": "20260102t030405z-9f86d08188",
     "revision": "minilm@sha256:1f0c...", "source_version": "sha256:77b0...", "files": 5, "bytes": 91000000,
     "approvers": [{"id": "alice", "name": "Alice"}],
     "targets": [{"service": "embedder", "connection": "modelberth_kubernetes", "namespace": "serving",
                  "claim": "models", "workload": {"kind": "Deployment", "name": "embedder", "uid": "6d4f..."},
                  "replicas": 1, "strategy": {"type": "RollingUpdate"}, "snapshot": "1f0c....1",
                  "bindings": [{"container": "server", "variable": "MODEL_PATH", "from": null,
                                "to": "/models/minilm/1f0c....1/files"}],
                  "revision_from": null, "ready_within": 120,
                  "confirm": {"level": "reported", "port": 8000, "report": "/modelz", "smoke": null},
                  "difference": {"live": null, "added": 5, "changed": 0, "removed": 0, "bytes": 91000000}}]}

``from`` is null where the variable is not set; ``revision_from`` is the pod template's annotation as it was found;
``difference`` is null where what is live has no manifest in the bucket. ``strategy`` is the workload's own, as read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelberth.core import canonical, strict
from modelberth.core.digest import Digest
from modelberth.core.revision import Revision, Snapshot  # noqa: TC001  (strict asks for the fields' types)

SCHEMA = 1

LEVELS = ("declared", "reported", "behaved")

Document = dict[str, Any]


class PlanRefusedError(ValueError):
    """The bytes are not a plan of a schema that this version knows."""


class Live(StrEnum):
    """What a live value is to a plan."""

    FROM = "from"
    TO = "to"
    SAME = "same"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Approver:
    """A person who may answer the gate, as the auth manager names them."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Workload:
    """The one Kubernetes object that is changed; a namesake made later has another *uid*."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Binding:
    """One container's variable: the value that was live when the plan was made, and the value to come."""

    container: str
    variable: str
    from_: str | None
    to: str

    def judge(self, live: str | None) -> Live:
        """Return what the value *live* is to this binding.

        live    | from == to | is
        --------+------------+--------
        to      | no         | TO
        from    | no         | FROM
        from    | yes        | SAME: nothing to do and nothing to put back
        another | any        | FOREIGN
        """
        if live not in (self.from_, self.to):
            return Live.FOREIGN
        if self.from_ == self.to:
            return Live.SAME
        return Live.TO if live == self.to else Live.FROM

    def __str__(self) -> str:
        return f"{self.container}/{self.variable}"


@dataclass(frozen=True, slots=True)
class Smoke:
    """One request whose answer shows that the model works; *json_path* must lead to something in the answer."""

    path: str
    body: Any
    status: int
    json_path: str | None


@dataclass(frozen=True, slots=True)
class Confirm:
    """The least that every ready pod must show before the release counts as live."""

    level: str
    port: int | None
    report: str | None
    smoke: Smoke | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How the new revision differs from the one that is live (None: nothing is)."""

    live: str | None
    added: int
    changed: int
    removed: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """One service as this release will change it."""

    service: str
    connection: str
    namespace: str
    claim: str
    workload: Workload
    replicas: int
    strategy: Document
    snapshot: Snapshot
    bindings: tuple[Binding, ...]
    revision_from: str | None
    ready_within: int
    confirm: Confirm
    difference: Difference | None

    def __str__(self) -> str:
        return f"{self.workload.kind} {self.namespace}/{self.workload.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a person approves, and all that a rollout may do."""

    model: str
    release_id: str
    revision: Revision
    source_version: str | None
    files: int
    bytes: int
    approvers: tuple[Approver, ...]
    targets: tuple[Target, ...]

    @property
    def digest(self) -> Digest:
        """The SHA-256 of the canonical form: what an approval names."""
        return Digest.of(canonical.dump(self.document()))

    def target(self, service: str) -> Target:
        """Return the target called *service*.

        :raises PlanRefusedError: The plan does not touch that service.
        """
        for target in self.targets:
            if target.service == service:
                return target
        planned = ", ".join(target.service for target in self.targets)
        raise PlanRefusedError(
            f"Service {service!r} is not in the plan of release {self.release_id}, which is for {planned}: "
            f"start a new release."
        )

    def document(self) -> Document:
        """Return the plan as plain JSON types."""
        document: Document = strict.dump(self)
        return {"schema": SCHEMA, **document}


def parse(document: object) -> Plan:
    """Return the plan that *document* holds.

    Strict, because a key that this version does not know may be one that a person relied on.

    :raises PlanRefusedError: Another schema, a missing or unknown key, or a value of another type.
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
    if plan.revision.model != plan.model:
        raise PlanRefusedError(f"Plan refused: model {plan.model!r} but revision {plan.revision}.")
    levels = {target.confirm.level for target in plan.targets}
    if levels - set(LEVELS):
        raise PlanRefusedError(f"Plan refused: confirm levels {sorted(levels)}; expected {', '.join(LEVELS)}.")
    return plan
