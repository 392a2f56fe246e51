"""What a prune sees in a real cluster, and what it takes away from a real claim."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import serving
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubectl import apply, kubectl
from kubernetes import client, config
from rollouts import workload
from settings import Settings

from modelberth.catalog import load
from modelberth.core.layout import BucketUrl
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine import sync, upload
from modelberth.engine.stopping import Stop
from modelberth.kubernetes import pruning as pruning_module
from modelberth.kubernetes.claimpod import document
from modelberth.kubernetes.pruning import pruning
from modelberth.operators.prune import PruneClaimOperator
from modelberth.operators.prune_bucket import PruneBucketOperator
from modelberth.receipts import ledger, release_evidence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollouts import Stand

    from modelberth.core.prune import Seen

PROJECT = Path(__file__).resolve().parents[2]
GRACE = 7200
WORKLOADS = (
    "deployment,replicaset,statefulset,daemonset,cronjob,job,replicationcontroller,podtemplate,pod,controllerrevision"
)


@dataclass
class Place:
    """A serving namespace with its claim, and a model with two snapshots there that nothing uses yet."""

    stand: Stand
    settings: Settings
    namespace: str
    root: Path
    home: Path
    model: str = ""
    revisions: list[Revision] = field(default_factory=list)
    made: list[tuple[str, str]] = field(default_factory=list)

    def stage(self, count: int) -> None:
        """Upload and sync *count* revisions of a new model."""
        self.model, self.revisions = f"m-{uuid.uuid4().hex[:6]}", []
        bucket = self.home / "bucket"
        bucket.mkdir(exist_ok=True)
        url = BucketUrl.parse(f"file://{bucket}")
        for number in range(count):
            directory = self.home / f"{self.model}-{number}"
            directory.mkdir()
            (directory / "model.bin").write_bytes(os.urandom(100_000))
            done = upload.upload(upload.Order(directory, url, self.model, f"u{number}"), Stop())
            self.revisions.append(Revision.parse(done["revision"]))
            sync.sync(sync.Order(url, self.root, self.revisions[-1]), Stop())
        for path in (self.root, *self.root.rglob("*")):
            os.chown(path, serving.POD_USER, serving.POD_USER, follow_symlinks=False)

    def snapshot(self, which: int = 0) -> Snapshot:
        return Snapshot(self.revisions[which].digest, 1)

    def name(self, which: int = 0) -> str:
        return f"{self.revisions[which]}.1"

    def path(self, which: int = 0) -> Path:
        return self.root / self.model / str(self.snapshot(which))

    def serving_path(self, which: int = 0) -> str:
        return f"/models/{self.model}/{self.snapshot(which)}/files"

    def mark(self, which: int = 0) -> Path:
        return self.root / ".modelberth/condemned" / self.model / f"{self.snapshot(which)}.json"

    def age(self, which: int = 0, seconds: int = GRACE + 60) -> None:
        """Let time pass for the mark of a snapshot."""
        at = datetime.now(UTC) - timedelta(seconds=seconds)
        mark = json.loads(self.mark(which).read_bytes()) | {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
        self.mark(which).chmod(0o644)
        self.mark(which).write_text(json.dumps(mark, sort_keys=True, separators=(",", ":")))

    def make(self, *documents: dict[str, Any], namespace: str = "") -> None:
        """Create objects, which are deleted after the test."""
        apply(self.settings, list(documents), namespace or self.namespace)
        self.made += [(one["kind"], one["metadata"]["name"]) for one in documents if not namespace]

    def pod_spec(self, path: str | None, **more: Any) -> dict[str, Any]:
        """Return the spec of a pod that serves *path*."""
        template = workload("x", "Deployment", self.stand.image, path, 1)["spec"]["template"]["spec"]
        return template | more

    def deployment(self, path: str | None, replicas: int = 0, name: str = "server") -> dict[str, Any]:
        return workload(name, "Deployment", self.stand.image, path, replicas)

    def catalog(self, root: Path, **changes: Any) -> None:
        """Write the catalog of the model and the service that is on the claim."""
        receipts = self.stand.config("x").receipts
        model = {
            "source": {"type": "directory", "path": "..."},
            "bucket": {"url": f"s3://{self.stand.bucket}/models", "connection": "test_receipts"},
            "receipts": {"url": receipts.url, "connection": receipts.connection},
            "retention": {"keep_live": 1, "grace": GRACE},
        }
        service = {
            "connection": "test_kubernetes",
            "namespace": self.namespace,
            "claim": "models",
            "workload": {"kind": "Deployment", "name": "server"},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": self.model}],
            "pods": {
                "image": os.environ["MODELSYNC_IMAGE"],
                "service_account": "modelsync",
                "bucket_secret": serving.BUCKET_SECRET,
            },
            "confirm": {"level": "declared"},
            "approvers": [{"id": "alice", "name": "Alice"}],
        }
        for folder, name, content in (("models", self.model, model), ("services", "server", service | changes)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def seen(self, connection: str = "test_kubernetes") -> Seen:
        """Look who uses what."""
        return pruning(load(), connection, self.namespace, "models").seen([])

    def users(self, which: int = 0) -> list[str]:
        return [use.who for use in self.seen().uses if use.mention.means(self.snapshot(which))]

    def prune(self, **how: Any) -> dict[str, str]:
        """Run the task; return what it says."""
        place = {"connection": "test_kubernetes", "namespace": self.namespace, "claim": "models"}
        return PruneClaimOperator(task_id="t", **(place | how)).execute({})

    def clear(self) -> None:
        where = f"--namespace={self.namespace}"
        kubectl(self.settings, "delete", WORKLOADS, "--all", where, "--grace-period=1")
        for kind, name in self.made:
            kubectl(self.settings, "delete", kind, name, where, "--ignore-not-found")
        self.made.clear()
        for directory in (self.root / self.model, self.root / ".modelberth"):
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def home(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    settings, namespace = Settings(PROJECT), f"prune-{uuid.uuid4().hex[:6]}"
    serving.serving_namespace(settings, namespace)
    try:
        root = serving.volume_folder(settings, namespace)
        yield Place(stand, settings, namespace, root, tmp_path_factory.mktemp("prune"))
    finally:
        serving.delete_namespace(settings, namespace)


@pytest.fixture
def place(home: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    home.stage(2)
    home.catalog(tmp_path / "include")
    monkeypatch.setenv("MODELBERTH_CATALOG", str(tmp_path / "include"))
    yield home
    home.clear()


# Who uses what --------------------------------------------------------------------------------------------------------


def meta(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"app": name}}


def templated(place: Place, kind: str, path: str) -> dict[str, Any]:
    """Return an object of *kind* that has no pods now and would serve *path* with its next."""
    name = f"{kind.lower()}-{uuid.uuid4().hex[:4]}"
    template = {"metadata": {"labels": {"app": name}}, "spec": place.pod_spec(path)}
    once = {"metadata": {"labels": {"app": name}}, "spec": place.pod_spec(path, restartPolicy="Never")}
    nowhere = {"metadata": {"labels": {"app": name}}, "spec": place.pod_spec(path, nodeSelector={"no": "node"})}
    selector = {"matchLabels": {"app": name}}
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "Deployment": ("apps/v1", {"replicas": 0, "selector": selector, "template": template}),
        "ReplicaSet": ("apps/v1", {"replicas": 0, "selector": selector, "template": template}),
        "StatefulSet": ("apps/v1", {"replicas": 0, "selector": selector, "template": template, "serviceName": name}),
        "DaemonSet": ("apps/v1", {"selector": selector, "template": nowhere}),
        "Job": ("batch/v1", {"suspend": True, "template": once}),
        "CronJob": ("batch/v1", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": once}}}),
        "ReplicationController": ("v1", {"replicas": 0, "selector": {"app": name}, "template": template}),
        "Pod": ("v1", place.pod_spec(path, nodeSelector={"no": "node"})),
    }
    if kind == "PodTemplate":
        return {"apiVersion": "v1", "kind": kind, "metadata": meta(name), "template": template}
    version, spec = specs[kind]
    return {"apiVersion": version, "kind": kind, "metadata": meta(name), "spec": spec}


KINDS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController", "Pod")


def test_what_any_kind_of_template_names_is_used_though_it_has_no_pod(place: Place) -> None:
    made = [templated(place, kind, place.serving_path()) for kind in (*KINDS, "PodTemplate")]
    place.make(*made)
    expected = {f"{one['kind']} {place.namespace}/{one['metadata']['name']}" for one in made}
    assert expected <= set(place.users(0))
    assert place.users(1) == []
    assert place.seen().unknown == ()


def test_what_a_person_could_return_to_is_used(place: Place) -> None:
    """Old ReplicaSets of a Deployment, and the ControllerRevisions of a StatefulSet and a DaemonSet."""
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        one = templated(place, kind, place.serving_path(0))
        place.make(one)
        wait_for_history(place, one, place.serving_path(0))
        one["spec"]["template"]["spec"] |= {"containers": place.pod_spec(place.serving_path(1))["containers"]}
        place.make(one)
        wait_for_history(place, one, place.serving_path(1))
    assert {who.partition(" ")[0] for who in place.users(0)} == {"ReplicaSet", "ControllerRevision"}
    assert {"Deployment", "StatefulSet", "DaemonSet"} <= {who.partition(" ")[0] for who in place.users(1)}


def wait_for_history(place: Place, one: dict[str, Any], path: str) -> None:
    """Wait until Kubernetes has noted a template with *path*."""
    kind = "replicasets" if one["kind"] == "Deployment" else "controllerrevisions"
    deadline = time.monotonic() + 30
    while True:
        shown = kubectl(place.settings, "get", kind, f"--namespace={place.namespace}", "--output=json").stdout
        names = [item for item in json.loads(shown)["items"] if one["metadata"]["name"] in item["metadata"]["name"]]
        if path in json.dumps(names):
            return
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)


def test_a_claim_in_another_namespace_on_the_same_storage_is_looked_at(place: Place) -> None:
    other = f"{place.namespace}-other"
    volume = serving.manifest(place.settings, "storage/hostpath.yaml")[1]
    volume["metadata"]["name"] = other
    volume["spec"]["claimRef"] = {"namespace": other, "name": "same"}
    volume["spec"]["hostPath"]["path"] = f"{place.root}/"
    [claim] = serving.manifest(place.settings, "claim.yaml")
    claim["metadata"]["name"] = "same"
    [namespace] = serving.manifest(place.settings, "namespace.yaml")
    namespace["metadata"] = {"name": other, "labels": {serving.FOR_A_TEST: "true"}}
    try:
        apply(place.settings, [namespace, volume])
        apply(place.settings, [claim], other)
        place.make(place.deployment(place.serving_path()), namespace=other)
        doubts = {doubt.why for doubt in place.seen().unknown}
        [doubt] = doubts
        assert "may not list deployments, statefulsets, daemonsets, replicasets, controllerrevisions, jobs" in doubt
        assert f"kubectl apply -n {other} -f include/kubernetes/prune.yaml" in doubt
        apply(place.settings, serving.manifest(place.settings, "prune.yaml"), other)
        assert f"Deployment {other}/server" in place.users()
        assert place.seen().unknown == ()
    finally:
        kubectl(place.settings, "delete", "namespace", other, "--wait=false", "--ignore-not-found")
        kubectl(place.settings, "delete", "persistentvolume", other, "--wait=false", "--ignore-not-found")


@pytest.fixture
def blind(place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection with the rights of rbac.yaml and none of prune.yaml."""
    account = {"kind": "ServiceAccount", "name": "blind", "namespace": place.namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "blind"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "modelberth-airflow"},
        "subjects": [account],
    }
    place.make({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "blind"}}, binding)
    core = client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))
    spec = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
    token = core.create_namespaced_service_account_token("blind", place.namespace, spec).status.token
    kubeconfig = yaml.safe_load(Path(os.environ["AIRFLOW_KUBECONFIG"]).read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    connection = {"conn_type": "kubernetes", "extra": json.dumps({"kube_config": json.dumps(kubeconfig)})}
    monkeypatch.setenv("AIRFLOW_CONN_TEST_BLIND", json.dumps(connection))
    return "test_blind"


def test_without_the_right_to_see_volumes_nothing_is_done_and_the_manifest_is_named(
    place: Place, blind: str, tmp_path: Path
) -> None:
    place.catalog(tmp_path / "include", connection=blind)
    with pytest.raises(AirflowFailException) as refused:
        place.prune(connection=blind)
    assert "may not get persistentvolumes" in str(refused.value)
    assert "include/kubernetes/prune.yaml" in str(refused.value)
    assert not place.mark().exists()


@pytest.mark.parametrize("kind", ["configMapKeyRef", "secretKeyRef"])
def test_a_variable_that_comes_from_elsewhere_is_read_or_doubted(place: Place, kind: str) -> None:
    one = place.deployment(None)
    source = {"name": "MODEL_PATH", "valueFrom": {kind: {"name": "paths", "key": "path"}}}
    one["spec"]["template"]["spec"]["containers"][0]["env"] = [source]
    place.make(one)
    if kind == "secretKeyRef":
        assert "variable MODEL_PATH names cannot be read" in place.seen().unknown[0].why
        return
    paths = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "paths"}}
    place.make(paths | {"data": {"path": place.serving_path()}})
    assert place.users() == [f"a ConfigMap in {place.namespace}"]
    assert place.seen().unknown == ()


