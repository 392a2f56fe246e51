"""One look at a target's workload: what of it is the plan's, how far Kubernetes is, and how its pods stand."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core.binding import Live
from modelberth.core.hopeless import hopeless
from modelberth.core.progress import Progress, State
from modelberth.core.progress import progress as progress_of
from modelberth.core.soak import Watched
from modelberth.kubernetes import partition, workload
from modelberth.kubernetes.capacity import is_replaced
from modelberth.kubernetes.declared import as_template
from modelberth.kubernetes.pods import is_ready, newest_pods, pods_of, restarts, standing, trouble

if TYPE_CHECKING:
    from modelberth.core.plan import Target
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]


class Sight:
    """What is to be seen of *target* at one moment; pods are asked for once, and only if that matters."""

    def __init__(self, cluster: Cluster, target: Target, document: Document) -> None:
        self._cluster, self._target, self.document = cluster, target, document

    @cached_property
    def values(self) -> tuple[Live, ...]:
        """What each binding's live value is to the plan."""
        found = workload.live_values(self.document, self._target.bindings)
        return tuple(one.judge(value) for one, value in zip(self._target.bindings, found, strict=True))

    @property
    def partition(self) -> Live | None:
        """What the live partition is to the plan."""
        return partition.judge(self.document, self._target)

    @cached_property
    def progress(self) -> Progress:
        """How far Kubernetes is; of a failure with what its pods say."""
        found = progress_of(workload.counts(self.document))
        if found.state is not State.FAILED:
            return found
        return Progress(found.state, "; ".join([found.reason, *trouble(self.newest)]))

    @cached_property
    def newest(self) -> list[Document]:
        """The pods of the newest template."""
        return newest_pods(self._cluster, self.document)

    @property
    def ready(self) -> list[Document]:
        """Those of the newest pods that are ready."""
        return [pod for pod in self.newest if is_ready(pod)]

    @property
    def unready(self) -> list[Document]:
        """Those of the newest pods that are not."""
        return [pod for pod in self.newest if not is_ready(pod)]

    @property
    def hopeless(self) -> str | None:
        """Why the newest pods will not become ready, None while they may.

        Right after a patch the pods from before still count as the newest. That ends when the controller has seen it;
        for a Deployment a little later, where it takes up a ReplicaSet that was there before, or ends all pods first.

        the controller has seen it | a pod has a value from before | the pod
        ---------------------------+-------------------------------+---------------
        no                         | any                           | does not count
        yes                        | yes                           | does not count
        yes                        | no                            | counts
        """
        if not workload.counts(self.document).is_seen:
            return None
        now, pods = datetime.now(UTC), [pod for pod in self.unready if not self._bears(pod, Live.FROM)]
        return hopeless(one for pod in pods for one in standing(pod, now))

    @property
    def watched(self) -> list[Watched]:
        """The newest pods as a soak watches them."""
        return [
            Watched(pod["metadata"]["name"], pod["metadata"]["uid"], is_ready(pod), sum(restarts(pod).values()))
            for pod in self.newest
        ]

    @property
    def stuck(self) -> tuple[str, ...]:
        """The pods that a StatefulSet still waits for though it would make others by now.

        It replaces no pod before each of the others is ready, and that of a broken one never comes: so of what this
        release has put back, and of what was not ready before it came. Only pods that bear a value which the template
        has no more are among them, and none that a partition leaves alone.
        """
        if self.document["kind"] != "StatefulSet":
            return ()
        former = Live.FROM if Live.TO in self.values else Live.TO
        pods = [pod for pod in pods_of(self._cluster, self.document) if not is_ready(pod) and self._bears(pod, former)]
        return tuple(pod["metadata"]["name"] for pod in pods if is_replaced(self.document, pod))

    def _bears(self, pod: Document, former: Live) -> bool:
        found = workload.live_values(as_template(pod), self._target.bindings)
        return any(one.judge(value) is former for one, value in zip(self._target.bindings, found, strict=True))
