"""What can be known to go wrong in a service's cluster before a byte is moved; asking changes nothing."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any

from modelberth.kubernetes import claimpod
from modelberth.kubernetes.client import ClusterRefusedError, ObjectChangedError, ObjectMissingError, workload_path
from modelberth.kubernetes.declared import other_ways
from modelberth.kubernetes.workload import (
    SET_ELSEWHERE,
    container,
    containers,
    covering,
    kept_by,
    live_value,
    mount,
    set_by,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelberth.catalog import Binding, Service, Workload
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]

RIGHTS = (
    ("", "pods", ("create", "get", "list", "delete")),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
    ("", "pods/proxy", ("get", "create")),
    ("", "persistentvolumeclaims", ("get",)),
    ("apps", "deployments", ("get", "patch")),
    ("apps", "statefulsets", ("get", "patch")),
    ("apps", "replicasets", ("list",)),
)
"""What a release does in a serving namespace: API group, resource, verbs."""

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def problems(cluster: Cluster, service: Service) -> list[str]:
    """Return everything in *cluster* that would stop a release to *service*, each a whole sentence.

    :raises ClusterUnreachableError: The API server does not answer, or not sensibly.
    """
    try:
        claim = _read(cluster, f"/api/v1/namespaces/{service.namespace}/persistentvolumeclaims/{service.claim}")
        workloads = {
            one: _read(cluster, workload_path(service.namespace, one.kind, one.name)) for one in service.workloads()
        }
        denied = rights_problems(cluster, service)
    except ClusterRefusedError as error:
        said = str(error).rstrip(". ")
        return [f"Service {service.name!r}: {said}. Apply include/kubernetes, or correct namespace or connection."]
    found = claim_problems(claim, service)
    for workload, document in workloads.items():
        found += workload_problems(document, service, workload)
    return found + denied


def rights_problems(cluster: Cluster, service: Service) -> list[str]:
    """Return which of ``RIGHTS`` the connection lacks, in one sentence.

    :raises ClusterUnreachableError: The API server does not answer, or not sensibly.
    """
    denied = ", ".join(_denied(cluster, service.namespace))
    where = f"in namespace {service.namespace!r}: apply include/kubernetes."
    return [f"Connection {service.connection!r} may not {denied} {where}"] if denied else []


def claim_problems(claim: Document | None, service: Service) -> list[str]:
    """Return why nothing can be staged on *claim*; a Pending one is fine, its storage may come with the first pod."""
    name = f"Claim {service.namespace}/{service.claim}"
    if claim is None:
        return [f"{name} does not exist: create it, or correct 'claim' in services/{service.name}.yaml."]
    if "deletionTimestamp" in claim["metadata"]:
        return [f"{name} is being deleted: a release would hang. Create another."]
    if claim.get("status", {}).get("phase") == "Lost":
        return [f"{name} has lost its volume (phase Lost): restore it, or create another."]
    return []


def secret_problems(cluster: Cluster, service: Service, names: Iterable[str]) -> list[str]:
    """Return which of the Secrets *names* no pod of ours may have in *service*'s namespace, as the API server says.

    It judges a pod that is not made. What refuses every pod, such as a quota, is not the Secret's fault and not said.

    the pod with the Secret | without one | the Secret
    ------------------------+-------------+-----------
    may be made             | any         | is allowed
    is refused              | may be made | is not
    is refused              | is refused  | nobody knows
    """
    refused = {name: said for name in names if (said := _refused(cluster, service, name))}
    if not refused or _refused(cluster, service):
        return []
    return [
        f"Secret {service.namespace}/{name} may not be given to our pods: {said} Add it to 'secrets' of ConfigMap "
        f"{service.namespace}/modelberth-rights."
        for name, said in refused.items()
    ]


def _refused(cluster: Cluster, service: Service, secret: str | None = None) -> str | None:
    """Return why a pod of ours, which has *secret*, would not be made; None if it would be."""
    pod = claimpod.document(service, "upload", ["upload"], writes=False)
    if secret:
        pod["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": secret}}]
    try:
        cluster.create(f"/api/v1/namespaces/{service.namespace}/pods?dryRun=All", pod)
    except (ClusterRefusedError, ObjectChangedError) as error:
        return str(error)
    return None


def workload_problems(document: Document | None, service: Service, workload: Workload) -> list[str]:
    """Return why *document*, which is *workload* as it is now, cannot be pointed at another snapshot."""
    name = f"{workload.kind} {service.namespace}/{workload.name}"
    if document is None:
        return [f"{name} does not exist: apply it, or correct 'workload' in services/{service.name}.yaml."]
    found = ["it is paused, so a rollout would never end: resume it."] if document["spec"].get("paused") else []
    for binding in service.bindings:
        if service.workload_of(binding) == workload:
            found += _binding_problems(document, binding, service.claim)
    found += [f"{problem}." for problem in other_ways(document, service, workload)]
    return [f"{name}: {problem}" for problem in dict.fromkeys(found)]


def _binding_problems(document: Document, binding: Binding, claim: str) -> Iterable[str]:
    one = container(document, binding.container)
    if one is None:
        there = ", ".join(other["name"] for other in containers(document))
        return [f"it has no container {binding.container!r}; there are: {there}."]
    return [*_variable_problems(document, one, binding), *_mount_problems(document, one, binding, claim)]


def _variable_problems(document: Document, one: Document, binding: Binding) -> Iterator[str]:
    """Yield who else says what the variable is."""
    variable = _variable(one, binding)
    if live_value(one, binding.variable) == SET_ELSEWHERE:
        yield f"{variable} comes from {set_by(one, binding.variable)}: give it a plain value, or none."
    if keeper := kept_by(document, binding):
        yield (
            f"{variable} is kept by {keeper}, which would set it back: take the variable out of what that applies, "
            "or bind a workload that nobody else keeps."
        )


def _mount_problems(document: Document, one: Document, binding: Binding, claim: str) -> Iterator[str]:
    """Yield why the container would not see a snapshot where the variable says."""
    where = mount(document, one, claim)
    if where is None:
        yield f"container {one['name']!r} does not mount claim {claim!r}: mount it, read-only."
        return
    if not where.read_only:
        # Not the mount's own readOnly: without this one kubelet's fsGroup makes the files writable.
        yield f"its volume of claim {claim!r} is writable: set persistentVolumeClaim.readOnly: true."
    if where.sub_path:
        yield f"container {one['name']!r} mounts {where.sub_path!r} of claim {claim!r}: mount it without a subPath."
    hiding = covering(one, posixpath.join(where.path, binding.model))
    if hiding != where.path:
        yield f"container {one['name']!r} has something at {hiding!r} that hides claim {claim!r}: mount it elsewhere."
    live = live_value(one, binding.variable)
    if live and live.startswith("/") and not f"{live}/".startswith(posixpath.join(where.path, "")):
        yield (
            f"{_variable(one, binding)} is {live!r}, which is not below {where.path!r}, where claim {claim!r} is "
            "mounted: correct one of them, or unset the variable."
        )


def _variable(one: Document, binding: Binding) -> str:
    return f"variable {binding.variable} of container {one['name']!r}"


def _read(cluster: Cluster, path: str) -> Document | None:
    try:
        return cluster.get(path)
    except ObjectMissingError:
        return None


def _denied(cluster: Cluster, namespace: str) -> list[str]:
    """Return the rights that are missing, as ``patch deployments``."""
    return [
        f"{verb} {resource}"
        for group, resource, verbs in RIGHTS
        for verb in verbs
        if not _allowed(cluster, namespace, group, resource, verb)
    ]


def _allowed(cluster: Cluster, namespace: str, group: str, resource: str, verb: str) -> bool:
    """Ask the API server; what it does not answer is taken as allowed, and found out by doing."""
    kind, _, below = resource.partition("/")
    attributes = {"namespace": namespace, "group": group, "resource": kind, "subresource": below, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = cluster.ask(_REVIEWS, review)
    return answer.status not in (200, 201) or bool(json.loads(answer.body)["status"]["allowed"])
