"""Rights that go away in the middle of a rollout: for a moment, as when an API server restarts, or for good."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rollouts import drive

from modelberth.kubernetes import rollout as doing
from modelberth.kubernetes.client import Cluster, ForbiddenError, workload_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollouts import Release

BINDING = "modelberth-airflow"


@contextmanager
def without_rights(one: Release) -> Iterator[None]:
    """Take Airflow's role away: an API server that has not read the roles yet answers the same."""

    def kubectl(*words: str, told: bytes = b"") -> bytes:
        command = [os.environ["KUBECTL"], f"--namespace={one.stand.namespace}", *words]
        return subprocess.run(command, input=told, check=True, capture_output=True).stdout

    binding = json.loads(kubectl("get", "rolebinding", BINDING, "--output=json"))
    kubectl("delete", "rolebinding", BINDING)
    try:
        yield
    finally:
        kubectl("create", "--filename=-", told=json.dumps(binding | {"metadata": {"name": BINDING}}).encode())
        while is_forbidden(one):
            pass


def is_forbidden(one: Release) -> bool:
    try:
        Cluster("test_kubernetes").get(workload_path(one.stand.namespace, "Deployment", one.name))
    except ForbiddenError:
        return True
    return False


def patched(one: Release) -> bool:
    return one.stand.bound(one.name) == one.to


def test_rights_that_are_refused_for_a_moment_change_nothing(stand, release):
    one = release("unready", ready_within=300).ready()
    rollout = one.rollout()
    drive(rollout, until=lambda: patched(one))
    with without_rights(one):
        drive(rollout, until=lambda: is_forbidden(one))
        assert [rollout.step().stop for _ in range(3)] == [None] * 3
    (stand.claim / one.name / str(one.snapshot) / "files" / "unready").unlink()
    stop = drive(rollout)
    assert stop.status == "live", stop.reason


def test_a_rollout_whose_rights_were_taken_away_says_so_and_is_put_back_when_they_are_there_again(release, monkeypatch):
    monkeypatch.setattr(doing, "STARTS_WITHIN", 1.0)
    one = release("unready", ready_within=300).ready()
    rollout = one.rollout()
    drive(rollout, until=lambda: patched(one))
    with without_rights(one):
        drive(rollout, until=lambda: is_forbidden(one))
        stop = drive(rollout)
        assert stop.status == "refused"
        assert "cannot get resource" in stop.reason
    settling = one.rollout()
    settling.end("its run ended")
    assert drive(settling).status == "put back"
    assert one.stand.bound(one.name) == one.before
