"""Whatever happens in the middle of a rollout, the workload ends in one of its two whole states; receipts say which.

Each release here is held in the middle: its workload is patched, and its new pod is ready when a file on the claim is
gone (``let_go``). Then something happens to it. What comes before the rollout was not run: its tasks are marked, and
its evidence is signed with this Airflow's own key.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import machine
import pytest
from airflow_client import AirflowError
from kubernetes.client import ApiException
from settings import Settings
from urllib3.exceptions import HTTPError

from modelberth.core.confirm import Confirm
from modelberth.kubernetes.workload import LOCK, revision_note

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
import rollouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_client import Run
    from conftest import Model, Stand
    from supervise import Supervisor

PROJECT = Path(__file__).resolve().parents[2]
MODELS = (
    *("failed", "succeeded", "paused", "unlisted", "broken", "taken", "again"),
    *("scheduler", "api-server", "triggerer", "kube-apiserver"),
)
"""One for each thing that happens."""

BEFORE = ("bucket.resolve", "bucket.upload", "claim.{}.sync", "claim.{}.verify", "gate.plan", "gate.approve")


@dataclass(frozen=True)
class Held:
    """A release in the middle of its rollout."""

    model: Model
    release: rollouts.Release
    run: Run

    def let_go(self) -> None:
        """Let the new pod become ready."""
        (self.model.claim / str(self.release.snapshot) / "files" / "unready").unlink()

    def ends_whole(self, result: str, value: str | None = None) -> dict[str, Any]:
        """Require that it ends as *result*, and that the workload is so: variable, annotations, lock, and its pods.

        :param value: What a person set meanwhile.
        """
        model, wait = self.model, self.model.stand.admin.wait
        found: dict[str, Any] = wait(f"The outcome of {model.name}", self.release.outcome, 240)
        assert found["result"] == result, found
        live = result == "live"
        expected = value or (self.release.to if live else self.release.before)
        deployment = model.deployment()
        assert model.bound() == expected
        assert LOCK not in (deployment.metadata.annotations or {})
        note = (deployment.spec.template.metadata.annotations or {}).get(revision_note(model.name))
        assert value or note == (str(self.release.plan.own.revision) if live else None)
        wait(f"A pod that serves {expected}", lambda: serves(model) == expected, 60)
        return found


def serves(model: Model) -> str | None:
    """Return what the only ready pod of *model* serves."""
    pods = model.stand.core.list_namespaced_pod(model.stand.namespace, label_selector=f"app={model.name}").items
    ready = [pod for pod in pods if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)]
    values = [one.value for pod in ready for one in pod.spec.containers[0].env if one.name == "MODEL_PATH"]
    return values[0] if len(values) == 1 else None


@pytest.fixture(scope="module")
def bench(stand: Stand) -> Iterator[rollouts.Stand]:
    """What makes workloads and evidence, with the connections that this Airflow has."""
    connections = json.loads((stand.home / "airflow" / "connections.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        for name, one in (("test_receipts", "modelberth_receipts"), ("modelberth_signing", "modelberth_signing")):
            patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connections[one]))
        yield rollouts.Stand(
            stand.namespace, stand.receipts, "", stand.claim, os.environ["SERVER_IMAGE"], stand.apps, stand.s3
        )


@pytest.fixture(scope="module")
def held(stand: Stand, bench: rollouts.Stand) -> dict[str, Held]:
    """Releases in the middle of their rollouts."""
    makers = {name: rollouts.Releases(bench, name) for name in MODELS}
    for name, maker in makers.items():
        maker.serve()
        stand.catalog(name, stand.home, {}, {})
    for name in MODELS:
        stand.dag(f"release_{name}")
    pause(stand, "release_%")
    found = {name: prepared(stand, maker) for name, maker in makers.items()}
    pause(stand, "release_%", paused=False)
    for one in found.values():
        stand.admin.wait(f"The patch of {one.model.name}", lambda one=one: one.model.bound() == one.release.to, 240)
    return found


def prepared(stand: Stand, maker: rollouts.Releases) -> Held:
    """Make a run of a paused Dag, whose next task is the rollout."""
    model = stand.listed(maker.name)
    run = model.start()
    for task in (*BEFORE, "serving.{}.check"):
        written(stand, stand.admin.mark, run, task.format(maker.name), "success")
    confirm = Confirm("reported", 8000, "/modelz")
    release = maker("unready", connection="modelberth_kubernetes", confirm=confirm, ready_within=500)
    return Held(model, named(release, model.release_id(run)).ready(), run)


def pause(stand: Stand, dags: str, *, paused: bool = True) -> None:
    """Pause Dags, or let them go on.

    :param dags: Their id, with % for anything.
    """
    written(stand, stand.admin.send, "PATCH", f"dags?dag_id_pattern={quote(dags)}", {"is_paused": paused})


def written(stand: Stand, write: Callable[..., None], *arguments: Any) -> None:
    """Do it, again where SQLite was busy: it has one writer, and Airflow's own tasks write all the time."""

    def done() -> bool:
        try:
            write(*arguments)
        except AirflowError:
            return False
        return True

    stand.admin.wait(f"{write.__name__} {arguments}", done, 120)