def test_a_container_that_has_the_claim_and_says_nothing_keeps_everything(place: Place) -> None:
    place.make(place.deployment(None))
    [*doubts] = place.seen().unknown
    assert "names nothing on it" in doubts[0].why
    plan = place.prune()["plan"]
    assert plan.count("| refuse |") == 2
    assert not place.mark().exists()


def test_pods_of_ours_use_what_their_arguments_name_until_they_have_ended(place: Place) -> None:
    service = load().services["server"]
    pod = document(service, "verify", ["verify", "/claim", "--revision", str(place.revisions[0])], writes=False)
    pod["metadata"] |= {"name": "verifies"}
    pod["metadata"].pop("generateName")
    pod["spec"]["nodeSelector"] = {"no": "node"}
    place.make(pod)
    assert place.users(0) == [f"Pod {place.namespace}/verifies"]
    assert place.seen().unknown == ()


# What a prune does ----------------------------------------------------------------------------------------------------


def test_what_nothing_uses_is_condemned_and_deleted_after_the_grace_and_what_is_used_stays(place: Place) -> None:
    place.make(place.deployment(place.serving_path(1)))
    first = place.prune()
    assert (first["condemned"], first["deleted"]) == ("1", "0")
    assert place.mark(0).exists()
    assert not place.mark(1).exists()
    waits = place.prune()
    assert (waits["condemned"], waits["deleted"]) == ("0", "0")
    assert "| wait |" in waits["plan"]
    place.age()
    last = place.prune()
    assert (last["deleted"], place.path(0).exists(), place.path(1).exists()) == ("1", False, True)
    assert int(last["bytes_freed"]) >= 100_000
    assert list((place.root / ".modelberth/trash").rglob("*.bin")) == []
    assert pods(place, "modelberth.dev/step=prune") == []


