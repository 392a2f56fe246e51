"""A part first, watched for a while: on real pods, whatever happens in the middle of it."""

from __future__ import annotations

import pytest
from kubernetes import client
from rollouts import drive

from modelberth.core.plan import Canary
from modelberth.kubernetes.workload import LOCK, notes, strategy

KIND = "StatefulSet"


@pytest.fixture
def canary(stand, release, monkeypatch):
    """Return a maker of releases to a StatefulSet of two pods, the second of which comes first."""
    monkeypatch.setattr("modelberth.kubernetes.asked.SOAK_PAUSE", 0.5)
    core = client.CoreV1Api(stand.apps.api_client)
    core.patch_namespaced_config_map("modelberth-rights", stand.namespace, {"data": {"canaries": release.name}})

    def make(soak: int = 4):
        return release(kind=KIND, replicas=2, canary=Canary(1, soak)).ready()

    return make


def partition(one) -> int:
    return strategy(one.stand.read(one.name, KIND))["rollingUpdate"]["partition"]


def served(one) -> dict[str, str]:
    """Return what each pod serves."""
    core = client.CoreV1Api(one.stand.apps.api_client)
    pods = core.list_namespaced_pod(one.stand.namespace, label_selector=f"app={one.name}").items
    return {
        pod.metadata.name.rpartition("-")[2]: entry.value
        for pod in pods
        for entry in pod.spec.containers[0].env
        if entry.name == "MODEL_PATH"
    }


def soaking(one):
    """Return whether the soak has begun, as a condition for ``drive``."""
    return lambda: one.evidence.find("soaking", one.name) is not None


def assert_put_back(one, stop, said: str) -> None:
    assert stop.status == "put back", stop.reason
    assert said in stop.reason
    assert partition(one) == 0
    assert served(one) == {"0": one.before, "1": one.before}
    assert LOCK not in notes(one.stand.read(one.name, KIND))


def test_the_rest_follows_what_has_soaked_and_the_partition_is_as_it_was(stand, canary):
    one = canary()
    before = strategy(stand.read(one.name, KIND))
    rollout = one.rollout()
    assert drive(rollout, until=soaking(one)) is None
    rollout.step()
    assert partition(one) == 1
    assert served(one) == {"0": one.before, "1": one.to}
    stop = drive(one.rollout())  # by another process than the one that began it
    assert stop.status == "live", stop.reason
    assert strategy(stand.read(one.name, KIND)) == before
    assert served(one) == {"0": one.to, "1": one.to}
    assert len(one.outcome()["pods"]) == 2
    assert list(one.evidence.read("decided", one.name)["previous"]) == [
        f"08-soaking-{one.name}",
        f"08-started-{one.name}",
    ]


def test_what_does_not_stay_well_is_put_back_before_the_rest_is_touched(stand, canary):
    one = canary(soak=300)
    rollout = one.rollout()
    drive(rollout, until=soaking(one))
    [first] = [pod for pod in pods(one) if pod.metadata.name.endswith("-0")]
    (stand.claim / one.name / str(one.snapshot) / "files" / "unready").touch()
    assert_put_back(one, drive(rollout), "it did not stay well")
    assert first.metadata.uid in {pod.metadata.uid for pod in pods(one)}
    assert "unready" not in str(one.outcome()["by_hand"])
    assert "/spec/updateStrategy/rollingUpdate/partition" in str(one.outcome()["by_hand"]["put_back"])


def pods(one) -> list:
    core = client.CoreV1Api(one.stand.apps.api_client)
    return core.list_namespaced_pod(one.stand.namespace, label_selector=f"app={one.name}").items


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_is_ended_after_any_step_is_put_back(canary, steps):
    one = canary()
    dying = one.rollout()
    for _ in range(steps):
        dying.step()
    settling = one.rollout()
    settling.end("its run ended")
    assert_put_back(one, drive(settling), "its run ended")


def test_what_is_ended_while_it_soaks_is_put_back(canary):
    one = canary(soak=300)
    drive(one.rollout(), until=soaking(one))
    settling = one.rollout()
    settling.end("a person ended its task")
    assert_put_back(one, drive(settling), "a person ended its task")


def test_a_person_who_moves_the_partition_ends_it_and_is_not_overwritten(stand, canary):
    one = canary(soak=300)
    rollout = one.rollout()
    drive(rollout, until=soaking(one))
    stand.change(one.name, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}, KIND)
    stop = drive(rollout)
    assert stop.status == "put back"
    assert "changed its partition" in stop.reason
    assert partition(one) == 2
    assert stand.bound(one.name, KIND) == one.before


def test_a_whole_deployment_soaks_before_it_counts_as_live(release, monkeypatch):
    monkeypatch.setattr("modelberth.kubernetes.asked.SOAK_PAUSE", 0.5)
    one = release(canary=Canary(None, 3)).ready()
    rollout = one.rollout()
    drive(rollout, until=soaking(one))
    assert one.evidence.find("decided", one.name) is None
    assert drive(rollout).status == "live"


def test_a_canary_that_airflow_may_not_make_changes_nothing(stand, release):
    core = client.CoreV1Api(stand.apps.api_client)
    core.patch_namespaced_config_map("modelberth-rights", stand.namespace, {"data": {"canaries": "another"}})
    one = release(kind=KIND, replicas=2, canary=Canary(1, 4)).ready()
    stop = drive(one.rollout())
    assert stop.status == "put back"
    assert "modelberth-rights" in stop.reason
    assert served(one) == {"0": one.before, "1": one.before}
