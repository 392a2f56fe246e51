"""Upload from behind a network: the pod that is asked for, its credentials, and what its end means."""

import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiClient, ApiException, CoreV1Api
from kubernetes.client import models as k8s

from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import Archive, FetchList, Wanted
from modelberth.operators.fetch import FetchModelOperator
from modelberth.operators.upload import UploadModelOperator
from modelberth.sources import SourceVersion

S3 = {"type": "s3", "url": "s3://raw/minilm", "connection": "raw_s3"}
LENT = {"MODELBERTH_FETCH_AWS_ACCESS_KEY_ID": "key-id", "MODELBERTH_FETCH_AWS_SECRET_ACCESS_KEY": "key-secret"}
DONE = {"command": "upload", "outcome": "ok", "exit_code": 0, "revision": f"minilm@sha256:{'ab' * 32}", "files": 1}


class Elsewhere:
    """A source with one file, of which it knows two versions; ``current`` is where its alias leads."""

    def __init__(self):
        self.current = "1"
        self.lent = LENT
        self.signature = "a"

    def resolve(self, version=""):
        label = version or self.current
        if label == "gone":
            raise Failure(ExitCode.NOT_FOUND, "Version 'gone' was deleted.")
        wanted = Wanted("model.bin", f"https://host/model.bin?sig={self.signature}", int(label), etag=f"e{label}")
        return SourceVersion.listed(FetchList.of([wanted]), label)

    def credentials(self):
        return self.lent


@pytest.fixture
def source(monkeypatch):
    found = Elsewhere()
    monkeypatch.setattr("modelberth.operators.fetch.source_of", lambda model: found)
    return found


@pytest.fixture
def remote(catalog):
    """Lets the model come from a network."""

    def write(**changes):
        catalog.write("models/minilm.yaml", catalog.model | {"source": S3 | changes})

    write()
    return write


@pytest.fixture
def proposed(evidence, source, remote):
    found = source.resolve()
    evidence.write("resolve", {"source_version": str(found.name), "source_label": found.label})
    return evidence


@pytest.fixture
def api(monkeypatch):
    """The API server as the operator sees it, where every pod has the uid 'u'."""
    client = MagicMock(spec=CoreV1Api, api_client=ApiClient())
    hook = MagicMock()
    hook.core_v1_client, hook.is_in_cluster, hook.get_namespace.return_value = client, False, None
    client.read_namespaced_pod.return_value = k8s.V1Pod(metadata=k8s.V1ObjectMeta(uid="u"))
    monkeypatch.setattr(KubernetesPodOperator, "hook", hook)
    return SimpleNamespace(client=client, hook=hook)


@pytest.fixture
def asked_for(api, proposed, context, monkeypatch):
    """Runs the operator until its pod is there; returns the pod and the Secrets that were made."""

    def run():
        api.client.reset_mock()
        task = FetchModelOperator(task_id="upload", model="minilm")
        monkeypatch.setattr(task, "invoke_defer_method", lambda context=None: None)
        monkeypatch.setattr(task, "find_pod", lambda *_, **__: None)
        task.execute(context)
        (call,) = api.client.create_namespaced_pod.call_args_list
        made = [one.args for one in api.client.create_namespaced_secret.call_args_list]
        return call.kwargs["body"], made

    return run


def container_of(pod):
    return pod["spec"]["containers"][0]


def listed(objects, pod):
    """Return the fetch list that the pod's argument names."""
    digest = Digest.parse(container_of(pod)["args"][1])
    data = objects[f"modelberth/models/minilm/fetch/{digest.hex}.json"]
    assert Digest.of(data) == digest
    return FetchList.parse(data)


def test_the_pod_is_told_by_the_digest_of_a_list_in_the_bucket(asked_for, objects, proposed, source):
    pod, _ = asked_for()
    args = container_of(pod)["args"]
    release = proposed.release_id
    assert args[0] == "upload"
    assert args[2:] == ["s3://modelberth/models", "--model", "minilm", "--upload", release]
    assert listed(objects, pod) == source.resolve().held
    assert not pod["spec"].get("volumes")


def test_what_the_connection_has_goes_into_a_secret_that_the_pod_owns_and_into_nothing_else(asked_for, objects):
    pod, made = asked_for()
    ((namespace, secret),) = made
    name = pod["metadata"]["name"]
    assert (namespace, secret.metadata.name, secret.string_data) == ("serving", name, LENT)
    (owner,) = secret.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid) == ("Pod", name, "u")
    assert {"secretRef": {"name": name}} in container_of(pod)["envFrom"]
    assert "key-secret" not in json.dumps(pod) + str(objects)


@pytest.mark.parametrize(
    ("way", "named"), [({"secret": "raw-reader"}, [{"secretRef": {"name": "raw-reader"}}]), ({"identity": True}, [])]
)
def test_a_pod_with_a_secret_or_an_identity_of_its_own_gets_nothing_of_the_connection(remote, asked_for, way, named):
    remote(**way)
    pod, made = asked_for()
    assert made == []
    bucket = {"secretRef": {"name": "modelsync-bucket", "optional": True}}
    assert container_of(pod)["envFrom"] == [bucket, *named]


