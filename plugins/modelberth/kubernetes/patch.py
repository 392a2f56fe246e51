"""The JSON patches of a release: each tests what was read, so that it applies to exactly that or not at all.

Only what a plan names and our own annotations are touched. A container's variables are tested and replaced as one
list: positions in a list are no identity. The resource version is not tested: it moves with every status.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from modelberth.core.binding import Live
from modelberth.kubernetes import partition, workload
from modelberth.kubernetes.workload import CHANGE_CAUSE, LOCK, RECEIPT, revision_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelberth.core.binding import Binding
    from modelberth.core.digest import Digest
    from modelberth.core.plan import Plan, Target

Document = dict[str, Any]
Operations = list[Document]
Changes = dict["Binding", "str | None"]

_TEMPLATE = "/spec/template/metadata"


def take_lock(document: Document, release_id: str) -> Operations:
    """Return how *release_id* comes to hold the workload, if it is held as it was seen."""
    return [_same_object(document), *_notes(document, "/metadata", {LOCK: release_id})]


def release_lock(document: Document, kept: Digest | None = None) -> Operations:
    """Return how the workload is held by nobody, if it is held as it was seen.

    :param kept: The receipt of the decision that the change stays: the head of the chain that led to what is served.
    """
    head = {RECEIPT: str(kept)} if kept else {}
    return [_same_object(document), *_notes(document, "/metadata", {LOCK: None, **head})]


def bring(document: Document, plan: Plan, target: Target) -> Operations:
    """Return how the variables that are still ``from`` become ``to``, in a canary's pods first.

    Only who holds the workload may.
    """
    changes: Changes = {binding: binding.to for binding in _that_are(Live.FROM, document, target)}
    marks = {revision_note(one.model): str(plan.revisions[one.model]) for one in target.served}
    brought = ", ".join(plan.revisions[one.model].short for one in target.served)
    return [
        _same_object(document),
        {"op": "test", "path": _pointer("/metadata/annotations", LOCK), "value": plan.release_id},
        *_environments(document, changes),
        *partition.narrow(document, target),
        *_notes(document, _TEMPLATE, marks),
        *_notes(document, "/metadata", {CHANGE_CAUSE: f"modelberth release {plan.release_id}: {brought}"}),
    ]


def rehearse(document: Document, plan: Plan, target: Target) -> Operations:
    """Return what ``take_lock`` and ``bring`` change in one, for the API server to say whether it would allow it."""
    changes: Changes = {binding: binding.to for binding in _that_are(Live.FROM, document, target)}
    return [*take_lock(document, plan.release_id), *_environments(document, changes)]


def widen(document: Document, plan: Plan, target: Target) -> Operations:
    """Return how the pods that a canary left alone follow it; only who holds the workload may."""
    lock = {"op": "test", "path": _pointer("/metadata/annotations", LOCK), "value": plan.release_id}
    return [_same_object(document), lock, *partition.widen(document, target)]


def put_back(document: Document, plan: Plan, target: Target) -> Operations:
    """Return how the variables that are still ``to`` become ``from`` again; all else stays as it is by now."""
    changes: Changes = {binding: binding.from_ for binding in _that_are(Live.TO, document, target)}
    noted = workload.template_notes(document)
    marks = {
        revision_note(one.model): one.revision_from
        for one in target.served
        if noted.get(revision_note(one.model)) == str(plan.revisions[one.model])
    }
    return [
        _same_object(document),
        *_environments(document, changes),
        *partition.widen(document, target),
        *_notes(document, _TEMPLATE, marks),
        *_notes(document, "/metadata", {CHANGE_CAUSE: f"modelberth release {plan.release_id}: put back"}),
    ]


def _that_are(live: Live, document: Document, target: Target) -> list[Binding]:
    values = workload.live_values(document, target.bindings)
    return [one for one, value in zip(target.bindings, values, strict=True) if one.judge(value) is live]


def _same_object(document: Document) -> Document:
    return {"op": "test", "path": "/metadata/uid", "value": document["metadata"]["uid"]}


def _environments(document: Document, changes: Changes) -> Operations:
    """Return the operations for every container that *changes* touch."""
    operations: Operations = []
    for index, container in enumerate(workload.containers(document)):
        values = {
            binding.variable: value for binding, value in changes.items() if binding.container == container["name"]
        }
        if values:
            path = f"/spec/template/spec/containers/{index}"
            operations += [
                {"op": "test", "path": f"{path}/name", "value": container["name"]},
                {"op": "test", "path": f"{path}/env", "value": container.get("env")},
                {"op": "add", "path": f"{path}/env", "value": environment(container.get("env") or [], values)},
            ]
    return operations


def template_to_come(document: Document, target: Target) -> Document:
    """Return the pod template of *document* with the values that *target* brings."""
    template: Document = copy.deepcopy(document["spec"]["template"])
    for container in template["spec"]["containers"]:
        values = {one.variable: one.to for one in target.bindings if one.container == container["name"]}
        container["env"] = environment(container.get("env") or [], values)
    return template


def environment(env: list[Document], values: Mapping[str, str | None]) -> list[Document]:
    """Return *env* with *values*, each in its place, new ones at the end, None taken away."""
    kept = [
        {"name": entry["name"], "value": values[entry["name"]]} if entry["name"] in values else entry
        for entry in env
        if values.get(entry["name"], "") is not None
    ]
    known = {entry["name"] for entry in env}
    return kept + [_entry(name, value) for name, value in values.items() if value is not None and name not in known]


def _entry(name: str, value: str) -> Document:
    return {"name": name, "value": value}


def _notes(document: Document, parent: str, notes: Mapping[str, str | None]) -> Operations:
    """Return the operations that make the annotations below *parent* read as *notes*, if they read as was seen."""
    holder = document["metadata"] if parent == "/metadata" else document["spec"]["template"].get("metadata")
    seen = (holder or {}).get("annotations")
    path = f"{parent}/annotations"
    operations: Operations = []
    if seen is None:
        notes = {key: value for key, value in notes.items() if value is not None}
        if not notes:
            return []
        if holder is None:
            operations += _made(parent)
        operations += _made(path)
    for key, value in notes.items():
        operations += _note(_pointer(path, key), (seen or {}).get(key), value)
    return operations


def _note(path: str, seen: str | None, value: str | None) -> Operations:
    test = {"op": "test", "path": path, "value": seen}
    if value is not None:
        return [test, {"op": "add", "path": path, "value": value}]
    return [test, {"op": "remove", "path": path}] if seen is not None else [test]


def _made(path: str) -> Operations:
    return [{"op": "test", "path": path, "value": None}, {"op": "add", "path": path, "value": {}}]


def _pointer(path: str, key: str) -> str:
    """Return the JSON pointer to *key* below *path* (RFC 6901)."""
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def touched(operations: Iterable[Document]) -> list[str]:
    """Return the paths that *operations* change, for a log line."""
    return [operation["path"] for operation in operations if operation["op"] != "test"]
