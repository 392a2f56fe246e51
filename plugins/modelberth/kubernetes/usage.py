"""Who uses what of a claim, as far as a cluster can show it; what it does not show is a doubt, never a no.

All claims on the same storage are looked for, in every namespace; and in the namespaces where there is one, everything
that has or will have pods, with its history: a Deployment with no replicas, a CronJob between two runs, an old
ControllerRevision that a person may return to.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.core.mentions import mentions
from modelberth.core.prune import Seen, Unknown, Use
from modelberth.kubernetes.client import ClusterRefusedError, ObjectMissingError
from modelberth.kubernetes.templates import doubts, pod_specs
from modelberth.kubernetes.volumes import Claims, Storage, storage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from modelberth.kubernetes.client import Cluster
    from modelberth.kubernetes.templates import Config

Document = dict[str, Any]

OURS = "modelberth.dev/step"
"""The label of pods that this project starts: what they use of a claim, their arguments name."""

_ENDED = ("Succeeded", "Failed")
_PAGE = 500

_KINDS = (
    ("/apis/apps/v1", "Deployment", "deployments"),
    ("/apis/apps/v1", "StatefulSet", "statefulsets"),
    ("/apis/apps/v1", "DaemonSet", "daemonsets"),
    ("/apis/apps/v1", "ReplicaSet", "replicasets"),
    ("/apis/apps/v1", "ControllerRevision", "controllerrevisions"),
    ("/apis/batch/v1", "Job", "jobs"),
    ("/apis/batch/v1", "CronJob", "cronjobs"),
    ("/api/v1", "Pod", "pods"),
    ("/api/v1", "ReplicationController", "replicationcontrollers"),
    ("/api/v1", "PodTemplate", "podtemplates"),
)

RIGHTS = "include/kubernetes/prune.yaml"
"""The manifest that gives all rights that are asked for here."""


def storage_of(cluster: Cluster, namespace: str, claim: str) -> Storage:
    """Return what storage a claim leads to.

    :raises ClusterRefusedError: There is no such claim, it has no volume, or it may not be looked at.
    """
    found = cluster.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
    name = found["spec"].get("volumeName")
    if not name:
        raise ClusterRefusedError(f"Claim {namespace}/{claim} has no volume yet: there is nothing on it to prune.")
    try:
        volume = cluster.get(f"/api/v1/persistentvolumes/{name}")
    except ObjectMissingError:
        raise
    except ClusterRefusedError as error:
        raise ClusterRefusedError(_missing("get", "persistentvolumes", None, cluster, error)) from error
    where = storage(volume["spec"])
    if where is None:
        raise ClusterRefusedError(f"PersistentVolume {name} of claim {namespace}/{claim} is of no kind that is known.")
    return where


def look(cluster: Cluster, where: Storage, models: Collection[str]) -> Seen:
    """Return who uses what of the storage *where* in *cluster*.

    :param models: Those that have a directory on it.
    :raises ClusterUnreachableError: The API server does not answer; nothing is known then.
    """
    try:
        claims = _claims(cluster, where)
    except ClusterRefusedError as error:
        return Seen(unknown=(Unknown(_missing("list", "persistentvolumes", None, cluster, error)),))
    with ThreadPoolExecutor(max_workers=4) as pool:
        asked = partial(_in_namespace, cluster, claims=claims, models=models)
        return together(pool.map(asked, claims.namespaces))


def together(seen: Iterator[Seen] | Collection[Seen]) -> Seen:
    """Return all that was *seen*, in one."""
    found = list(seen)
    return Seen(tuple(use for one in found for use in one.uses), tuple(doubt for one in found for doubt in one.unknown))


def _claims(cluster: Cluster, where: Storage) -> Claims:
    """Return the claims on the storage *where*: those of PersistentVolumes that share files with it."""
    whole: set[tuple[str, str]] = set()
    partly: set[tuple[str, str]] = set()
    for volume in listed(cluster, "/api/v1/persistentvolumes"):
        found, claim = storage(volume["spec"]), volume["spec"].get("claimRef")
        if claim and found and found.shares(where):
            same = found.path == where.path
            (whole if same else partly).add((claim["namespace"], claim["name"]))
    return Claims(where, frozenset(whole), frozenset(partly))


def _in_namespace(cluster: Cluster, namespace: str, *, claims: Claims, models: Collection[str]) -> Seen:
    config = _config(cluster, namespace)
    seen: list[Seen] = []
    refused: dict[str, ClusterRefusedError] = {}
    for group, kind, plural in _KINDS:
        try:
            found = listed(cluster, f"{group}/namespaces/{namespace}/{plural}")
            seen += [_uses(document, kind, namespace, claims, models, config) for document in found]
        except ClusterRefusedError as error:
            refused[plural] = error
    if refused:
        why = _missing("list", ", ".join(refused), namespace, cluster, next(iter(refused.values())))
        seen.append(Seen(unknown=(Unknown(why),)))
    text = json.dumps(config)
    seen.append(Seen(tuple(Use(f"a ConfigMap in {namespace}", one) for one in mentions(text))))
    return together(seen)


def _config(cluster: Cluster, namespace: str) -> Config | None:
    """Return what the namespace's ConfigMaps say; None without the right to read them, which is optional."""
    try:
        found = listed(cluster, f"/api/v1/namespaces/{namespace}/configmaps")
        return {one["metadata"]["name"]: one.get("data") or {} for one in found}
    except ClusterRefusedError:
        return None


def _uses(
    document: Document, kind: str, namespace: str, claims: Claims, models: Collection[str], config: Config | None
) -> Seen:
    """Return what one object uses, and what of it cannot be known.

    | object | uses what it names | may use what it does not name |
    |---|---|---|
    | a pod of ours that has ended | no: it is in nobody's way | no |
    | another pod of ours | yes | no: its arguments say all |
    | anything else | yes | as its containers say |
    """
    who = f"{kind} {namespace}/{document['metadata']['name']}"
    ours = kind == "Pod" and OURS in (document["metadata"].get("labels") or {})
    if ours and document.get("status", {}).get("phase") in _ENDED:
        return Seen()
    uses = tuple(Use(who, one) for one in mentions(json.dumps(document)))
    if ours:
        return Seen(uses)
    found = [doubt for spec in pod_specs(document) for doubt in doubts(spec, who, namespace, claims, models, config)]
    return Seen(uses, tuple(found))


def listed(cluster: Cluster, path: str) -> Iterator[Document]:
    """Yield the objects of a list, page by page.

    :raises ClusterRefusedError: They may not be looked at.
    """
    after = ""
    while True:
        page = cluster.get(f"{path}?limit={_PAGE}{f'&continue={quote(after)}' if after else ''}")
        yield from page["items"]
        after = page["metadata"].get("continue", "")
        if not after:
            return


def _missing(verb: str, plural: str, namespace: str | None, cluster: Cluster, error: Exception) -> str:
    """Return which right is missing, and which manifest gives it."""
    where = f" in namespace {namespace}" if namespace else ""
    return (
        f"Connection {cluster.connection!r} may not {verb} {plural}{where}, so nobody knows what uses the claim: "
        f"kubectl apply -n {namespace or 'NAMESPACE'} -f {RIGHTS} ({error})"
    )
