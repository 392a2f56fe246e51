"""What a person would look at when pods do not become what they should: their events, and the last they said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.kubernetes.client import ClusterRefusedError, ClusterUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]

PODS, EVENTS, LINES = 2, 5, 10
"""How many are told of each: what fails in one pod mostly fails in all."""

_UNSAID = (ClusterRefusedError, ClusterUnreachableError)
"""A right that is missing or a node that is gone must not stand in the way of putting back."""

_LONGEST_LINE = 300
_LONGEST_LOG = 8192  # bytes


def diagnose(cluster: Cluster, pods: Iterable[Document]) -> list[Document]:
    """Return what is known of the first of *pods*: its events and last lines, oldest first; bounded."""
    return [
        {
            "pod": pod["metadata"]["name"],
            "events": _events(cluster, pod),
            "log": [line for container in _talking(pod) for line in _log(cluster, pod, container)],
        }
        for pod in list(pods)[:PODS]
    ]


def lines(found: Iterable[Document]) -> list[str]:
    """Return what ``diagnose`` has found as lines of text."""
    texts = []
    for one in found:
        texts += [f"pod {one['pod']}, event: {event}" for event in one["events"]]
        texts += [f"pod {one['pod']}, log: {line}" for line in one["log"]]
    return texts


def _events(cluster: Cluster, pod: Document) -> list[str]:
    meta = pod["metadata"]
    about = quote(f"involvedObject.uid={meta['uid']}")
    try:
        events = cluster.get(f"/api/v1/namespaces/{meta['namespace']}/events?fieldSelector={about}")["items"]
    except _UNSAID as error:
        return [_cut(f"they could not be read. {error}")]
    telling = sorted(events, key=_when)[-EVENTS:]
    return [_cut(f"{one.get('reason', '')}: {one.get('message', '')}") for one in telling]


def _when(event: Document) -> str:
    times = [event.get(key) for key in ("lastTimestamp", "eventTime", "firstTimestamp")]
    return next((str(time) for time in times if time), "")


def _talking(pod: Document) -> list[Document]:
    """Return the containers that have run and are not ready, else all that have run."""
    status = pod.get("status", {})
    all_of = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ran = [one for one in all_of if "waiting" not in one.get("state", {}) or one.get("restartCount")]
    return [one for one in ran if not one.get("ready") and not _done(one)] or ran


def _done(container: Document) -> bool:
    return bool(container.get("state", {}).get("terminated", {}).get("exitCode") == 0)


def _log(cluster: Cluster, pod: Document, container: Document) -> list[str]:
    """Return the last lines of *container*: of its life before, where it waits to be started again."""
    meta, waits = pod["metadata"], "waiting" in container.get("state", {})
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log?container={container['name']}"
    try:
        text = cluster.text(f"{path}&tailLines={LINES}&limitBytes={_LONGEST_LOG}&previous={str(waits).lower()}")
    except _UNSAID as error:
        return [_cut(f"it could not be read. {error}")]
    return [_cut(line) for line in text.splitlines() if line.strip()]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
