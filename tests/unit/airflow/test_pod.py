"""Sync, verify and check: the pod that is asked for, what its end means, and what they refuse to rest on."""

import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from kubernetes.client import ApiClient, ApiException, CoreV1Api
from kubernetes.client import models as k8s

from modelberth.catalog import load
from modelberth.core import plan as plans
from modelberth.core.revision import Revision, Snapshot
from modelberth.operators.check import CheckModelOperator
from modelberth.operators.sync import SyncModelOperator
from modelberth.operators.verify import VerifyModelOperator
from modelberth.receipts.damage import damage_record

HEX = "ab" * 32
REVISION = f"minilm@sha256:{HEX}"
SNAPSHOT = f"{HEX}.1"
STATS = f"sha256:{'cd' * 32}"
LOOKS = ["--content", "code", "--content", "headers"]
DONE = {
    "sync": {"command": "sync", "outcome": "ok", "exit_code": 0, "revision": REVISION, "snapshot": SNAPSHOT},
    "verify": {
        "command": "verify",
        "outcome": "ok",
        "exit_code": 0,
        "revision": REVISION,
        "snapshot": SNAPSHOT,
        "stats": STATS,
    },
    "check": {"command": "check", "outcome": "ok", "exit_code": 0, "revision": REVISION, "snapshot": SNAPSHOT},
}
MISMATCH = {"outcome": "mismatch", "exit_code": 20, "problems": ["Digest mismatch in 'a'."], "problem_count": 1}
EVENT = {"status": "success", "namespace": "serving", "name": "sync-minilm-x2"}


def pod(exit_code=0, message="", *, reason="Completed", phase=None):
    """Build a pod whose program has ended."""
    text = message if isinstance(message, str) else json.dumps(message)
    ended = k8s.V1ContainerStateTerminated(exit_code=exit_code, message=text, reason=reason)
    status = k8s.V1ContainerStatus(
        name="base",
        image="i",
        image_id="i",
        ready=False,
        restart_count=0,
        state=k8s.V1ContainerState(terminated=ended),
    )
    source = k8s.V1PersistentVolumeClaimVolumeSource(claim_name="models")
    volume = k8s.V1Volume(name="claim", persistent_volume_claim=source)
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="sync-minilm-x2", namespace="serving", labels={}),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")], node_name="node-1", volumes=[volume]),
        status=k8s.V1PodStatus(phase=phase or ("Failed" if exit_code else "Succeeded"), container_statuses=[status]),
    )


def running():
    """Build a pod whose program runs."""
    one = pod(phase="Running")
    one.status.container_statuses[0].state = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning())
    return one


@pytest.fixture
def api(monkeypatch):
    """The API server as the operators see it; ``there`` is the pod that it has."""
    client = MagicMock(spec=CoreV1Api, api_client=ApiClient())
    hook = MagicMock()
    hook.core_v1_client, hook.is_in_cluster, hook.get_namespace.return_value = client, False, None

    def there(pod):
        client.read_namespaced_pod.return_value = hook.get_pod.return_value = pod
        client.read_namespaced_pod_log.return_value = []

    monkeypatch.setattr(KubernetesPodOperator, "hook", hook)
    return SimpleNamespace(client=client, hook=hook, there=there)


@pytest.fixture
def uploaded(evidence):
    """The receipts of resolve and upload."""
    evidence.write("resolve", {"source_version": STATS})
    evidence.write("upload", {"revision": REVISION})
    return evidence


@pytest.fixture
def synced(uploaded):
    """... and of sync."""
    uploaded.write("sync", {**DONE["sync"], "node": "node-1", "pod": "p"}, target="embedder")
    return uploaded


@pytest.fixture
def verified(synced):
    """... and of verify."""
    synced.write("verify", {**DONE["verify"], "node": "node-2", "pod": "p"}, target="embedder")
    return synced


@pytest.fixture
def approved(verified):
    """... and of a plan that Alice approved."""
    plan = planned(verified)
    verified.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)})
    verified.write("approve", approval(plan))
    return verified


