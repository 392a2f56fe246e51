"""The pods of a workload's newest template: which they are, which are ready, what is wrong with the others."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.core.hopeless import Standing

if TYPE_CHECKING:
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]

_REVISION = "deployment.kubernetes.io/revision"
_TERMS = {"In": "{key} in ({values})", "NotIn": "{key} notin ({values})", "Exists": "{key}", "DoesNotExist": "!{key}"}


def newest_pods(cluster: Cluster, document: Document) -> list[Document]:
    """Return the pods that the workload *document* has made from its newest template and not begun to end."""
    label, value = _newest(cluster, document)
    if not value:
        return []
    return [pod for pod in pods_of(cluster, document) if pod["metadata"].get("labels", {}).get(label) == value]


def pods_of(cluster: Cluster, document: Document) -> list[Document]:
    """Return the pods of the workload *document* that have not begun to end."""
    pods = cluster.get(f"{_core(document)}/pods?labelSelector={_selector(document)}")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Document) -> bool:
    """Return whether Kubernetes sends *pod* requests."""
    return _is_true(pod, "Ready")


def has_all_containers_ready(pod: Document) -> bool:
    """Return whether nothing of *pod* itself keeps it from requests."""
    return _is_true(pod, "ContainersReady")


def _is_true(pod: Document, kind: str) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)


def standing(pod: Document, now: datetime) -> list[Standing]:
    """Return how each container of *pod* stands; those that run before the others count while they have not ended."""
    status = pod.get("status", {})
    began = status.get("startTime")
    seconds = (now - datetime.fromisoformat(began)).total_seconds() if began else 0.0
    return [
        Standing(
            pod=pod["metadata"]["name"],
            container=one["name"],
            ready=bool(one.get("ready")),
            waiting=one.get("state", {}).get("waiting", {}).get("reason", ""),
            restarts=one.get("restartCount", 0),
            seconds=seconds,
        )
        for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ]


def restarts(pod: Document) -> dict[str, int]:
    """Return how often each container of *pod* was started again."""
    return {status["name"]: status.get("restartCount", 0) for status in pod["status"].get("containerStatuses") or ()}


def trouble(pods: list[Document]) -> list[str]:
    """Return what keeps *pods* from being ready, a sentence a pod, in Kubernetes' own words."""
    said = [(pod["metadata"]["name"], _trouble(pod)) for pod in pods if not is_ready(pod)]
    return [f"pod {name}: {reason}" for name, reason in said if reason]


def _trouble(pod: Document) -> str:
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        waiting = container["state"].get("waiting")
        if waiting and waiting.get("reason") != "ContainerCreating":
            ended = container.get("lastState", {}).get("terminated", {})
            code = f", last exit code {ended['exitCode']}" if ended else ""
            return f"{container['name']} {waiting.get('reason')}{code}"
    for condition in status.get("conditions") or []:
        if condition["status"] != "True" and condition["type"] in ("PodScheduled", "ContainersReady"):
            return str(condition.get("message") or condition.get("reason", ""))
    return ""


def _newest(cluster: Cluster, document: Document) -> tuple[str, str]:
    """Return the label, and its value, that the pods of the newest template bear; the value may be empty."""
    if document["kind"] == "StatefulSet":
        return "controller-revision-hash", document.get("status", {}).get("updateRevision", "")
    uid, wanted = document["metadata"]["uid"], (document["metadata"].get("annotations") or {}).get(_REVISION)
    path = f"/apis/apps/v1/namespaces/{document['metadata']['namespace']}/replicasets"
    for owned in cluster.get(f"{path}?labelSelector={_selector(document)}")["items"]:
        owners = [owner["uid"] for owner in owned["metadata"].get("ownerReferences", [])]
        if uid in owners and (owned["metadata"].get("annotations") or {}).get(_REVISION) == wanted:
            return "pod-template-hash", owned["metadata"]["labels"]["pod-template-hash"]
    return "pod-template-hash", ""


def _core(document: Document) -> str:
    return f"/api/v1/namespaces/{document['metadata']['namespace']}"


def _selector(document: Document) -> str:
    """Return the workload's selector as a query's value."""
    selector = document["spec"]["selector"]
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for term in selector.get("matchExpressions") or []:
        values = ",".join(term.get("values") or [])
        terms.append(_TERMS[term["operator"]].format(key=term["key"], values=values))
    return quote(",".join(terms))
