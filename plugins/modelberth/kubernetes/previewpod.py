"""The pod of a preview: the workload's own template with the values to come, and nothing that brings it requests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from modelberth.kubernetes import patch, workload

if TYPE_CHECKING:
    from modelberth.core.plan import Plan, Target

Document = dict[str, Any]

GRACE = 300
"""Seconds beyond ``ready_within`` after which Kubernetes ends the pod by itself, should nobody be left to delete it."""


def pod_name(plan: Plan, target: Target) -> str:
    """Return what the preview's pod is called: whoever takes the preview up finds it."""
    return f"preview-{hashlib.sha256(f'{plan.digest}/{target.name}'.encode()).hexdigest()[:16]}"


def pod_of(document: Document, plan: Plan, target: Target) -> Document:
    """Return the pod that tries *target* of *plan* beside the pods of the workload *document*.

    of the template              | in the pod
    -----------------------------+---------------------------------------------------------------------------------
    labels                       | ours alone: no Service selects it and no controller adopts it
    annotations                  | kept, with those of the revisions to come
    containers, volumes, ports,  | kept; each bound variable has its new value
    account, probes, affinity    |
    volumes made for each pod of | empty directories: theirs hold another pod's data, or none
    a StatefulSet                |
    """
    template = patch.template_to_come(document, target)
    spec = template["spec"]
    own = [claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates") or ()]
    shared = [volume for volume in spec.get("volumes") or () if volume["name"] not in own]
    spec["volumes"] = [*shared, *({"name": name, "emptyDir": {}} for name in own)]
    spec["activeDeadlineSeconds"] = target.ready_within + GRACE
    notes = {workload.revision_note(one.model): str(plan.revisions[one.model]) for one in target.served}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(plan, target),
            "annotations": {**(template.get("metadata", {}).get("annotations") or {}), **notes},
            "labels": {
                "modelberth.dev/model": plan.model,
                "modelberth.dev/release": plan.release_id,
                "modelberth.dev/preview": "true",
            },
        },
        "spec": spec,
    }