def approval(plan):
    return {
        "decision": "approve",
        "plan_digest": str(plan.digest),
        "responder": {"id": "alice", "name": "Alice"},
        "responded_at": "2026-01-02T03:04:05+00:00",
    }


def planned(evidence):
    """Return a plan of the release that *evidence* is about."""
    released = {"model": "minilm", "release_id": evidence.release_id}
    about = {"revision": REVISION, "source_version": STATS, "files": 1, "bytes": 7, "signed": []}
    return plans.parse({"schema": 2, **released, "models": [released | about], "gate": GATE, "targets": [TARGET]})


GATE = {
    "approvers": [{"id": "alice", "name": "Alice"}],
    "approvals": 1,
    "four_eyes": False,
    "requested_by": None,
    "answer_within": 604_800,
}
BINDING = {"model": "minilm", "container": "server", "variable": "MODEL_PATH", "from": None, "to": "/models/x"}
DECLARED = {"level": "declared", "port": None, "report": None, "style": "path", "smoke": [], "probe": None}
TARGET = {
    "name": "embedder",
    "service": "embedder",
    "connection": "modelberth_kubernetes",
    "namespace": "serving",
    "claim": "models",
    "workload": {"kind": "Deployment", "name": "embedder", "uid": "u"},
    "replicas": 1,
    "strategy": {"type": "RollingUpdate"},
    "served": [{"model": "minilm", "snapshot": SNAPSHOT, "revision_from": None, "difference": None}],
    "bindings": [BINDING],
    "ready_within": 120,
    "confirm": DECLARED,
    "capacity": {"verdict": "fits", "reasons": []},
    "canary": None,
    "preview": False,
}


def operator(kind):
    return kind(task_id="t", model="minilm", target="embedder")


def asked_for(api, kind, context, monkeypatch):
    """Return the pod that *kind* creates."""
    task = operator(kind)
    monkeypatch.setattr(task, "invoke_defer_method", lambda context=None: None)
    monkeypatch.setattr(task, "find_pod", lambda *_, **__: None)
    task.execute(context)
    (call,) = api.client.create_namespaced_pod.call_args_list
    return call.kwargs["body"]


def resume(kind, context, event=EVENT):
    """Resume the task in a new process, as Airflow does."""
    operator(kind).trigger_reentry(context, event)


def test_the_sync_pod_writes_the_claim_and_reads_the_bucket(api, uploaded, context, monkeypatch):
    body = asked_for(api, SyncModelOperator, context, monkeypatch)
    container = body["spec"]["containers"][0]
    assert container["command"] == ["modelberth"]
    assert container["args"] == ["sync", "s3://modelberth/models", "/claim", "--revision", REVISION]
    # Optional: without the Secret a pod would never start, and for an hour nothing would say why.
    assert container["envFrom"] == [{"secretRef": {"name": "modelsync-bucket", "optional": True}}]
    assert body["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": False}


@pytest.mark.parametrize(
    ("kind", "args", "read_only"),
    [
        (VerifyModelOperator, ["verify", "/claim", "--revision", REVISION, "--snapshot", SNAPSHOT, *LOOKS], True),
        (
            CheckModelOperator,
            ["check", "/claim", "--revision", REVISION, "--snapshot", SNAPSHOT, "--stats", STATS],
            False,
        ),
    ],
)
def test_the_proving_pods_have_no_credentials_and_only_check_may_write_to_lift_a_prunes_mark(
    api, approved, context, monkeypatch, kind, args, read_only
):
    body = asked_for(api, kind, context, monkeypatch)
    container = body["spec"]["containers"][0]
    assert container["args"] == args
    assert not container["envFrom"]
    assert container["volumeMounts"] == [{"mountPath": "/claim", "name": "claim", "readOnly": read_only}]
    assert body["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": read_only}