def test_a_dry_run_shows_the_plan_and_changes_nothing(place: Place) -> None:
    place.make(place.deployment(place.serving_path(1)))
    place.prune()
    place.age()
    before = {path: path.lstat().st_mtime_ns for path in place.root.rglob("*")}
    said = place.prune(dry_run="True")
    assert {path: path.lstat().st_mtime_ns for path in place.root.rglob("*")} == before
    assert (
        f"| `{place.name(0)}` | ready, condemned | 97.7 KiB | delete | Nothing uses it; condemned since" in said["plan"]
    )
    assert (
        f"| `{place.name(1)}` | ready | 97.7 KiB | keep | Used by Deployment {place.namespace}/server" in said["plan"]
    )
    assert "deleted" not in said


def test_what_is_used_again_within_the_grace_is_taken_off_the_list(place: Place) -> None:
    place.prune()
    assert place.mark(0).exists()
    place.make(place.deployment(place.serving_path(0)))
    place.age()
    said = place.prune()
    assert (said["lifted"], said["deleted"]) == ("1", "0")
    assert not place.mark(0).exists()
    assert place.path(0).exists()


def test_what_is_used_between_the_two_looks_comes_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload appears when the snapshot is in the trash already, and its pod starts once it is back."""
    place.prune()
    place.age()
    looks = []
    real = pruning_module.Pruning.seen

    def seen(ours: Any, lying: Any) -> Any:
        looks.append(place.path(0).exists())
        if len(looks) == 2:
            place.make(place.deployment(place.serving_path(0), replicas=1))
        return real(ours, lying)

    monkeypatch.setattr(pruning_module.Pruning, "seen", seen)
    said = place.prune()
    assert looks == [True, False], "the second look comes when it is out of sight"
    assert (said["lifted"], said["deleted"]) == ("1", "0")
    assert place.path(0).exists()
    wait_ready(place, "server")


def wait_ready(place: Place, name: str) -> None:
    where = f"--namespace={place.namespace}"
    kubectl(place.settings, "rollout", "status", f"deployment/{name}", where, "--timeout=60s")


def test_what_a_release_needs_that_has_not_ended_is_kept(place: Place) -> None:
    config = place.stand.config(place.model)
    release = f"20260101t000000z-{uuid.uuid4().hex[:10]}"
    ledger(config).record("proposed", release, source_version="v1")
    about = {"revision": str(place.revisions[0]), "snapshot": str(place.snapshot(0))}
    release_evidence(config, release).write("sync", about, target="server")
    plan = place.prune(dry_run=True)["plan"]
    assert f"| `{place.name(0)}` | ready | 97.7 KiB | keep | Used by release {release} of {place.model}" in plan
    assert f"| `{place.name(1)}` | ready | 97.7 KiB | condemn |" in plan
    ledger(config).record("rejected", release)
    assert place.prune(dry_run=True)["plan"].count("| condemn |") == 2


def test_what_nobody_can_read_of_a_models_releases_keeps_its_snapshots(place: Place) -> None:
    key = f"receipts/ledger/{place.model}/20260101t000000z-0123456789-proposed.json"
    place.stand.s3.put_object(Bucket=place.stand.bucket, Key=key, Body=b"{}")
    plan = place.prune()["plan"]
    assert plan.count("| refuse |") == 2
    assert f"What model '{place.model}' still needs cannot be read" in plan
    assert not place.mark().exists()


def test_a_model_without_a_file_keeps_its_snapshots(place: Place, tmp_path: Path) -> None:
    other = "another-model"
    (tmp_path / f"include/models/{place.model}.yaml").rename(tmp_path / f"include/models/{other}.yaml")
    binding = {"container": "server", "variable": "MODEL_PATH", "model": other}
    service = tmp_path / "include/services/server.yaml"
    service.write_text(yaml.safe_dump(yaml.safe_load(service.read_text()) | {"bindings": [binding]}))
    plan = place.prune()["plan"]
    assert plan.count("| refuse |") == 2
    assert f"Model '{place.model}' has no file in the catalog" in plan


def test_one_snapshot_that_cannot_go_stops_no_other_and_is_told_at_the_end(place: Place) -> None:
    place.prune()
    place.age(0)
    place.age(1)
    os.chown(place.path(0), 0, 0)
    try:
        with pytest.raises(AirflowException, match="denied"):
            place.prune()
        assert place.path(0).exists()
        assert not place.path(1).exists()
    finally:
        os.chown(place.path(0), serving.POD_USER, serving.POD_USER)


def test_our_own_pods_that_have_ended_let_go_of_their_claim_after_an_hour(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = load().services["server"]
    ours = document(service, "verify", ["list", "/claim"], writes=False)
    theirs = json.loads(json.dumps(ours)) | {"metadata": {"name": "theirs", "labels": {"app": "x"}}}
    ours["metadata"] = {"name": "ours", "labels": {"modelberth.dev/step": "verify"}}
    theirs["spec"]["containers"][0]["args"] = ["list", f"/claim/{place.model}/{place.snapshot()}"]
    place.make(ours, theirs)
    for name in ("ours", "theirs"):
        wait_ended(place, name)
    place.prune()
    assert {"ours", "theirs"} <= set(pods(place))
    monkeypatch.setattr("modelberth.operators.prune.POD_HELD_FOR", 0)
    assert place.prune(dry_run=True)["pods"] == "ours"
    assert "ours" in pods(place)
    assert place.prune()["pods"] == "ours"
    assert "ours" not in pods(place)
    assert "theirs" in pods(place)


def test_a_bucket_keeps_what_is_used_and_loses_what_was_condemned_for_the_grace(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = BucketUrl.parse(f"s3://{place.stand.bucket}/models")
    for name, ours in (("ACCESS_KEY_ID", "ACCESS_KEY"), ("SECRET_ACCESS_KEY", "SECRET_KEY")):
        monkeypatch.setenv(f"AWS_{name}", os.environ[f"S3_{ours}"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", os.environ["S3_ENDPOINT_URL"])
    for number in (0, 1):
        upload.upload(upload.Order(place.home / f"{place.model}-{number}", url, place.model, f"u{number}"), Stop())
    place.make(place.deployment(place.serving_path(1)))

    def prune(**how: Any) -> dict[str, str]:
        return PruneBucketOperator(task_id="t", model=place.model, **how).execute({})

    def keys(part: str) -> list[str]:
        found = place.stand.s3.list_objects_v2(Bucket=place.stand.bucket, Prefix=f"models/{place.model}/")["Contents"]
        return [one["Key"] for one in found if part in one["Key"]]

    shown = prune(dry_run=True)["plan"]
    assert f"| `{place.revisions[0]}` | ready | 0 B | condemn |" in shown
    assert f"| `{place.revisions[1]}` | ready | 0 B | keep | Used by Deployment {place.namespace}/server" in shown
    assert keys("condemned.json") == []
    assert prune()["condemned"] == "1"
    [mark] = keys("condemned.json")
    aged = {"schema": 1, "revision": str(place.revisions[0]), "at": "2026-01-02T03:04:05Z"}
    body = json.dumps(aged, sort_keys=True, separators=(",", ":")).encode()
    place.stand.s3.put_object(Bucket=place.stand.bucket, Key=mark, Body=body)
    assert (prune()["deleted"], keys("/data/u0/"), len(keys("/data/u1/"))) == ("1", [], 1)
    assert len(keys("manifest.json")) == 2
    for key in keys(""):
        place.stand.s3.delete_object(Bucket=place.stand.bucket, Key=key)


def wait_ended(place: Place, name: str) -> None:
    deadline = time.monotonic() + 60
    command = ("get", "pod", name, f"--namespace={place.namespace}", "--output=jsonpath={.status.phase}")
    while (phase := kubectl(place.settings, *command).stdout) not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, phase
        time.sleep(0.2)


def pods(place: Place, selector: str = "") -> list[str]:
    """Return the pods that are there and not about to go."""
    command = ("get", "pods", f"--namespace={place.namespace}", f"--selector={selector}", "--output=json")
    items = json.loads(kubectl(place.settings, *command).stdout)["items"]
    return [item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"]]
