"""What of a cluster bears on the room for a workload's pods, as far as the connection's rights reach.

What lies in the workload's namespace is looked at with the rights of include/kubernetes/rbac.yaml; nodes, other
namespaces' pods, volumes and the cluster autoscaler's word with those of rbac-capacity.yaml, if they were given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.kubernetes.client import ForbiddenError, ObjectMissingError

if TYPE_CHECKING:
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]

_PAGE = 500
_NOT_ENDED = f"fieldSelector={quote('status.phase!=Succeeded,status.phase!=Failed')}"
_OF_A_CONTAINER = ("name", "resources", "ports", "restartPolicy")
_APPLY = "apply include/kubernetes/rbac-capacity.yaml to know"


@dataclass
class Surroundings:
    """What there is.

    :param nodes: None where they may not be listed.
    :param pods: Those of all namespaces, or only of the workload's, that have not ended.
    :param claims: The workload's claims by name, and ``volumes`` the volumes of those that are bound.
    :param less: Why there may be less room than is seen.
    :param more: Why there may be more.
    """

    nodes: list[Document] | None = None
    pods: list[Document] = field(default_factory=list)
    quotas: list[Document] = field(default_factory=list)
    ranges: list[Document] = field(default_factory=list)
    claims: dict[str, Document] = field(default_factory=dict)
    volumes: list[Document] = field(default_factory=list)
    less: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)


def look(cluster: Cluster, namespace: str, claims: list[str]) -> Surroundings:
    """Return what bears on pods in *namespace* that use *claims*.

    :raises ClusterUnreachableError: The API server does not answer.
    """
    return _Look(cluster, namespace).around(claims)


class _Look:
    """One look, which remembers what it was not allowed to see."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._space = f"/api/v1/namespaces/{namespace}"
        self._less: list[str] = []
        self._more: list[str] = []

    def around(self, claims: list[str]) -> Surroundings:
        """Return all that can be seen."""
        nodes = self._listed("/api/v1/nodes", "list nodes", f"what room they have is not known: {_APPLY}")
        ranges = self._listed(f"{self._space}/limitranges", "list limitranges", "what they ask of pods is not known")
        quotas = self._listed(f"{self._space}/resourcequotas", "list resourcequotas", "what they leave is not known")
        found = {name: one for name in claims if (one := self._get(f"{self._space}/persistentvolumeclaims/{name}"))}
        volumes = self._volumes(found) if nodes is not None else []
        pods = self._pods()
        self._ask_for_autoscalers()
        return Surroundings(nodes, pods, quotas or [], ranges or [], found, volumes, self._less, self._more)

    def _pods(self) -> list[Document]:
        lost = f"what other namespaces' pods take is not known: {_APPLY}"
        everywhere = self._listed(f"/api/v1/pods?{_NOT_ENDED}", "list pods of all namespaces", lost)
        if everywhere is not None:
            return everywhere
        return self._listed(f"{self._space}/pods?{_NOT_ENDED}", "list pods", "what they take is not known") or []

    def _listed(self, path: str, right: str, lost: str) -> list[Document] | None:
        """Return all objects at *path*, a page at a time; None, and what is *lost* by it, without the *right*."""
        found: list[Document] = []
        token, separator = "", "&" if "?" in path else "?"
        try:
            while True:
                page = self._cluster.get(f"{path}{separator}limit={_PAGE}{token}")
                found += map(_without_ballast, page["items"])
                if not page["metadata"].get("continue"):
                    return found
                token = f"&continue={quote(page['metadata']['continue'])}"
        except ForbiddenError:
            self._less.append(self._may_not(right, lost))
            return None

    def _get(self, path: str) -> Document | None:
        try:
            return self._cluster.get(path)
        except ObjectMissingError:
            return None

    def _volumes(self, claims: dict[str, Document]) -> list[Document]:
        names = [one["spec"]["volumeName"] for one in claims.values() if one["spec"].get("volumeName")]
        try:
            found = [self._get(f"/api/v1/persistentvolumes/{name}") for name in names]
        except ForbiddenError:
            lost = f"which nodes reach its volume is not known: {_APPLY}"
            self._less.append(self._may_not("get persistentvolumes", lost))
            return []
        return [one for one in found if one]

    def _ask_for_autoscalers(self) -> None:
        """Learn whether nodes may come by themselves: Karpenter has an API, the cluster autoscaler leaves its word."""
        groups = {group["name"] for group in (self._get("/apis") or {}).get("groups", [])}
        if "karpenter.sh" in groups:
            self._more.append("Karpenter is there and may add a node, which takes its time.")
        word = "kube-system/cluster-autoscaler-status"
        try:
            if self._get("/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"):
                self._more.append("A cluster autoscaler is there and may add a node, which takes its time.")
        except ForbiddenError:
            lost = f"whether nodes are added by themselves is not known: {_APPLY}"
            self._more.append(self._may_not(f"get ConfigMap {word}", lost))

    def _may_not(self, right: str, lost: str) -> str:
        return f"Connection {self._cluster.connection!r} may not {right}, so {lost}."


def _without_ballast(document: Document) -> Document:
    """Return *document* without what decides nothing here: of a pod more than nine tenths, and there may be many."""
    document["metadata"] = _less(document["metadata"], "managedFields", "annotations")
    spec = document.get("spec") or {}
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [{name: one[name] for name in _OF_A_CONTAINER if name in one} for one in spec[key]]
    document["spec"] = _less(spec, "volumes")
    status = document.get("status") or {}
    document["status"] = _less(status, "containerStatuses", "initContainerStatuses", "images")
    return document


def _less(document: Document, *keys: str) -> Document:
    return {key: value for key, value in document.items() if key not in keys}
