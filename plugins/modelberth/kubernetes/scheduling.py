"""Nodes, pods, quotas and limits as they decide about room, read from their JSON. Pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelberth.core import amounts
from modelberth.core.placement import Apart, Node, NodeTerm, Pod, Port, Requirement, Taint, Toleration, Wants
from modelberth.core.room import Quota

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.core.amounts import Amounts

Document = dict[str, Any]

NEW = {"pod-template-hash": "new", "controller-revision-hash": "new"}
"""Labels that the pods of a new template get; no pod that is there has these values."""

_NATIVE = ("cpu", "memory", "ephemeral-storage")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def node(document: Document) -> Node:
    """Return the node *document*."""
    spec, status, meta = document.get("spec") or {}, document.get("status") or {}, document["metadata"]
    conditions = status.get("conditions") or []
    return Node(
        name=meta["name"],
        labels=meta.get("labels") or {},
        taints=tuple(Taint(one["key"], one.get("value", ""), one["effect"]) for one in spec.get("taints") or []),
        allocatable=amounts.listed(status.get("allocatable")),
        unschedulable=bool(spec.get("unschedulable")),
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in conditions),
    )


def pod(document: Document) -> Pod:
    """Return the pod *document*, which has not ended."""
    meta, spec, status = document["metadata"], document["spec"], document.get("status") or {}
    wanted = wants(spec, meta.get("labels") or {}, meta["namespace"])
    return Pod(
        name=f"{meta['namespace']}/{meta['name']}",
        wants=wanted,
        node=spec.get("nodeName", ""),
        usage=usage(spec),
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or []),
        ending="deletionTimestamp" in meta,
    )


def new_spec(document: Document, live: Document | None) -> Document:
    """Return the spec of the pods that a new template of the workload *document* makes.

    A template is not yet a pod: priorities, runtime classes and webhooks add to it. What they add is seen at *live*, a
    pod of the newest template, and taken from there.
    """
    template: Document = document["spec"]["template"]["spec"]
    if live is None:
        return template
    own = {key: template.get(key) for key in ("affinity", "nodeName", "topologySpreadConstraints")}
    containers = {key: _as_templated(live["spec"], template, key) for key in ("containers", "initContainers")}
    return {**live["spec"], **own, **containers}


def new_wants(document: Document, spec: Document) -> Wants:
    """Return what pods of *spec*, made from a new template of the workload *document*, want of a node."""
    labels = {**template_labels(document), **NEW}
    wanted = wants(spec, labels, document["metadata"]["namespace"])
    if not spec.get("nodeName"):
        return wanted
    # It goes round the scheduler: only that node, cordoned or not.
    there = NodeTerm(fields=(Requirement("metadata.name", "In", (spec["nodeName"],)),))
    return replace(wanted, affinity=(there,), tolerations=(Toleration(operator="Exists", effect="NoSchedule"),))


def template_labels(document: Document) -> dict[str, str]:
    """Return the labels of the workload's pod template."""
    return document["spec"]["template"].get("metadata", {}).get("labels") or {}


def _as_templated(spec: Document, template: Document, key: str) -> list[Document]:
    """Return the containers of *spec*, with the template's own resources where it has them: pods can be resized."""
    own = {one["name"]: one.get("resources") or {} for one in template.get(key) or []}
    return [
        {**one, "resources": _over(one.get("resources") or {}, own.get(one["name"], {}))} for one in spec.get(key) or []
    ]


def _over(under: Document, over: Document) -> Document:
    return {kind: {**(under.get(kind) or {}), **(over.get(kind) or {})} for kind in ("requests", "limits")}


def wants(spec: Document, labels: dict[str, str], namespace: str) -> Wants:
    """Return what a pod of *spec* wants of a node."""
    affinity = spec.get("affinity") or {}
    apart = (affinity.get("podAntiAffinity") or {}).get(_REQUIRED) or []
    tolerations = tuple(_toleration(one) for one in spec.get("tolerations") or [])
    return Wants(
        namespace=namespace,
        labels=labels,
        requests=amounts.requests(spec),
        selector=spec.get("nodeSelector") or {},
        affinity=node_terms((affinity.get("nodeAffinity") or {}).get(_REQUIRED)),
        tolerations=tolerations,
        ports=tuple(_ports(spec)),
        apart=tuple(_apart(term, labels, namespace) for term in apart),
        priority=int(spec.get("priority") or 0),
    )


def usage(spec: Document) -> Amounts:
    """Return what a ResourceQuota counts for a pod of *spec*, by all the names that quotas use."""
    counted: Amounts = {"pods": 1, "count/pods": 1}
    for name, value in amounts.requests(spec).items():
        counted[f"requests.{name}"] = value
        if name in _NATIVE or name.startswith("hugepages-"):
            counted[name] = value
    for name, value in amounts.limits(spec).items():
        if name in _NATIVE:
            counted[f"limits.{name}"] = value
    return counted


def quota(document: Document) -> Quota:
    """Return the ResourceQuota *document*."""
    spec, status = document.get("spec") or {}, document.get("status") or {}
    return Quota(
        name=f"ResourceQuota {document['metadata']['name']}",
        hard=amounts.listed(spec.get("hard")),
        used=amounts.listed(status.get("used")),
        scoped=bool(spec.get("scopes") or spec.get("scopeSelector")),
    )


def _toleration(one: Document) -> Toleration:
    operator = one.get("operator") or "Equal"
    return Toleration(one.get("key") or "", operator, one.get("value") or "", one.get("effect") or "")


def node_terms(required: Document | None) -> tuple[NodeTerm, ...] | None:
    """Return the alternatives of a required node affinity, of a pod or a volume; None where there is none."""
    return None if required is None else tuple(_node_term(term) for term in required["nodeSelectorTerms"])


def _node_term(term: Document) -> NodeTerm:
    return NodeTerm(_requirements(term.get("matchExpressions")), _requirements(term.get("matchFields")))


def _requirements(expressions: Iterable[Document] | None) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(one["key"], one["operator"], tuple(str(value) for value in one.get("values") or []))
        for one in expressions or []
    )


def label_selector(selector: Document | None) -> tuple[Requirement, ...] | None:
    """Return the expressions of a label selector; None, which selects nothing, where there is none."""
    if selector is None:
        return None
    equal = tuple(Requirement(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items())
    return equal + _requirements(selector.get("matchExpressions"))


def _apart(term: Document, labels: dict[str, str], namespace: str) -> Apart:
    """Return an anti-affinity; keys whose values the pod's own labels give are filled in, as the API server does."""
    selector = label_selector(term.get("labelSelector"))
    own = [(key, "In") for key in term.get("matchLabelKeys") or []]
    own += [(key, "NotIn") for key in term.get("mismatchLabelKeys") or []]
    if selector is not None:
        selector += tuple(Requirement(key, operator, (labels[key],)) for key, operator in own if key in labels)
    return Apart(term["topologyKey"], selector, _namespaces(term, namespace))


def _namespaces(term: Document, namespace: str) -> frozenset[str] | None:
    """Return which namespaces a term is about. One that selects them by label is taken to be about all."""
    if term.get("namespaceSelector") is not None:
        return None
    return frozenset(term.get("namespaces") or [namespace])


def _ports(spec: Document) -> Iterable[Port]:
    for container in spec["containers"]:
        for one in container.get("ports") or []:
            number = one.get("hostPort") or (one["containerPort"] if spec.get("hostNetwork") else 0)
            if number:
                yield Port(number, one.get("protocol") or "TCP", one.get("hostIP") or "0.0.0.0")  # noqa: S104
