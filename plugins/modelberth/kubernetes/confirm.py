"""Asking pods whether they serve what was approved: through the API server, or by a probe pod that has a key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from modelberth.core.confirm import answers_problems
from modelberth.core.probe import Order, Serving
from modelberth.core.reports import Named
from modelberth.kubernetes import workload
from modelberth.kubernetes.client import ClusterRefusedError
from modelberth.kubernetes.declared import as_template, declared, named_in_command
from modelberth.kubernetes.pods import restarts
from modelberth.kubernetes.probe import ProbePod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.plan import Plan, Target
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]


@dataclass
class Shown:
    """What the pods have shown: a line of evidence for each, and what is missing."""

    pods: list[Document] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Confirming:
    """The asking of one target's pods. What it waits for is a pod of ours, so it may be begun again anywhere."""

    def __init__(self, cluster: Cluster, plan: Plan, target: Target) -> None:
        self._cluster, self._target = cluster, target
        self._named = _named(plan, target)
        asked = target.confirm
        self._probe = (
            ProbePod(cluster, plan, target, asked.probe) if asked.probe and asked.level != "declared" else None
        )

    def shown(self, pods: Sequence[Document]) -> Shown | None:
        """Return what the ready *pods* show; None while the probe pod has not ended: ask again then."""
        asked = self._asked(pods)
        if asked is None:
            return None
        shown = Shown()
        for pod in pods:
            name = pod["metadata"]["name"]
            problems = [*declared(self._target, pod), *asked.get(name, ())]
            shown.problems += [f"pod {name}: {problem}" for problem in problems]
            shown.pods.append(_evidence(pod, self._target, problems))
        return shown

    def close(self) -> None:
        """Leave no probe pod behind, if that is allowed; it ends by itself as well."""
        if self._probe:
            with suppress(ClusterRefusedError):
                self._probe.remove()

    def _asked(self, pods: Sequence[Document]) -> dict[str, list[str]] | None:
        """Return the problems with each pod's answers, by the pod's name."""
        if self._probe is None:
            return {pod["metadata"]["name"]: self._by_proxy(pod) for pod in pods}
        if not pods:
            return {}
        asked = self._target.confirm
        serving = [Serving(pod["metadata"]["name"], pod["status"].get("podIP", "")) for pod in pods]
        scheme = asked.probe.scheme if asked.probe else ""
        return self._probe.problems(Order(scheme, asked, self._named, tuple(serving)))

    def _by_proxy(self, pod: Document) -> list[str]:
        asked, name = self._target.confirm, pod["metadata"]["name"]
        proxy = f"/api/v1/namespaces/{self._target.namespace}/pods/{name}:{asked.port}/proxy"
        return answers_problems(asked, self._named, lambda path, body: self._cluster.ask(proxy + path, body))


def missing(document: Document, shown: Shown) -> list[str]:
    """Return why it is not every new pod of *document* that was asked; zero pods never are enough."""
    wanted = max(1, workload.replicas(document) - (workload.counts(document).partition or 0))
    return [f"{len(shown.pods)} of {wanted} new pods are ready"] if len(shown.pods) < wanted else []


def _named(plan: Plan, target: Target) -> tuple[Named, ...]:
    """Return what a report has to name, for each binding."""
    revisions, to = plan.revisions, {binding.to for binding in target.bindings}
    return tuple(
        Named(one.to, str(revisions[one.model]), None if one.from_ in to else one.from_) for one in target.bindings
    )


def _evidence(pod: Document, target: Target, problems: list[str]) -> Document:
    images = {status["name"]: status.get("imageID", "") for status in pod["status"].get("containerStatuses") or []}
    named = partial(named_in_command, as_template(pod))
    return {
        "pod": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
        "node": pod["spec"].get("nodeName", ""),
        "images": images,
        "restarts": restarts(pod),
        "level": target.confirm.level,
        "in_command": [str(binding) for binding in target.bindings if named(binding)],
        "problems": problems,
    }
