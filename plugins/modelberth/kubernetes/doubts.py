"""What of a pod cannot be judged here, in sentences. Pure functions."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_KUEUE = "kueue.x-k8s.io/queue-name"


def less(spec: Document, labels: dict[str, str]) -> list[str]:
    """Return what may keep pods of *spec* from nodes that have room."""
    near = ((spec.get("affinity") or {}).get("podAffinity") or {}).get(_REQUIRED)
    spread = [one["whenUnsatisfiable"] for one in spec.get("topologySpreadConstraints") or []]
    found = {
        "Its pods claim devices (DRA, resourceClaims); which are free is the scheduler's knowledge.": spec.get(
            "resourceClaims"
        ),
        "Its pods must run near others (podAffinity), which is not judged.": near,
        "Its pods must be spread (topologySpreadConstraints), which is not judged.": "DoNotSchedule" in spread,
        "Its pods wait for whoever removes their schedulingGates.": spec.get("schedulingGates"),
        f"Its pods wait for Kueue's quota (label {_KUEUE}), which is not judged.": _KUEUE in labels,
    }
    return [text for text, there in found.items() if there] + _other_scheduler(spec)


def more(spec: Document) -> list[str]:
    """Return why pods of *spec* may find room where there seems to be none."""
    apart = ((spec.get("affinity") or {}).get("podAntiAffinity") or {}).get(_REQUIRED) or []
    found = []
    if any(term.get("namespaceSelector") for term in apart):
        found.append("Its anti-affinity selects namespaces by label; it was judged as if it were about all of them.")
    return found + _other_scheduler(spec)


def _other_scheduler(spec: Document) -> list[str]:
    name = spec.get("schedulerName", "default-scheduler")
    return [] if name == "default-scheduler" else [f"Scheduler {name!r} places its pods, by rules of its own."]
