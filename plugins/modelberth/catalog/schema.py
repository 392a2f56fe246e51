"""The keys of the catalog's files, one class a piece: what may be there, what is refused and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ByteSize, Field, JsonValue, model_validator

from modelberth.catalog.pieces import BucketUrl, ConnectionId, Label, ObjectName, Part, Text
from modelberth.catalog.sources import AnySource
from modelberth.core.prune import LEAST_GRACE

Variable = Annotated[str, Text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, such as MODEL_PATH")]
ImageName = Annotated[str, Text(r"[a-z0-9][\w./:@-]*", "an image's name, such as modelberth/modelsync:0.1")]
HttpPath = Annotated[str, Text(r"/[!-~]*", "a path that begins with '/', such as /modelz")]


class Store(Part):
    """A prefix in a bucket, and the Airflow connection that may use it."""

    url: BucketUrl
    connection: ConnectionId

    @property
    def scheme(self) -> str:
        """``s3`` or ``gs``."""
        return self.url.partition("://")[0]

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.url.partition("://")[2].partition("/")[0]

    @property
    def prefix(self) -> str:
        """What every key begins with, without a ``/`` at its ends; empty at the root of the bucket."""
        return self.url.partition("://")[2].partition("/")[2]


class Refresh(Part):
    """How the model follows its source: whether at all, and how often at most (seconds; none: at every look)."""

    paused: bool = False
    every: Annotated[int, Field(ge=60)] | None = None


class Retention(Part):
    """What a prune keeps of the model besides all that is used.

    *keep_live* is how many of the last snapshots that were live at a service, *grace* how long (seconds) a snapshot
    that nothing uses stays condemned before it is deleted: at least an hour, for which a check before a rollout holds.
    """

    keep_live: Annotated[int, Field(ge=1)] = 3
    grace: Annotated[int, Field(ge=LEAST_GRACE)] = 7 * 86400


Policy = Literal["off", "warn", "require"]


class Content(Part):
    """What of the model's content is looked at before the gate: *warn* shows what is found there, *require* refuses."""

    code: Policy = "warn"
    """Files that run code when they are loaded (pickles that import what is dangerous or unknown), and programs."""
    headers: Policy = "warn"
    """Headers of safetensors, GGUF and ONNX files."""
    licence: Policy = "off"
    """A LICENSE file, or a model card that names one."""


class Model(Part):
    """What is served: where its bytes come from, where they are kept, what it may be."""

    name: Label
    source: AnySource
    bucket: Store
    receipts: Store
    size_limit: Annotated[ByteSize, Field(gt=0)] | None = None
    content: Content = Content()
    refresh: Refresh = Refresh()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        """Refuse what the receipts have beside the models' own."""
        if self.name in ("ledger", "inventory"):
            raise ValueError(f"no model can be called {self.name!r}: the receipts have a folder of that name")
        return self

    @model_validator(mode="after")
    def _receipts_apart(self) -> Self:
        """Pods may write below the bucket's URL, so the evidence about them must lie elsewhere."""
        if f"{self.receipts.url}/".startswith(f"{self.bucket.url}/"):
            raise ValueError(
                f"receipts.url {self.receipts.url!r} lies in bucket.url, where pods may write: choose another"
            )
        return self


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


class Smoke(Part):
    """One request whose answer shows that the model works: POST with a body, GET without one.

    What *json_path* leads to in the answer must be something; *equals*, if that is given, within *tolerance* of it.
    """

    path: HttpPath
    body: dict[str, JsonValue] | list[JsonValue] | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    json_path: Annotated[str, Text(r"\w+(\.\w+)*", "keys and indexes joined by '.', such as data.0")] | (None) = None
    equals: JsonValue = None
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _expectation_is_possible(self) -> Self:
        if self.equals is not None and self.json_path is None:
            raise ValueError("equals needs json_path as well: it says what is compared")
        if self.tolerance is not None and not _are_numbers(self.equals):
            raise ValueError("tolerance needs equals as well, a number or a list of numbers")
        return self


def _are_numbers(value: Any) -> bool:
    """Return whether *value* is a number, or a list of such, however deep."""
    if isinstance(value, list):
        return bool(value) and all(_are_numbers(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


class Probe(Part):
    """Pods that answer only to a key, or over HTTPS: a pod of ours that has the Secret asks them."""

    secret: ObjectName
    scheme: Literal["http", "https"] = "http"


def _one_or_more(value: Any) -> Any:
    """Return *value* as a list: one of it needs no dash."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


REPORTS = {"vllm": "/v1/models", "triton": "/v2/repository/index"}
"""Where servers of a style report, unless ``report`` says something else."""

LARGEST_ORDER = 64 * 1024
"""Bytes: what a probe pod is to ask is one word of its command line, of which Linux takes 128 KiB."""


class Confirm(Part):
    """How much a pod must show before it counts: ``declared``, ``reported`` (asks it), ``behaved`` (uses it as well).

    Each level needs what the one before needs: an answer to a smoke request does not say which revision gave it.
    """

    level: Literal["declared", "reported", "behaved"]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    report: HttpPath | None = None
    style: Literal["path", "vllm", "triton"] = "path"
    """How the report names what is served: its path or revision, or as vLLM's or Triton's does, which have their own
    address for it."""
    smoke: Annotated[list[Smoke], BeforeValidator(_one_or_more, json_schema_input_type=Smoke | list[Smoke] | None)] = (
        Field(default_factory=list)
    )
    probe: Probe | None = None

    @model_validator(mode="before")
    @classmethod
    def _report_of_its_style(cls, given: Any) -> Any:
        known = REPORTS.get(str(given.get("style"))) if isinstance(given, dict) else None
        return {"report": known} | given if known else given

    @model_validator(mode="after")
    def _level_is_possible(self) -> Self:
        needs = {"declared": (), "reported": ("port", "report"), "behaved": ("port", "report", "smoke")}[self.level]
        missing = [key for key in needs if not getattr(self, key)]
        if missing:
            raise ValueError(f"level {self.level!r} needs {' and '.join(missing)} as well")
        if self.probe and self.level == "declared":
            raise ValueError("probe needs level 'reported' or 'behaved': 'declared' asks the pods nothing")
        if self.probe and len(json.dumps([one.body for one in self.smoke])) > LARGEST_ORDER:
            raise ValueError(f"smoke bodies of more than {LARGEST_ORDER} bytes are too large for a probe pod")
        return self


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
