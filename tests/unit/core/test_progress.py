"""Completion, row by row of its truth table."""

from __future__ import annotations

import pytest

from modelberth.core.progress import Counts, State, progress


def deployment(**changes) -> Counts:
    whole = {"generation": 2, "observed_generation": 2, "replicas": 3}
    pods = {"status_replicas": 3, "updated": 3, "ready": 3, "available": 3}
    return Counts(kind="Deployment", **(whole | pods | changes))


def stateful_set(**changes) -> Counts:
    whole = {"generation": 2, "observed_generation": 2, "replicas": 3, "ready": 3, "updated": 3}
    return Counts(kind="StatefulSet", **(whole | {"current_revision": "b", "update_revision": "b"} | changes))


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        (deployment(), State.COMPLETE),
        (deployment(observed_generation=1), State.WAITING),
        (deployment(observed_generation=0), State.WAITING),
        (deployment(deadline_exceeded=True), State.FAILED),
        (deployment(deadline_exceeded=True, observed_generation=1), State.WAITING),
        (deployment(updated=2), State.WAITING),
        (deployment(status_replicas=4), State.WAITING),
        (deployment(available=2), State.WAITING),
        (deployment(replicas=0, status_replicas=0, updated=0, ready=0, available=0), State.COMPLETE),
        (stateful_set(), State.COMPLETE),
        (stateful_set(observed_generation=0), State.WAITING),
        (stateful_set(observed_generation=1), State.WAITING),
        (stateful_set(ready=2), State.WAITING),
        (stateful_set(current_revision="a"), State.WAITING),
        (stateful_set(updated=2), State.WAITING),
        (stateful_set(current_revision="a", partition=2, updated=1), State.COMPLETE),
        (stateful_set(current_revision="a", partition=2, updated=0), State.WAITING),
    ],
)
def test_a_rollout_is_complete_when_kubectl_says_so(counts, state):
    assert progress(counts).state is state
