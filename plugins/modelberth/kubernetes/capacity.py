"""Judging whether a cluster has room for a rollout now; asking changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelberth.core import capacity
from modelberth.core.pace import pace_of
from modelberth.core.plan import CANNOT_KNOW, DOES_NOT_FIT, FITS, Capacity
from modelberth.core.room import Question, Quota
from modelberth.kubernetes import doubts, limits, scheduling, workload
from modelberth.kubernetes.pods import newest_pods
from modelberth.kubernetes.surroundings import look

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.core.placement import NodeTerm
    from modelberth.kubernetes.client import Cluster
    from modelberth.kubernetes.surroundings import Surroundings

Document = dict[str, Any]

_HISTORY = {"Deployment": "count/replicasets.apps", "StatefulSet": "count/controllerrevisions.apps"}
"""What a new template makes one of; an earlier template that comes again has its own already."""


def judge(cluster: Cluster, document: Document) -> Capacity:
    """Return whether a rollout of the workload *document* finds room now.

    :raises ClusterUnreachableError: The API server does not answer.
    """
    if workload.replicas(document) == 0:
        return Capacity(FITS, ("It wants no pods.",))
    template = document["spec"]["template"]["spec"]
    seen = look(cluster, document["metadata"]["namespace"], _claims(template))
    live = next(iter(newest_pods(cluster, document)), None)
    asked = question(document, live, seen)
    found = capacity.judge(asked)
    if found.verdict == FITS:
        return _on_the_nodes_that_hold_its_claims(found, asked, seen)
    if found.verdict == DOES_NOT_FIT and len(_templates(asked)) > 1:
        return Capacity(CANNOT_KNOW, (_MIXED, *found.reasons))
    return found


_MIXED = "Its pods are of several templates; if the one to come is among them, those pods stay and need no other room."


def _templates(asked: Question) -> set[str]:
    """Return of which templates the old pods are, by the labels that Kubernetes gives them."""
    labels = [pod.wants.labels for pod in asked.old]
    return {one[label] for one in labels for label in scheduling.NEW if label in one}


def problems(cluster: Cluster, document: Document) -> list[str]:
    """Return why a rollout of *document* cannot find room; what cannot be known is none."""
    return refusals(document, judge(cluster, document))


def refusals(document: Document, found: Capacity) -> list[str]:
    """Return what *found* means for a release to the workload *document*."""
    name = f"{document['kind']} {document['metadata']['namespace']}/{document['metadata']['name']}"
    return [f"{name} has no room for a rollout: {' '.join(found.reasons)}"] if found.verdict == DOES_NOT_FIT else []


def question(document: Document, live: Document | None, seen: Surroundings) -> Question:
    """Return what was *seen*, put as a question about a rollout of *document*.

    :param live: A pod of its newest template, if there is one.
    """
    spec = limits.with_defaults(scheduling.new_spec(document, live), seen.ranges)
    wanted = scheduling.new_wants(document, spec)
    quotas = [scheduling.quota(one) for one in seen.quotas]
    single = [name for name, one in seen.claims.items() if one["spec"].get("accessModes") == ["ReadWriteOncePod"]]
    old = [scheduling.pod(one) for one in seen.pods if is_replaced(document, one)]
    for one in single:
        quotas.append(Quota(f"Claim {one}, ReadWriteOncePod,", {one: 1}, {one: len(old)}))
        old = [replace(pod, usage=pod.usage | {one: 1}) for pod in old]
    return Question(
        pace=pace_of(document["kind"], workload.strategy(document), workload.replicas(document)),
        kubectl=_kubectl(document),
        wants=replace(wanted, volumes=tuple(_reach(seen.volumes))),
        usage=scheduling.usage(spec) | dict.fromkeys(single, 1),
        old=tuple(old),
        others=tuple(scheduling.pod(one) for one in seen.pods if not is_replaced(document, one)),
        nodes=None if seen.nodes is None else tuple(scheduling.node(one) for one in seen.nodes),
        quotas=tuple(quotas),
        refusals=tuple(limits.refusals(spec, seen.ranges, quotas)),
        less=(*seen.less, *doubts.less(spec, scheduling.template_labels(document)), *_history(document, quotas)),
        more=(*seen.more, *doubts.more(spec)),
    )


def is_replaced(document: Document, pod: Document) -> bool:
    """Return whether a rollout of *document* replaces *pod*: one of its own, not ending, from the partition on."""
    meta, spec = pod["metadata"], document["spec"]
    owner: Document = next((one for one in meta.get("ownerReferences") or [] if one.get("controller")), {})
    if meta["namespace"] != document["metadata"]["namespace"] or "deletionTimestamp" in meta:
        return False
    if document["kind"] == "StatefulSet":
        return owner.get("uid") == document["metadata"]["uid"] and _index(document, meta["name"]) >= _partition(
            document
        )
    selector = scheduling.label_selector(spec["selector"]) or ()
    labels = meta.get("labels") or {}
    return owner.get("kind") == "ReplicaSet" and all(one.holds(labels) for one in selector)


def _index(document: Document, name: str) -> int:
    found = re.search(r"-([0-9]+)$", name)
    start = int((document["spec"].get("ordinals") or {}).get("start", 0))
    return int(found[1]) - start if found else 0


def _partition(document: Document) -> int:
    return int((workload.strategy(document).get("rollingUpdate") or {}).get("partition") or 0)


def _kubectl(document: Document) -> str:
    """Return the line that changes its strategy, but for the patch; a StatefulSet has no other."""
    meta = document["metadata"]
    line = f"kubectl --namespace {meta['namespace']} patch deployment {meta['name']}"
    return line if document["kind"] == "Deployment" else ""


def _claims(template: Document) -> list[str]:
    claims = (volume.get("persistentVolumeClaim") for volume in template.get("volumes") or [])
    return [claim["claimName"] for claim in claims if claim]


def _reach(volumes: Iterable[Document]) -> Iterable[tuple[NodeTerm, ...]]:
    for one in volumes:
        terms = scheduling.node_terms((one["spec"].get("nodeAffinity") or {}).get("required"))
        if terms is not None:
            yield terms


def _history(document: Document, quotas: Iterable[Quota]) -> list[str]:
    name = _HISTORY[document["kind"]]
    return [
        f"{quota.name} is used up for {name}, of which a template that was never there before needs one."
        for quota in quotas
        if name in quota.hard and quota.used.get(name, 0) >= quota.hard[name]
    ]


def _on_the_nodes_that_hold_its_claims(found: Capacity, asked: Question, seen: Surroundings) -> Capacity:
    """Return *found*, unless it takes a node where a ReadWriteOnce claim cannot be before the old pods let go of it."""
    bound = [name for name, one in seen.claims.items() if one["spec"].get("accessModes") == ["ReadWriteOnce"]]
    where = {pod.node for pod in asked.old if pod.node}
    if not bound or not where:
        return found
    there = replace(asked, nodes=tuple(node for node in asked.nodes or () if node.name in where))
    if capacity.judge(there).verdict == FITS:
        return found
    names = ", ".join(sorted(where))
    reason = f"Claim {bound[0]} is ReadWriteOnce and there is no room where it is, on {names}; elsewhere a new pod may "
    return Capacity(CANNOT_KNOW, (f"{reason}have to wait until the old ones let go of it.",))
