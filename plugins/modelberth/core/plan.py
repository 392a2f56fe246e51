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

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.revision import Revision, Snapshot

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
        return {
            "schema": SCHEMA,
            "model": self.model,
            "release_id": self.release_id,
            "revision": str(self.revision),
            "source_version": self.source_version,
            "files": self.files,
            "bytes": self.bytes,
            "approvers": [{"id": one.id, "name": one.name} for one in self.approvers],
            "targets": [_target_document(target) for target in self.targets],
        }


def parse(document: object) -> Plan:
    """Return the plan that *document* holds.

    Strict, because a key that this version does not know may be one that a person relied on.

    :raises PlanRefusedError: Another schema, a missing or unknown key, or a value of another type.
    """
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        raise PlanRefusedError(
            f"Plan refused: expected schema {SCHEMA}, got {schema!r}. "
            "It was made by another version of Modelberth: start a new release."
        )
    try:
        return _plan(document)
    except PlanRefusedError:
        raise
    except ValueError as error:
        raise PlanRefusedError(f"Plan refused: {error}") from error


_TEXT, _NUMBER = (str,), (int,)
_MAYBE_TEXT, _MAYBE_NUMBER = (str, type(None)), (int, type(None))


def _plan(document: object) -> Plan:
    found = _take(
        document,
        "plan",
        schema=_NUMBER,
        model=_TEXT,
        release_id=_TEXT,
        revision=_TEXT,
        source_version=_MAYBE_TEXT,
        files=_NUMBER,
        bytes=_NUMBER,
        approvers=(list,),
        targets=(list,),
    )
    del found["schema"]
    found["revision"] = Revision.parse(found["revision"])
    if found["revision"].model != found["model"]:
        raise PlanRefusedError(f"Plan refused: model {found['model']!r} but revision {found['revision']}.")
    found["approvers"] = tuple(
        Approver(**_take(one, "approvers", id=_TEXT, name=_TEXT)) for one in _filled(found["approvers"], "approvers")
    )
    found["targets"] = tuple(_target(one) for one in _filled(found["targets"], "targets"))
    return Plan(**found)


def _target(document: object) -> Target:
    found = _take(
        document,
        "targets",
        service=_TEXT,
        connection=_TEXT,
        namespace=_TEXT,
        claim=_TEXT,
        workload=(dict,),
        replicas=_NUMBER,
        strategy=(dict,),
        snapshot=_TEXT,
        bindings=(list,),
        revision_from=_MAYBE_TEXT,
        ready_within=_NUMBER,
        confirm=(dict,),
        difference=(dict, type(None)),
    )
    found["workload"] = Workload(**_take(found["workload"], "workload", kind=_TEXT, name=_TEXT, uid=_TEXT))
    found["snapshot"] = Snapshot.parse(found["snapshot"])
    found["bindings"] = tuple(_binding(one) for one in _filled(found["bindings"], "bindings"))
    found["confirm"] = _confirm(found["confirm"])
    if found["difference"] is not None:
        numbers = dict.fromkeys(("added", "changed", "removed", "bytes"), _NUMBER)
        found["difference"] = Difference(**_take(found["difference"], "difference", live=_MAYBE_TEXT, **numbers))
    return Target(**found)


def _binding(document: object) -> Binding:
    found = _take(document, "bindings", **{"container": _TEXT, "variable": _TEXT, "from": _MAYBE_TEXT, "to": _TEXT})
    return Binding(found["container"], found["variable"], found["from"], found["to"])


def _confirm(document: object) -> Confirm:
    found = _take(document, "confirm", level=_TEXT, port=_MAYBE_NUMBER, report=_MAYBE_TEXT, smoke=(dict, type(None)))
    if found["level"] not in LEVELS:
        raise PlanRefusedError(f"Plan refused: confirm.level {found['level']!r}; expected {', '.join(LEVELS)}.")
    if found["smoke"] is not None:
        found["smoke"] = Smoke(
            **_take(found["smoke"], "smoke", path=_TEXT, body=(object,), status=_NUMBER, json_path=_MAYBE_TEXT)
        )
    return Confirm(**found)


def _take(document: object, what: str, **kinds: tuple[type, ...]) -> Document:
    """Return *document* if it has exactly the keys of *kinds*, each with a value of such a type."""
    if not isinstance(document, dict):
        raise PlanRefusedError(f"Plan refused: {what} is {type(document).__name__}; expected an object.")
    if document.keys() != kinds.keys():
        odd = ", ".join(sorted(str(key) for key in document.keys() ^ kinds.keys()))
        raise PlanRefusedError(f"Plan refused: {what} has missing or unknown keys: {odd}.")
    for key, allowed in kinds.items():
        value = document[key]
        if not isinstance(value, allowed) or (isinstance(value, bool) and object not in allowed):
            raise PlanRefusedError(f"Plan refused: {what}.{key} is {value!r}.")
    return dict(document)


def _filled(things: list[object], what: str) -> list[object]:
    if not things:
        raise PlanRefusedError(f"Plan refused: {what} is empty.")
    return things


def _target_document(target: Target) -> Document:
    difference, workload = target.difference, target.workload
    return {
        "service": target.service,
        "connection": target.connection,
        "namespace": target.namespace,
        "claim": target.claim,
        "workload": {"kind": workload.kind, "name": workload.name, "uid": workload.uid},
        "replicas": target.replicas,
        "strategy": target.strategy,
        "snapshot": str(target.snapshot),
        "bindings": [
            {"container": one.container, "variable": one.variable, "from": one.from_, "to": one.to}
            for one in target.bindings
        ],
        "revision_from": target.revision_from,
        "ready_within": target.ready_within,
        "confirm": _confirm_document(target.confirm),
        "difference": difference
        and {
            "live": difference.live,
            "added": difference.added,
            "changed": difference.changed,
            "removed": difference.removed,
            "bytes": difference.bytes,
        },
    }


def _confirm_document(confirm: Confirm) -> Document:
    smoke = confirm.smoke
    return {
        "level": confirm.level,
        "port": confirm.port,
        "report": confirm.report,
        "smoke": smoke
        and {"path": smoke.path, "body": smoke.body, "status": smoke.status, "json_path": smoke.json_path},
    }
