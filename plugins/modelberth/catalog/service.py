"""The keys of a file in ``services/``: which workloads serve which models, who may change that, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelberth.catalog.confirm import Confirm
from modelberth.catalog.pieces import ConnectionId, Label, ObjectName, Part, Text
from modelberth.catalog.registry import Stage

Variable = Annotated[str, Text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, such as MODEL_PATH")]
ImageName = Annotated[str, Text(r"[a-z0-9][\w./:@-]*", "an image's name, such as modelberth/modelsync:0.1")]

LONGEST_TARGET = 200
"""Characters: Airflow takes no longer name for a group of tasks."""

LONGEST_PLACE = 241
"""Characters of connection, namespace and claim: with all three prune names a task, 250 at most, and stage a pool."""

GATE = ("plan", "approve")
"""What else is in a release's group of that name; a preview would be there under the service's name."""


class Workload(Part):
    """The Kubernetes object whose pods serve."""

    kind: Literal["Deployment", "StatefulSet"]
    name: ObjectName

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Binding(Part):
    """One container's environment variable that names a snapshot of one model.

    *workload* is another one than the service's own; it is changed by a rollout of its own.
    """

    container: Label
    variable: Variable
    model: Label
    workload: Workload | None = None

    def __str__(self) -> str:
        return f"{self.container}/{self.variable}"


class Pods(Part):
    """With what our own pods run in the service's namespace."""

    image: ImageName
    service_account: ObjectName
    bucket_secret: ObjectName


class Canary(Part):
    """Which pods come first, and how long (seconds) they must stay well before the rest follows."""

    partition: Annotated[int, Field(ge=1)] | None = None
    """The ordinal of a StatefulSet's first pod that changes at once; without it, the whole target comes first."""
    soak: Annotated[int, Field(ge=1, le=86400)]


class Approver(Part):
    """A person who may answer the gate, as the auth manager names them."""

    id: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]


class Service(Part):
    """Where models are served: a workload, its claim, and which of its variables name which model."""

    name: Label
    connection: ConnectionId
    namespace: Label
    claim: ObjectName
    workload: Workload
    bindings: Annotated[list[Binding], Field(min_length=1)]
    pods: Pods
    confirm: Confirm
    approvers: Annotated[list[Approver], Field(min_length=1)]
    approvals: Annotated[int, Field(ge=1)] = 1
    four_eyes: bool = False
    """Who started the release may not be among those who approve it."""
    break_glass: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Who may roll back without an approval, each by the name that Airflow notes for who starts a run."""
    answer_within: Annotated[int, Field(ge=60, le=365 * 86400)] = 7 * 86400
    """Seconds after which the gate rejects by itself."""
    ready_within: Annotated[int, Field(ge=1, le=86400)] | None = None
    """Seconds; without it, what follows from the bytes, the claim's measured rate and the workload's own patience."""
    canary: Canary | None = None
    preview: bool = False
    """Before the gate, one pod with the new snapshot is tried beside those that serve."""
    stage: Stage | None = None
    """Registries whose models and versions are brought onto the claim before anybody asks for them."""

    @model_validator(mode="after")
    def _bound_once(self) -> Self:
        _refuse_repeats("bindings", [f"{self.workload_of(one)}: {one}" for one in self.bindings])
        _refuse_repeats("approvers", [one.id for one in self.approvers])
        if self.approvals > len(self.approvers):
            raise ValueError(f"approvals is {self.approvals}, but approvers are only {len(self.approvers)}")
        if self.canary and self.canary.partition and self.workload.kind != "StatefulSet":
            raise ValueError("canary.partition needs a StatefulSet: no other kind of workload has one")
        return self

    @model_validator(mode="after")
    def _targets_apart(self) -> Self:
        _refuse_repeats("workloads, as targets,", [self.target_name(one) for one in self.workloads()])
        return self

    @model_validator(mode="after")
    def _airflow_takes_the_names(self) -> Self:
        """Refuse here what Airflow would refuse of all Dags in the same file."""
        for name in map(self.target_name, self.workloads()):
            if len(name) > LONGEST_TARGET:
                raise ValueError(
                    f"target {name!r} has {len(name)} characters, expected at most {LONGEST_TARGET}: shorten the "
                    "service's name, or bring the workload under a service of its own"
                )
        if (length := len(self.connection + self.namespace + self.claim)) > LONGEST_PLACE:
            raise ValueError(
                f"connection, namespace and claim have {length} characters together, expected at most {LONGEST_PLACE}: "
                "shorten the connection's id"
            )
        if self.preview and self.name in GATE:
            raise ValueError(f"no service with a preview can be called {self.name!r}: the gate has a task of that name")
        return self

    def workload_of(self, binding: Binding) -> Workload:
        """Return the workload that *binding* is in."""
        return binding.workload or self.workload

    def workloads(self, model: str | None = None) -> list[Workload]:
        """Return the workloads with a binding, or with one of *model*, in the file's order."""
        bound = [self.workload_of(one) for one in self.bindings if model in (None, one.model)]
        return list(dict.fromkeys(bound))

    def target_name(self, workload: Workload) -> str:
        """Return what *workload* is called as a target: as the service, or as both where it is a further one."""
        return self.name if workload == self.workload else f"{self.name}-{workload.name.replace('.', '-')}"

    def bindings_of(self, model: str, workload: Workload | None = None) -> list[Binding]:
        """Return the bindings that name *model*, or those of them in *workload*, in the file's order."""
        return [
            binding
            for binding in self.bindings
            if binding.model == model and workload in (None, self.workload_of(binding))
        ]


@dataclass(frozen=True)
class Target:
    """One workload of a service that serves a certain model; a rollout changes one target."""

    name: str
    service: Service
    workload: Workload


def _refuse_repeats(key: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{key} name {', '.join(repeated)} more than once")
