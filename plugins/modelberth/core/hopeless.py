"""Whether pods that are not ready can become so: some waits are not worth the rest of ``ready_within``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ENOUGH_RESTARTS = 3
"""A container that was started four times and is not ready: Kubernetes' own pauses between them were 10 and 20 s."""

ENOUGH_TRIES = 60.0
"""Seconds in which the kubelet tries a pull three times: at once, after 10 s and after 30 s."""

NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Why a container waits though nothing in the cluster will change it."""

TRIED = frozenset({"ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError"})
"""Why a container waits for what may come: a registry that is down, a Secret that is made a little later."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one container of a pod stands.

    :param waiting: Kubernetes' reason why it does not run; empty where it runs or has ended.
    :param seconds: Since its pod was given to a node.
    """

    pod: str
    container: str
    ready: bool
    waiting: str
    restarts: int
    seconds: float


def hopeless(containers: Iterable[Standing]) -> str | None:
    """Return why waiting for *containers* cannot help, None while it may.

    ready | waits because                              | restarts | its pod began  | hopeless
    ------+--------------------------------------------+----------+----------------+---------
    yes   | any                                        | any      | any            | no
    no    | InvalidImageName, ErrImageNeverPull        | any      | any            | yes
    no    | image or configuration cannot be had       | any      | < 60 s ago     | no
    no    | image or configuration cannot be had       | any      | 60 s ago, more | yes
    no    | any other reason, or none                  | < 3      | any            | no
    no    | any other reason, or none                  | 3, more  | any            | yes: crashes, or its probe ends it

    A pod that no node has room for is not among these: a node may come, so it has all of ``ready_within``.
    """
    for one in containers:
        if not one.ready and (why := _why(one)):
            return f"pod {one.pod}: {one.container} {why}"
    return None


def _why(one: Standing) -> str:
    if one.waiting in NEVER or (one.waiting in TRIED and one.seconds >= ENOUGH_TRIES):
        return one.waiting
    if one.waiting not in TRIED and one.restarts >= ENOUGH_RESTARTS:
        return f"was started {one.restarts + 1} times and is not ready"
    return ""
