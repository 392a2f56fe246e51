"""Under constant load on the Service a switch loses no request, whether it is kept or put back.

The reference server serves the real model in two forms; the load comes from outside of the cluster, through a node's
port. How much it was and what became of it is in the test's properties, which `make bench` prints (figure ROLLOUT).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import minilm
import pytest
import yaml
from kubernetes import client, config
from rollouts import drive

from load import constant_load
from modelberth.core.confirm import Confirm, Smoke
from modelberth.core.revision import Revision, Snapshot

if TYPE_CHECKING:
    from rollouts import Releases, Stand

PROJECT = Path(__file__).resolve().parents[2]
WARM = 300
"""Requests before and after each thing that is measured."""

LONGEST_GAP = 2.0
"""Seconds: two processors compute for the load, the server and all of Kubernetes; a switch itself takes no time."""


FORMS = ("fp32", "int8")


@pytest.fixture
def snapshots(stand: Stand, release: Releases, tmp_path: Path) -> dict[str, Snapshot]:
    """Both forms of the model on the claim, brought there by our own program."""
    (tmp_path / "bucket").mkdir()
    return {form: staged(stand, release.name, tmp_path, form) for form in FORMS}


def staged(stand: Stand, model: str, scratch: Path, form: str) -> Snapshot:
    minilm.put_model(scratch / form, form)
    bucket = f"file://{scratch / 'bucket'}"
    revision = program("upload", str(scratch / form), bucket, "--model", model)["revision"]
    return Snapshot.parse(program("sync", bucket, str(stand.claim), "--revision", revision)["snapshot"])


def program(*arguments: str) -> dict[str, Any]:
    """Return what our program says in the end."""
    command = [str(Path(sys.executable).with_name("modelberth")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def address(stand: Stand, release: Releases, snapshots: dict[str, Snapshot]) -> tuple[str, int]:
    """Where the node answers for the reference server, as include/kubernetes has it, serving the fp32 form."""
    text = (PROJECT / "include/kubernetes/serving.yaml").read_text()
    deployment, service = (
        json.loads(json.dumps(one).replace('"embedder"', json.dumps(release.name))) for one in yaml.safe_load_all(text)
    )
    [server] = deployment["spec"]["template"]["spec"]["containers"]
    server["image"], server["env"][0]["value"] = stand.image, serving_path(release.name, snapshots["fp32"])
    stand.apps.create_namespaced_deployment(stand.namespace, deployment)
    service["spec"]["type"] = "NodePort"
    core = client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))
    [port] = core.create_namespaced_service(stand.namespace, service).spec.ports
    stand.wait_complete(release.name)
    return reached((str(urlsplit(os.environ["S3_ENDPOINT_URL"]).hostname), port.node_port))


def reached(address: tuple[str, int], within: float = 30) -> tuple[str, int]:
    """Wait until the node knows the Service's new port, which is some time after its pods are ready."""
    deadline = time.monotonic() + within
    while True:
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            assert time.monotonic() < deadline, address
            time.sleep(0.1)
        else:
            return address


def serving_path(model: str, snapshot: Snapshot) -> str:
    return f"/models/{model}/{snapshot}/files"


def wait_rolled_out(stand: Stand, name: str) -> None:
    command = [os.environ["KUBECTL"], "rollout", "status", f"deployment/{name}", "--timeout=90s"]
    subprocess.run([*command, f"--namespace={stand.namespace}"], check=True, capture_output=True)


def asked(json_path: str) -> dict[str, Any]:
    """Return what a release asks of its pods: an embedding that has something at *json_path*."""
    smoke = Smoke("/embed", {"text": "x"}, 200, json_path)
    return {"confirm": Confirm("behaved", 8000, "/modelz", smoke=(smoke,)), "ready_within": 120}


def test_a_switch_and_an_automatic_rollback_lose_no_request(release, address, snapshots, record_property):
    with constant_load(address) as load:
        load.wait_for(WARM)
        assert drive(release.of(snapshots["int8"], **asked("embedding.0")).ready().rollout()).status == "live"
        load.wait_for(WARM)
        # It is ready and serves before its confirmation fails: the put-back replaces pods that have requests.
        assert drive(release.of(snapshots["fp32"], **asked("nothing.like.it")).ready().rollout()).status == "put back"
        load.wait_for(WARM)
    record_property("sent", load.sent)
    record_property("lost", len(load.lost))
    record_property("longest_gap", round(load.longest_gap, 3))
    assert load.lost == [], load.lost
    assert load.revisions == [str(Revision(release.name, snapshots[form].digest)) for form in FORMS]
    assert load.longest_gap < LONGEST_GAP


def test_a_switch_that_ends_the_old_pod_first_loses_requests_which_this_load_sees(release, address, stand):
    stand.change(release.name, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})
    with constant_load(address) as load:
        load.wait_for(WARM)
        stand.change(release.name, {"spec": {"template": {"metadata": {"labels": {"again": "1"}}}}})
        wait_rolled_out(stand, release.name)
        load.wait_for(WARM)
    assert load.lost
