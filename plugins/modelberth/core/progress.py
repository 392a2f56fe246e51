"""How far Kubernetes is with a rollout: the rule of ``kubectl rollout status``, whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How far Kubernetes is with what the workload asks for."""

    WAITING = "waiting"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """A state and what there is to say about it."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a workload's spec and status say, named as Kubernetes names them."""

    kind: str
    generation: int
    observed_generation: int
    replicas: int
    status_replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    deadline_exceeded: bool = False
    """Progressing says ProgressDeadlineExceeded, of the rollout that goes on."""

    partition: int | None = None
    current_revision: str = ""
    update_revision: str = ""

    @property
    def is_seen(self) -> bool:
        """Whether the controller has seen the newest change, so that the status is about it."""
        return self.observed_generation > 0 and self.observed_generation >= self.generation


def progress(counts: Counts) -> Progress:
    """Return how far a rollout is, by the rule of ``kubectl rollout status``.

    Deployment, first row that holds                 | state
    -------------------------------------------------+---------
    generation > observedGeneration                  | waiting
    Progressing says ProgressDeadlineExceeded        | failed
    updated < replicas                               | waiting
    status.replicas > updated (old pods remain)      | waiting
    available < updated                              | waiting
    else                                             | complete

    StatefulSet, first row that holds                | state
    -------------------------------------------------+---------
    observedGeneration 0 or < generation             | waiting
    ready < replicas                                 | waiting
    partition, and updated < replicas - partition    | waiting
    partition                                        | complete
    updateRevision != currentRevision                | waiting
    updated < replicas (kubectl does not ask)        | waiting
    else                                             | complete
    """
    if not counts.is_seen:
        return Progress(State.WAITING, "the controller has not seen the change yet")
    rule = _deployment if counts.kind == "Deployment" else _stateful_set
    return rule(counts)


def _deployment(counts: Counts) -> Progress:
    if counts.deadline_exceeded:
        return Progress(
            State.FAILED,
            f"it exceeded its progress deadline: {counts.available} of {counts.replicas} updated pods available",
        )
    if counts.updated < counts.replicas:
        return Progress(State.WAITING, f"{counts.updated} of {counts.replicas} pods updated")
    if counts.status_replicas > counts.updated:
        return Progress(State.WAITING, f"{counts.status_replicas - counts.updated} old pods are still there")
    if counts.available < counts.updated:
        return Progress(State.WAITING, f"{counts.available} of {counts.updated} updated pods available")
    return Progress(State.COMPLETE)


def _stateful_set(counts: Counts) -> Progress:
    if counts.ready < counts.replicas:
        return Progress(State.WAITING, f"{counts.ready} of {counts.replicas} pods ready")
    if counts.partition:
        wanted = counts.replicas - counts.partition
        if counts.updated < wanted:
            return Progress(State.WAITING, f"{counts.updated} of {wanted} pods beyond the partition updated")
        return Progress(State.COMPLETE)
    # Back on the template from before, both revisions are the same at once, while pods still have the other one.
    if counts.update_revision != counts.current_revision or counts.updated < counts.replicas:
        return Progress(State.WAITING, f"{counts.updated} of {counts.replicas} pods updated")
    return Progress(State.COMPLETE)
