"""What real pods show: as vLLM and Triton say it, over HTTPS and with a key; and what is said when they do not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from certificates import Authority
from kubectl import program
from kubernetes import client
from rollouts import drive

from modelberth.core import hopeless
from modelberth.core.confirm import Confirm, Probe, Smoke
from modelberth.operators.rollout import _not_live

KEY = "hunter2-" + uuid.uuid4().hex


def command(*words: str):
    """Return what gives the server a command line that it does not read."""

    def shape(document):
        [container] = document["spec"]["template"]["spec"]["containers"]
        container["args"] = list(words)

    return shape


def confirmed(one):
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    return one.outcome()["pods"]


def put_back(one) -> str:
    stop = drive(one.rollout())
    assert stop.status == "put back", stop.reason
    assert one.stand.bound(one.name, one.target.workload.kind) == one.before
    return stop.reason


def refused(one) -> str:
    stop = drive(one.rollout())
    assert stop.status == "refused", stop.reason
    assert one.stand.bound(one.name, one.target.workload.kind) == one.before
    assert one.evidence.find("started", one.name) is None
    return stop.reason


VLLM = Confirm("reported", 8000, "/v1/models", "vllm")
TRITON = Confirm("reported", 8000, "/v2/repository/index", "triton")


def test_vllm_confirms_by_the_root_of_a_model_and_is_put_back_by_another(release):
    args = command("serve", "$(MODEL_PATH)")
    [pod] = confirmed(release(confirm=VLLM, shape=args).ready())
    assert pod["in_command"] == ["server/MODEL_PATH"]
    assert "no model whose root is" in put_back(release("liar", confirm=VLLM).ready())


def test_triton_confirms_by_its_index_and_its_command_and_is_put_back_by_a_model_that_failed(release):
    args = command("tritonserver", "--model-repository=$(MODEL_PATH)")
    confirmed(release(confirm=TRITON, shape=args).ready())
    assert "m version 1 UNAVAILABLE" in put_back(release("liar", confirm=TRITON).ready())


def test_triton_whose_command_names_no_variable_is_not_rolled_out(release):
    said = refused(release(confirm=TRITON, shape=command("tritonserver", "--model-repository=/models")).ready())
    assert "--model-repository=$(MODEL_PATH)" in said


def test_a_path_that_is_fixed_in_a_command_does_not_pass_as_the_variable(release):
    fixed = command("serve", f"/models/{release.name}/{'a' * 64}.1/files")
    assert "fixed in its command or args" in refused(release(shape=fixed).ready())


# --- HTTPS and a key ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secret(stand, tmp_path_factory):
    """Return a maker of Secrets that Airflow may name, and the one that servers have."""
    core, authority = client.CoreV1Api(stand.apps.api_client), Authority(tmp_path_factory.mktemp("pki"))
    authority.create()
    certificate, key = authority.issue("server", "server", (), ("embedder.serving",))

    def make(name: str, **values: str) -> str:
        core.create_namespaced_secret(stand.namespace, {"metadata": {"name": name}, "stringData": values})
        return name

    make("served", **{"tls.pem": certificate.read_text() + key.read_text(), "key": KEY})
    ours = {"X-API-Key": KEY, "ca.crt": authority.certificate.read_text(), "server-name": "embedder.serving"}
    make("probe", **ours)
    make("probe-wrong", **(ours | {"X-API-Key": "wrong"}))
    make("probe-other", **(ours | {"server-name": "another.serving"}))
    rights = {"data": {"secrets": "modelsync-bucket\nprobe\nprobe-wrong\nprobe-other\nprobe-missing"}}
    core.patch_namespaced_config_map("modelberth-rights", stand.namespace, rights)
    return core


def guarded(document):
    """Let the server speak HTTPS and ask for a key."""
    pod = document["spec"]["template"]["spec"]
    [container] = pod["containers"]
    container["env"] += [
        {"name": "TLS", "value": "/tls/tls.pem"},
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "served", "key": "key"}}},
    ]
    container["readinessProbe"]["httpGet"]["scheme"] = "HTTPS"
    container["volumeMounts"].append({"name": "tls", "mountPath": "/tls", "readOnly": True})
    pod["volumes"].append({"name": "tls", "secret": {"secretName": "served"}})


def by_probe(secret: str) -> Confirm:
    probe = Probe(secret, "https", os.environ["MODELSYNC_IMAGE"], "modelsync")
    smoke = (Smoke("/embed", {"text": "x"}, 201, "data", [1.0], 0.1),)
    return Confirm("behaved", 8000, "/modelz", smoke=smoke, probe=probe)


def test_pods_that_ask_for_https_and_a_key_are_asked_by_a_pod_that_has_them(stand, secret, release, monkeypatch):
    one = release(confirm=by_probe("probe"), shape=guarded, replicas=2).ready()
    seen = []
    assert drive(one.rollout(), until=lambda: bool(seen.extend(probes(secret, stand)) or seen)) is None
    assert KEY not in json.dumps(client.ApiClient().sanitize_for_serialization(seen[0]))
    assert [not pod["problems"] for pod in confirmed(one)] == [True, True]
    assert not probes(secret, stand)
    written = [one.evidence.find(step, one.name) for step in ("started", "decided", "outcome")]
    assert KEY not in json.dumps(written)
    monkeypatch.setattr("modelberth.core.rollout.ENOUGH_ATTEMPTS", 1)
    for wrong, said in (("probe-wrong", "answered 401"), ("probe-other", "certificate is refused")):
        reason = put_back(release(confirm=by_probe(wrong)).ready())
        assert said in reason
        assert KEY not in reason
    assert not probes(secret, stand)


def test_a_probe_whose_secret_is_missing_says_so_and_leaves_no_pod(stand, secret, release, monkeypatch):
    monkeypatch.setattr("modelberth.kubernetes.probe.PATIENCE", 3)
    monkeypatch.setattr("modelberth.core.rollout.ENOUGH_ATTEMPTS", 1)
    reason = put_back(release(confirm=by_probe("probe-missing")).ready())
    assert "the probe pod has not asked it within 3 s" in reason
    assert not probes(secret, stand)


def probes(core, stand) -> list:
    return core.list_namespaced_pod(stand.namespace, label_selector="modelberth.dev/step=probe").items


# --- what is said about a failure ---------------------------------------------------------------------------------


def test_a_failure_says_what_the_pods_said_and_how_to_put_back_by_hand(stand, release, monkeypatch):
    monkeypatch.setattr(hopeless, "ENOUGH_RESTARTS", 1)
    one = release("crash", ready_within=300).ready()
    reason = put_back(one)
    assert "will not become ready" in reason
    outcome = one.outcome()
    [found] = outcome["found"]
    assert any("CUDA out of memory" in line for line in found["log"])
    assert any("Started" in event or "Back-off" in event for event in found["events"])
    error = _not_live(one.name, outcome)
    for part in ("CUDA out of memory", "to put back by hand: kubectl", "The former revision was put back"):
        assert part in error
    stand.set_path(one.name, one.to)
    [line] = outcome["by_hand"]["put_back"]
    subprocess.run([program(), *shlex.split(line)[1:]], check=True, capture_output=True)
    assert stand.bound(one.name) == one.before


def never_had(document):
    [container] = document["spec"]["template"]["spec"]["containers"]
    container |= {"image": "docker.io/library/never:1", "imagePullPolicy": "Never"}


def test_an_image_that_can_never_be_had_is_not_waited_for(stand, release):
    one = release(shape=never_had, replicas=0, ready_within=300)
    stand.change(one.name, {"spec": {"replicas": 1}})
    stop = drive(one.ready().rollout())
    assert stop.status == "put back"
    assert "ErrImageNeverPull" in stop.reason
    assert outcome_within(one, timedelta(seconds=60))


def outcome_within(one, span: timedelta) -> bool:
    started = one.evidence.read("started", one.name)["at"]
    return datetime.now(UTC) - datetime.fromisoformat(started) < span


def test_a_pod_that_no_node_has_room_for_is_waited_for_and_then_put_back(release):
    def apart(document):
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": document["spec"]["selector"]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        document["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": required}

    one = release(shape=apart, ready_within=5).ready()
    reason = put_back(one)
    assert "was not ready in time" in reason
    assert "anti-affinity" in reason
    [found] = one.outcome()["found"]
    assert any(event.startswith("FailedScheduling") for event in found["events"])


def test_a_deployment_that_exceeds_its_progress_deadline_is_put_back(stand, release):
    one = release("unready", ready_within=300).ready()
    assert drive(one.rollout(), until=lambda: stand.bound(one.name) == one.to) is None
    stand.change(one.name, {"spec": {"progressDeadlineSeconds": 4}})
    assert "exceeded its progress deadline" in put_back(one)


def test_a_deployment_whose_progress_deadline_is_shorter_than_the_plan_has_it_is_not_rolled_out(release):
    def hasty(document):
        document["spec"]["progressDeadlineSeconds"] = 4

    assert "gives up after 4 s" in refused(release(shape=hasty, ready_within=300).ready())
