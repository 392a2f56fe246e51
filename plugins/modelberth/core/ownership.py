r"""Who else keeps a workload as it is: an agent, an operator or Helm would undo what is patched behind its back.

Kubernetes notes in ``metadata.managedFields`` which manager set which field, so that is known for each variable:

    {"manager": "kustomize-controller", "operation": "Apply",
     "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"server\"}":
         {"f:env": {"k:{\"name\":\"MODEL_PATH\"}": {"f:value": {}}}}}}}}}}

A person with kubectl is no owner: whoever applied a manifest once, or edited it, does not come back to enforce it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Document = dict[str, Any]

OURS = "modelberth"
"""The name under which Modelberth changes fields."""

_PEOPLE = ("kubectl", "oc", "k9s", "node-fetch", "Mozilla", "OpenAPI-Generator", "before-first-apply")
"""Managers that are a person's tool or say nothing of who it is: kubectl (``kubectl-edit`` and so on as well),
OpenShift's, consoles, a script with a client library, and what Kubernetes writes of the time before it noted any."""

_TOOLS = ("kubectl", "kustomize", OURS)
"""How values of ``app.kubernetes.io/managed-by`` begin that name nobody who comes back: kustomize adds its version."""

_MARKS = {
    "kustomize.toolkit.fluxcd.io/name": "Flux Kustomization",
    "helm.toolkit.fluxcd.io/name": "Flux HelmRelease",
    "argocd.argoproj.io/tracking-id": "Argo CD application",
    "argocd.argoproj.io/instance": "Argo CD application",
    "meta.helm.sh/release-name": "Helm release",
    "objectset.rio.cattle.io/id": "Fleet bundle",
    "kapp.k14s.io/app": "kapp app",
}
"""Labels and annotations by which agents know what they manage, and what their value names."""


def owner(metadata: Document, container: str, variable: str, *, is_set: bool) -> str | None:
    """Return who keeps *variable* of *container* in the workload with *metadata*, as words; None if nobody does.

    :param is_set: The pod template has the variable now.

    controller | a manager that is no person's holds it | an agent's mark | is set | kept by
    -----------+----------------------------------------+-----------------+--------+---------------
    yes        | any                                    | any             | any    | the controller
    no         | yes                                    | any             | any    | the manager
    no         | no                                     | yes             | yes    | the agent
    no         | no                                     | yes             | no     | nobody
    no         | no                                     | no              | any    | nobody

    A variable that is not set is in no manifest of the agent, which leaves alone what it does not have: this is how a
    workload of an agent's is served by Modelberth. Set and held by a person's tool, it may well be in the manifest.
    Once Modelberth holds it, the mark does not count any more.
    """
    controller = next((one for one in metadata.get("ownerReferences") or [] if one.get("controller")), None)
    if controller:
        return f"{controller['kind']} {controller['name']}, which made it"
    holders = list(_holders(metadata.get("managedFields") or [], container, variable))
    others = [one for one in holders if one not in (OURS, *_PEOPLE) and not one.startswith("kubectl-")]
    agent = _agent(metadata)
    if others:
        return f"{others[0]!r}" + (f" ({agent})" if agent else "")
    return agent if is_set and OURS not in holders else None


def _agent(metadata: Document) -> str | None:
    """Return what the workload's labels and annotations say of an agent that manages it."""
    notes = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    for key, what in _MARKS.items():
        if notes.get(key):
            return f"{what} {notes[key].partition(':')[0]}"
    manager = notes.get("app.kubernetes.io/managed-by") or ""
    return manager if manager and not manager.lower().startswith(_TOOLS) else None


def _holders(managed: Iterable[Document], container: str, variable: str) -> Iterable[str]:
    """Yield the managers that hold *variable*: its entry, or a field above it as a whole."""
    path = ("f:spec", "f:template", "f:spec", "f:containers", container, "f:env", variable)
    for entry in managed:
        if not entry.get("subresource") and _holds(entry.get("fieldsV1") or {}, path):
            yield str(entry.get("manager", ""))


def _holds(fields: Document, path: tuple[str, ...]) -> bool:
    """Return whether a manager with *fields* holds what is at *path*.

    fields at a step of the path | holds it
    -----------------------------+------------------------------------
    without it                   | no
    with it, and nothing below   | yes: all that is below as well
    with it, and something below | as the next step says; yes at the end
    """
    for step in path:
        below = next((value for key, value in fields.items() if _names(key, step)), None)
        if below is None:
            return False
        if not below:
            return True
        fields = below
    return True


def _names(key: str, step: str) -> bool:
    """Return whether *key* of ``fieldsV1`` is *step*: a field as it is, an entry of a list by its name."""
    return key == step if step.startswith("f:") else key.startswith("k:") and json.loads(key[2:]) == {"name": step}