def test_verify_prefers_another_node_than_sync_had(api, synced, context, monkeypatch):
    body = asked_for(api, VerifyModelOperator, context, monkeypatch)
    (term,) = body["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (rule,) = term["preference"]["matchFields"]
    assert rule == {"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}


def test_every_pod_fits_the_restricted_standard_and_is_labelled(api, uploaded, context, monkeypatch):
    body = asked_for(api, SyncModelOperator, context, monkeypatch)
    spec, container = body["spec"], body["spec"]["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"] == {"memory": "256Mi"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "modelsync"
    assert spec["restartPolicy"] == "Never"
    assert len(spec["containers"]) == 1
    assert {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}} in container["env"]
    labels = body["metadata"]["labels"]
    assert labels["modelberth.dev/model"] == "minilm"
    assert labels["modelberth.dev/release"] == uploaded.release_id
    assert labels["modelberth.dev/step"] == "sync"


@pytest.fixture
def started(api, uploaded, monkeypatch):
    """A sync whose pod does not exist before it."""
    task = operator(SyncModelOperator)
    monkeypatch.setattr(task, "find_pod", lambda *_, **__: None)
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_KUBERNETES", json.dumps({"conn_type": "kubernetes", "extra": {}}))
    return task


def test_a_pod_that_takes_long_is_waited_for_without_a_worker(api, started, context, monkeypatch):
    monkeypatch.setattr("modelberth.operators.pod.STAYS", 0.3)
    api.there(running())
    with pytest.raises(TaskDeferred) as deferred:
        started.execute(context)
    assert deferred.value.method_name == "trigger_reentry"
    assert deferred.value.trigger.config_dict is None


def test_the_result_of_a_pod_that_soon_ends_is_taken_at_once(api, started, uploaded, context):
    ended = pod(message=DONE["sync"])
    api.there(ended)
    api.hook.get_pod.side_effect = [running(), running(), ended, ended]
    started.execute(context)
    assert uploaded.read("sync", target="embedder")["snapshot"] == SNAPSHOT


def test_a_known_damaged_snapshot_is_named_to_sync(api, uploaded, context, monkeypatch):
    model, service = load().model("minilm"), load().service("embedder")
    damage = damage_record(model, service)
    damage.add(Snapshot.parse(SNAPSHOT), "verify", ["bad"])
    damage_record(model, service.model_copy(update={"claim": "other"})).add(
        Snapshot.parse(f"{HEX}.2"), "verify", ["bad"]
    )
    damage.add(Snapshot.parse(f"{'ef' * 32}.1"), "verify", ["bad"])
    body = asked_for(api, SyncModelOperator, context, monkeypatch)
    assert body["spec"]["containers"][0]["args"][-2:] == ["--damaged", SNAPSHOT]
    assert damage.of(Revision.parse(REVISION)) == [Snapshot.parse(SNAPSHOT)]


def test_a_good_end_leaves_the_receipt_and_a_small_xcom(api, uploaded, context):
    api.there(pod(0, DONE["sync"]))
    resume(SyncModelOperator, context)
    receipt = uploaded.read("sync", target="embedder")
    assert receipt["snapshot"] == SNAPSHOT
    assert (receipt["pod"], receipt["node"]) == ("Pod serving/sync-minilm-x2", "node-1")
    assert (receipt["connection"], receipt["namespace"], receipt["claim"]) == (
        "modelberth_kubernetes",
        "serving",
        "models",
    )
    assert context["ti"].xcoms["return_value"] == {
        "revision": REVISION,
        "snapshot": SNAPSHOT,
        "node": "node-1",
        "receipt": str(uploaded.digest("sync", "embedder")),
    }


def test_the_pod_is_deleted_when_its_result_was_read(api, uploaded, context):
    api.there(pod(0, DONE["sync"]))
    resume(SyncModelOperator, context)
    api.client.delete_namespaced_pod.assert_called_once()


@pytest.mark.parametrize("exit_code", [1, 2, 10, 12, 14, 19, 137, 143])
def test_a_pod_that_may_do_better_is_tried_again(api, uploaded, context, exit_code):
    api.there(pod(exit_code, {"problems": ["Busy."]}, reason="Error"))
    with pytest.raises(AirflowException, match=f"exit code {exit_code}") as raised:
        resume(SyncModelOperator, context, EVENT | {"status": "failed", "message": "Container state failed"})
    assert not isinstance(raised.value, AirflowFailException)
    assert uploaded.find("sync", "embedder") is None


@pytest.mark.parametrize("exit_code", [20, 21, 22, 24, 29])
def test_a_pod_that_never_will_ends_the_task(api, uploaded, context, exit_code):
    api.there(pod(exit_code, MISMATCH | {"exit_code": exit_code}, reason="Error"))
    with pytest.raises(AirflowFailException, match="Digest mismatch in 'a'"):
        resume(SyncModelOperator, context, EVENT | {"status": "failed", "message": "Container state failed"})
    api.client.delete_namespaced_pod.assert_called_once()


@pytest.mark.parametrize("message", ["", "not ours", DONE["verify"]])
def test_a_good_end_without_a_result_is_a_failure(api, uploaded, context, message):
    api.there(pod(0, message))
    with pytest.raises(AirflowException, match="left no result of 'modelberth sync'"):
        resume(SyncModelOperator, context)
    assert uploaded.find("sync", "embedder") is None


def test_a_pod_that_is_gone_has_proven_nothing(api, uploaded, context):
    api.hook.get_pod.side_effect = ApiException(status=404)
    with pytest.raises(AirflowException, match="Pod serving/sync-minilm-x2 is gone and its result with it"):
        resume(SyncModelOperator, context)


def test_a_pod_that_never_ran_is_tried_again_in_kubernetes_words(api, uploaded, context):
    waiting = pod(phase="Pending")
    waiting.status.container_statuses = None
    api.there(waiting)
    event = EVENT | {"status": "timeout", "message": "Pod took longer than 900 seconds to start"}
    with pytest.raises(AirflowException, match="never ran to an end: Pod took longer than 900 seconds to start"):
        resume(SyncModelOperator, context, event)


@pytest.mark.parametrize(
    "result", [DONE["verify"] | {"revision": f"minilm@{STATS}"}, DONE["verify"] | {"snapshot": f"{HEX}.2"}]
)
def test_a_proof_of_something_else_is_refused(api, synced, context, result):
    api.there(pod(0, result))
    with pytest.raises(AirflowFailException, match="did something else"):
        resume(VerifyModelOperator, context)
    assert synced.find("verify", "embedder") is None


CONTENTS = {
    "nothing found": ({"code": "require"}, {"code": 0, "headers": 0}, None),
    "a warning": ({"code": "warn"}, {"code": 2, "headers": 0}, None),
    "what is required and not so": ({"code": "require"}, {"code": 2, "headers": 0}, "content.code has 2 problems"),
    "a program that does not look": ({"licence": "require"}, None, "content.licence was not looked at"),
}


@pytest.mark.parametrize(("policy", "found", "said"), CONTENTS.values(), ids=CONTENTS)
def test_what_the_models_file_requires_of_the_content_is_required(api, synced, catalog, context, policy, found, said):
    document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
    catalog.write("models/minilm.yaml", document | {"content": policy})
    looked = {"content": found, "findings": ["code: File 'x.py' is a program."]} if found else {}
    api.there(pod(0, DONE["verify"] | looked))
    if said is None:
        resume(VerifyModelOperator, context)
        assert synced.read("verify", "embedder")["content"] == found
        return
    with pytest.raises(AirflowFailException, match=said) as raised:
        resume(VerifyModelOperator, context)
    assert ("x.py" in str(raised.value)) == bool(found)
    assert synced.find("verify", "embedder") is None


@pytest.mark.parametrize("kind", [VerifyModelOperator, CheckModelOperator])
def test_a_mismatch_on_the_claim_is_put_on_record(api, approved, context, kind):
    api.there(pod(20, MISMATCH, reason="Error"))
    with pytest.raises(AirflowFailException):
        resume(kind, context, EVENT | {"status": "failed", "message": "Container state failed"})
    damage = damage_record(load().model("minilm"), load().service("embedder"))
    assert damage.of(Revision.parse(REVISION)) == [Snapshot.parse(SNAPSHOT)]


def test_a_mismatch_on_arrival_is_the_buckets_and_damages_no_snapshot(api, uploaded, context):
    api.there(pod(20, MISMATCH, reason="Error"))
    with pytest.raises(AirflowFailException):
        resume(SyncModelOperator, context, EVENT | {"status": "failed", "message": "Container state failed"})
    assert damage_record(load().model("minilm"), load().service("embedder")).of(Revision.parse(REVISION)) == []


@pytest.mark.parametrize(
    ("kind", "missing"),
    [(SyncModelOperator, "02-upload"), (VerifyModelOperator, "03-sync-embedder"), (CheckModelOperator, "05-plan")],
)
def test_a_step_without_the_one_before_starts_nothing(api, evidence, context, kind, missing):
    with pytest.raises(AirflowFailException, match=f"has no receipt {missing}"):
        operator(kind).execute(context)
    api.client.create_namespaced_pod.assert_not_called()


def test_check_refuses_a_plan_that_nobody_approved(api, verified, context):
    plan = planned(verified)
    verified.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)})
    with pytest.raises(AirflowFailException, match="has no receipt 06-approve"):
        operator(CheckModelOperator).execute(context)


