"""Whether what came first stays well while it is watched."""

from __future__ import annotations

import pytest

from modelberth.core.soak import Watched, problems

BEFORE = {"u1": 1}


def pod(uid: str = "u1", *, ready: bool = True, restarts: int = 1) -> Watched:
    return Watched(f"pod-{uid}", uid, ready, restarts)


NEW = pod("u2", restarts=0)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([pod()], []),
        ([pod(restarts=2)], ["pod pod-u1 was started again"]),
        ([pod(), pod("u2", restarts=1)], ["pod pod-u2 was started again"]),
        ([pod(), pod("u2", ready=False, restarts=0)], []),
        ([pod(ready=False), NEW], ["pod pod-u1 is not ready any more"]),
        ([NEW], []),
        ([pod("u2", ready=False, restarts=0)], ["no new pod is ready"]),
        ([pod(ready=False)], ["pod pod-u1 is not ready any more", "no new pod is ready"]),
        ([], ["no new pod is ready"]),
    ],
)
def test_a_pod_that_does_not_stay_well_is_told(now, said):
    assert problems(BEFORE, now) == said
