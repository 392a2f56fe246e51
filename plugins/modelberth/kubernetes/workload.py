"""What a Deployment or StatefulSet says, read from its JSON: values, mounts, counts, notes. Pure functions."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelberth.core.ownership import OURS, owner
from modelberth.core.progress import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.core.binding import Binding
    from modelberth.core.revision import Snapshot

LOCK = "modelberth.dev/rollout"
RECEIPT = "modelberth.dev/receipt"
"""The digest of the receipt ``08-decided-<target>`` of the release that is live: the head of its chain here."""
CHANGE_CAUSE = "kubernetes.io/change-cause"
SET_ELSEWHERE = "valueFrom"
"""Stands for a value that a ConfigMap, Secret or field sets: no path, so never one of a plan's."""

Document = dict[str, Any]


_REVISION = "revision.modelberth.dev/"


def revision_note(model: str) -> str:
    """Return the pod template's annotation that names the revision of *model*."""
    return _REVISION + model


def models_of(document: Document) -> set[str]:
    """Return the models that were released to the workload."""
    return {note.removeprefix(_REVISION) for note in template_notes(document) if note.startswith(_REVISION)}


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a container has a claim."""

    path: str
    sub_path: str
    read_only: bool

    def serving_path(self, model: str, snapshot: Snapshot) -> str:
        """Return what a variable must be for the container to find *snapshot* of *model*."""
        return posixpath.join(self.path, model, str(snapshot), "files")


def notes(document: Document) -> dict[str, str]:
    """Return the workload's own annotations."""
    return document["metadata"].get("annotations") or {}


def template_notes(document: Document) -> dict[str, str]:
    """Return the pod template's annotations."""
    return document["spec"]["template"].get("metadata", {}).get("annotations") or {}


def containers(document: Document) -> list[Document]:
    """Return the containers of the pod template."""
    found: list[Document] = document["spec"]["template"]["spec"]["containers"]
    return found


def container(document: Document, name: str) -> Document | None:
    """Return the container called *name*."""
    return next((one for one in containers(document) if one["name"] == name), None)


def live_value(one: Document, variable: str) -> str | None:
    """Return what *variable* is in the container *one*: the last of that name counts, None if there is none."""
    found = [entry for entry in one.get("env") or [] if entry["name"] == variable]
    if not found:
        return None
    return SET_ELSEWHERE if "valueFrom" in found[-1] else str(found[-1].get("value", ""))


def set_by(one: Document, variable: str) -> str:
    """Return what sets *variable* in the container *one*, which is no plain value."""
    source = next(entry["valueFrom"] for entry in reversed(one["env"]) if entry["name"] == variable)
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if key in source:
            return f"key {source[key].get('key')!r} of {kind} {source[key].get('name')!r}"
    return "a field of the pod"


class _Variable(Protocol):
    @property
    def container(self) -> str: ...
    @property
    def variable(self) -> str: ...


def kept_by(document: Document, one: _Variable) -> str | None:
    """Return who else keeps the variable of a binding as it is, None if nobody does."""
    found = container(document, one.container) or {}
    is_set = live_value(found, one.variable) is not None
    return owner(document["metadata"], one.container, one.variable, is_set=is_set)


def live_values(document: Document, bindings: Iterable[Binding]) -> list[str | None]:
    """Return the live value of each of *bindings*; of a container that is gone, what no plan names."""
    found = [(container(document, binding.container), binding.variable) for binding in bindings]
    return [live_value(one, variable) if one else SET_ELSEWHERE for one, variable in found]


def mount(document: Document, one: Document, claim: str) -> Mount | None:
    """Return where the container *one* has *claim*, None if nowhere; of several places, one that a model can use."""
    found = mounts(document, one, claim)
    return min(found, key=lambda place: (bool(place.sub_path), not place.read_only), default=None)


def mounts(document: Document, one: Document, claim: str) -> list[Mount]:
    """Return all the places where the container *one* has *claim*."""
    volumes = {
        volume["name"]: volume["persistentVolumeClaim"]
        for volume in document["spec"]["template"]["spec"].get("volumes") or []
        if volume.get("persistentVolumeClaim", {}).get("claimName") == claim
    }
    return [
        Mount(
            path=entry["mountPath"],
            sub_path=entry.get("subPath") or entry.get("subPathExpr") or "",
            read_only=bool(volumes[entry["name"]].get("readOnly")),
        )
        for entry in one.get("volumeMounts") or []
        if entry["name"] in volumes
    ]


def covering(one: Document, path: str) -> str | None:
    """Return where the mount is that *path* leads into in the container *one*: the deepest, which hides the others."""
    paths = [str(entry["mountPath"]) for entry in one.get("volumeMounts") or []]
    return max((at for at in paths if f"{path}/".startswith(f"{at.rstrip('/')}/")), key=len, default=None)


def strategy(document: Document) -> Document:
    """Return how the workload replaces its pods, as it says."""
    spec = document["spec"]
    found: Document = spec.get("strategy") or spec.get("updateStrategy") or {}
    return found


def replicas(document: Document) -> int:
    """Return how many pods the workload wants; 1 is what Kubernetes takes where nothing is said."""
    return int(document["spec"].get("replicas", 1))


def counts(document: Document) -> Counts:
    """Return the numbers that completion is judged by."""
    status = document.get("status") or {}
    return Counts(
        kind=document["kind"],
        generation=int(document["metadata"].get("generation", 0)),
        observed_generation=int(status.get("observedGeneration", 0)),
        replicas=replicas(document),
        status_replicas=int(status.get("replicas", 0)),
        updated=int(status.get("updatedReplicas", 0)),
        ready=int(status.get("readyReplicas", 0)),
        available=int(status.get("availableReplicas", 0)),
        deadline_exceeded=_deadline_exceeded(document["metadata"], status),
        partition=strategy(document).get("rollingUpdate", {}).get("partition"),
        current_revision=status.get("currentRevision", ""),
        update_revision=status.get("updateRevision", ""),
    )


def _deadline_exceeded(metadata: Document, status: Document) -> bool:
    """Return whether the rollout that goes on has exceeded its deadline, not one from before our newest change.

    The controller keeps the condition of an earlier rollout until it sees progress: with a ReplicaSet that was there
    before, or with Recreate, not before pods come or go. Both times are the cluster's own, whole seconds in UTC.
    """
    ours = [one for one in metadata.get("managedFields") or () if one.get("manager") == OURS]
    changed = max((one["time"] for one in ours if not one.get("subresource")), default="")
    return any(
        condition["type"] == "Progressing"
        and condition.get("reason") == "ProgressDeadlineExceeded"
        and condition.get("lastUpdateTime", "") > changed
        for condition in status.get("conditions") or []
    )