@pytest.mark.parametrize(
    ("key", "value"),
    [("decision", "reject"), ("plan_digest", STATS), ("responder", {"id": "mallory", "name": "Alice"})],
)
def test_check_refuses_an_approval_that_does_not_hold(api, verified, context, key, value):
    plan = planned(verified)
    verified.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)})
    verified.write("approve", approval(plan) | {key: value})
    with pytest.raises(AirflowFailException, match=r"The approval of release .* does not hold"):
        operator(CheckModelOperator).execute(context)
    api.client.create_namespaced_pod.assert_not_called()


def test_check_refuses_a_snapshot_that_verify_did_not_prove(api, approved, context):
    other = DONE["verify"] | {"snapshot": f"{HEX}.2", "node": "n", "pod": "p"}
    approved.write("verify", other, target="embedder")
    with pytest.raises(AirflowFailException, match=r"Approved for target 'embedder' is snapshot .*\.1, but verify"):
        operator(CheckModelOperator).execute(context)


def test_check_refuses_a_snapshot_that_another_release_found_damaged(api, approved, context):
    damage = damage_record(load().model("minilm"), load().service("embedder"))
    damage.add(Snapshot.parse(SNAPSHOT), "verify of release later", ["bad"])
    with pytest.raises(AirflowFailException, match=r"serving/models is on record as damaged \(found by verify"):
        operator(CheckModelOperator).execute(context)
    api.client.create_namespaced_pod.assert_not_called()


