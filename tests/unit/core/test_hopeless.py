"""Which waits are not worth the rest of the time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelberth.core.hopeless import Standing, hopeless

ONE = Standing("a-1", "server", ready=False, waiting="", restarts=0, seconds=10.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"seconds": 3600.0}, None),
        ({"waiting": "ContainerCreating", "seconds": 3600.0}, None),
        ({"waiting": "InvalidImageName"}, "InvalidImageName"),
        ({"waiting": "ErrImageNeverPull"}, "ErrImageNeverPull"),
        ({"waiting": "ErrImagePull"}, None),
        ({"waiting": "ImagePullBackOff", "seconds": 59.0}, None),
        ({"waiting": "ImagePullBackOff", "seconds": 60.0}, "ImagePullBackOff"),
        ({"waiting": "ErrImagePull", "seconds": 60.0}, "ErrImagePull"),
        ({"waiting": "CreateContainerConfigError", "seconds": 60.0}, "CreateContainerConfigError"),
        ({"waiting": "CrashLoopBackOff", "restarts": 2}, None),
        ({"waiting": "CrashLoopBackOff", "restarts": 3}, "started 4 times"),
        ({"restarts": 3}, "started 4 times"),
        ({"restarts": 3, "ready": True}, None),
        ({"waiting": "ImagePullBackOff", "restarts": 3}, None),
        ({"waiting": "ErrImageNeverPull", "ready": True}, None),
    ],
)
def test_what_will_not_become_ready_is_not_waited_for(changes, said):
    found = hopeless([replace(ONE, **changes)])
    assert (found is None) if said is None else (said in found and "pod a-1: server" in found)


def test_one_hopeless_pod_is_enough():
    assert hopeless([ONE, replace(ONE, pod="a-2", restarts=5)])
    assert hopeless([]) is None