def test_only_what_has_to_be_unpacked_gets_room_on_a_disk_and_no_more_than_it_may_need(
    source, asked_for, evidence, monkeypatch
):
    held = FetchList.of((), (), [Archive(Wanted("m.tar", "https://host/m.tar", 30, etag="x"), "tar", 70)])
    monkeypatch.setattr(source, "resolve", lambda version="": SourceVersion.listed(held))
    evidence.write("resolve", {"source_version": str(source.resolve().name)})
    pod, _ = asked_for()
    assert pod["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {"sizeLimit": "100"}}]
    assert container_of(pod)["volumeMounts"] == [{"name": "scratch", "mountPath": "/tmp"}]


def test_archives_that_share_one_bound_get_it_once(source, asked_for, evidence, monkeypatch):
    def wanted(name, size):
        return Wanted(name, f"https://host/{name}", size, etag="x")

    held = FetchList.of([wanted("a", 25)], (), [Archive(wanted(name, 30), "tar", 100) for name in ("b.tar", "c.tar")])
    monkeypatch.setattr(source, "resolve", lambda version="": SourceVersion.listed(held))
    evidence.write("resolve", {"source_version": str(source.resolve().name)})
    pod, _ = asked_for()
    assert pod["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {"sizeLimit": str(30 + 30 + 100 - 25)}}]


def test_a_source_without_credentials_needs_no_secret(source, asked_for):
    source.lent = {}
    assert asked_for()[1] == []


def test_an_alias_that_moves_during_the_run_changes_nothing(source, asked_for, objects):
    source.current = "2"
    pod, _ = asked_for()
    assert listed(objects, pod).files[0].etag == "e1"


def test_urls_that_expired_are_renewed_by_the_next_try(source, asked_for, objects):
    first, _ = asked_for()
    source.signature = "b"
    second, _ = asked_for()
    assert [listed(objects, pod).files[0].url[-5:] for pod in (first, second)] == ["sig=a", "sig=b"]


def test_a_version_that_was_deleted_meanwhile_is_named(evidence, source, remote, api, context):
    evidence.write("resolve", {"source_version": f"sha256:{'0' * 64}", "source_label": "gone"})
    with pytest.raises(AirflowFailException, match="Version 'gone' was deleted"):
        FetchModelOperator(task_id="upload", model="minilm").execute(context)
    api.client.create_namespaced_pod.assert_not_called()


def test_a_source_that_holds_something_else_now_is_refused(evidence, source, remote, api, context):
    evidence.write("resolve", {"source_version": f"sha256:{'0' * 64}", "source_label": "1"})
    with pytest.raises(AirflowFailException, match="moved on during the release"):
        FetchModelOperator(task_id="upload", model="minilm").execute(context)
    api.client.create_namespaced_pod.assert_not_called()


@pytest.mark.parametrize(("status", "kind"), [(403, AirflowFailException), (500, AirflowException)])
def test_a_pod_that_cannot_be_given_its_secret_does_not_wait_for_it(api, asked_for, status, kind):
    api.client.create_namespaced_secret.side_effect = ApiException(status=status, reason="No")
    with pytest.raises(AirflowException, match="creating a Secret in namespace serving") as raised:
        asked_for()
    assert type(raised.value) is kind
    api.client.delete_namespaced_pod.assert_called_once()


def test_a_pod_that_an_earlier_try_left_has_its_secret_already(api, asked_for):
    api.client.create_namespaced_secret.side_effect = ApiException(status=409, reason="AlreadyExists")
    asked_for()


def ended(code, message):
    terminated = k8s.V1ContainerStateTerminated(exit_code=code, message=json.dumps(message), reason="Completed")
    status = k8s.V1ContainerStatus(
        name="base", image="i", image_id="i", ready=False, restart_count=0,
        state=k8s.V1ContainerState(terminated=terminated),
    )  # fmt: skip
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="upload-minilm-x2", namespace="serving", labels={}),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")], node_name="node-1"),
        status=k8s.V1PodStatus(phase="Failed" if code else "Succeeded", container_statuses=[status]),
    )


@pytest.fixture
def resume(api, proposed, context):
    """Ends the pod, and resumes the task in a new process, as Airflow does."""

    def run(code, message):
        pod = ended(code, message)
        api.client.read_namespaced_pod.return_value = api.hook.get_pod.return_value = pod
        api.client.read_namespaced_pod_log.return_value = []
        event = {"status": "failed" if code else "success", "namespace": "serving", "name": "upload-minilm-x2"}
        FetchModelOperator(task_id="upload", model="minilm").trigger_reentry(context, event)

    return run


def test_a_good_end_leaves_the_receipt_of_an_upload(resume, proposed):
    resume(0, DONE)
    receipt = proposed.read("upload")
    assert receipt["revision"] == DONE["revision"]
    assert (receipt["pod"], receipt["node"]) == ("Pod serving/upload-minilm-x2", "node-1")


DENIED = {"outcome": "denied", "exit_code": 25, "problems": ["File 'x' was denied."], "problem_count": 1}


@pytest.mark.parametrize(
    ("way", "kind"),
    [({}, AirflowException), ({"secret": "raw"}, AirflowFailException), ({"identity": True}, AirflowFailException)],
)
def test_credentials_that_expired_are_made_anew_where_airflow_makes_them(remote, resume, proposed, way, kind):
    remote(**way)
    with pytest.raises(AirflowException, match="File 'x' was denied") as raised:
        resume(25, DENIED)
    assert type(raised.value) is kind
    assert proposed.find("upload") is None


def test_a_source_of_another_kind_than_the_dags_is_refused(evidence, source, remote, catalog, context):
    evidence.write("resolve", {"source_version": str(source.resolve().name)})
    with pytest.raises(AirflowFailException, match="start a new release"):
        UploadModelOperator(task_id="upload", model="minilm").execute(context)
    catalog.write("models/minilm.yaml", catalog.model)
    with pytest.raises(AirflowFailException, match="start a new release"):
        FetchModelOperator(task_id="upload", model="minilm").execute(context)