@pytest.mark.parametrize("key", ["connection", "namespace", "claim"])
def test_check_refuses_a_service_that_moved_since_the_approval(api, approved, catalog, context, key):
    catalog.write("services/embedder.yaml", catalog.service | {key: "another"})
    with pytest.raises(AirflowFailException, match=f"The catalog changed since the approval.*its {key} is 'another'"):
        operator(CheckModelOperator).execute(context)
    api.client.create_namespaced_pod.assert_not_called()


def test_a_proof_from_the_claim_of_before_a_change_of_the_catalog_is_not_kept(api, synced, catalog, context):
    api.there(pod(0, DONE["verify"]))
    catalog.write("services/embedder.yaml", catalog.service | {"claim": "another"})
    with pytest.raises(AirflowException, match=r"ran on claim serving/models, but .* is on serving/another"):
        resume(VerifyModelOperator, context)
    assert synced.find("verify", "embedder") is None


def test_a_forged_receipt_is_no_basis(api, uploaded, objects, context):
    (key,) = [key for key in objects if key.endswith("02-upload.json")]
    objects[key] = objects[key].replace(HEX.encode(), b"ef" * 32)
    with pytest.raises(AirflowFailException, match="does not bear the signature"):
        operator(SyncModelOperator).execute(context)


def test_the_catalog_and_evidence_are_not_rendered(api):
    assert VerifyModelOperator.template_fields == ("model", "target")