def named(release: rollouts.Release, release_id: str) -> rollouts.Release:
    """Return *release* with the id of a run."""
    own = replace(release.plan.own, release_id=release_id)
    return replace(release, plan=replace(release.plan, release_id=release_id, models=(own,)))


# --- what people do -------------------------------------------------------------------------------------------------


def test_a_task_marked_failed_puts_back(stand, held):
    one = held["failed"]
    stand.admin.mark(one.run, one.model.task(one.run, "rollout"), "failed")
    assert "a person ended its task" in one.ends_whole("put back")["reason"]
    one.model.ended(one.run, "failed")


def test_a_task_marked_success_puts_back_and_the_release_fails(stand, held):
    one = held["succeeded"]
    stand.admin.mark(one.run, one.model.task(one.run, "rollout"), "success")
    assert "a person ended its task" in one.ends_whole("put back")["reason"]
    one.model.ended(one.run, "failed")


def test_a_paused_dag_does_not_stop_what_has_begun(stand, held):
    one = held["paused"]
    pause(stand, one.model.dag_id)
    one.let_go()
    one.ends_whole("live")
    assert stand.admin.state(one.run) == "running"
    pause(stand, one.model.dag_id, paused=False)
    one.model.ended(one.run, "success")


def test_catalog_files_that_are_removed_do_not_stop_what_has_begun(stand, held):
    one = held["unlisted"]
    files = [stand.home / "catalog" / kind / f"{one.model.name}.yaml" for kind in ("services", "models")]
    texts = [file.read_text() for file in files]
    for file in files:
        file.unlink()
    stand.admin.wait("The end of its Dag", lambda: stand.admin.get(f"dags/{one.model.dag_id}")["is_stale"], 240)
    one.let_go()
    one.ends_whole("live")
    for file, text in zip(reversed(files), reversed(texts), strict=True):
        file.write_text(text)
    one.model.ended(one.run, "success")


def test_a_catalog_file_that_breaks_puts_back_since_its_dag_is_another(stand, held):
    """The Dag says what is wrong with the file, and does not have the tasks of the run any more: nobody else would."""
    one = held["broken"]
    stand.write("models", one.model.name, "source: 3")
    one.ends_whole("put back")
    one.model.ended(one.run, "failed")


def test_a_person_who_sets_another_value_is_not_overwritten(bench, held):
    one = held["taken"]
    bench.set_path(one.model.name, "/models/by/hand")
    one.ends_whole("put back", "/models/by/hand")
    assert "another value" in one.release.outcome()["reason"]
    one.model.ended(one.run, "failed")


def test_another_release_of_the_same_workload_changes_nothing(stand, bench, held):
    one = held["again"]
    maker = rollouts.Releases(bench, one.model.name, serving=True, proposed=2, staged=2)
    pause(stand, one.model.dag_id)
    second = prepared(stand, maker)
    pause(stand, one.model.dag_id, paused=False)
    one.model.ended(second.run, "failed")
    assert f"release {one.release.plan.release_id} holds it" in stand.admin.log(
        second.run, one.model.task(second.run, "rollout")
    )
    assert second.release.outcome() is None
    assert one.model.bound() == one.release.to
    one.let_go()
    one.ends_whole("live")
    one.model.ended(one.run, "success")


# --- what dies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["scheduler", "api-server", "triggerer"])
def test_a_part_of_airflow_that_is_killed_strands_nothing(stand, held, part):
    one = held[part]
    with killed(stand.supervisor, f"airflow-{part}"):
        one.let_go()
        if part != "triggerer":  # it alone goes on with the rollout, the others see to tasks and people
            one.ends_whole("live")
    one.ends_whole("live")
    stand.admin.wait("The API server", lambda: answers(stand), 180)
    one.model.ended(one.run, "success")


def test_an_api_server_of_the_cluster_that_is_killed_strands_nothing(stand, held):
    one = held["kube-apiserver"]
    with killed(machine.machine(Settings(PROJECT)), "kube-apiserver"):
        one.let_go()
    stand.admin.wait("The cluster", lambda: answers_kubernetes(one.model), 60)
    one.ends_whole("live")
    one.model.ended(one.run, "success")


@contextmanager
def killed(supervisor: Supervisor, name: str) -> Iterator[None]:
    """End a part and its children, as the kernel does when a machine dies; it is started again whatever follows."""
    number = supervisor.call("getProcessInfo", name)["pid"]
    subprocess.run(supervisor.capsule.enter(["kill", "-KILL", "--", f"-{number}"]), check=True)
    while supervisor.state(name).running:
        time.sleep(0.05)
    try:
        yield
    finally:
        supervisor.call("startProcess", name)


def answers(stand: Stand) -> bool:
    try:
        stand.admin.get("version")
    except httpx.HTTPError:
        return False
    return True


def answers_kubernetes(model: Model) -> bool:
    try:
        model.deployment()
    except (ApiException, HTTPError):
        return False
    return True
