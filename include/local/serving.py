"""Namespaces that serve models, made from the manifests in include/kubernetes, for the demo and for tests."""

from __future__ import annotations

import os
import shutil
import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import yaml
from env import read_env
from kubectl import apply, kubectl
from problems import LocalError

from cluster import write_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from settings import Settings

POD_USER = 10001
SYSTEM = "modelberth-system"
CLAIM = "models"
LOCAL_CLASS = "modelberth-local"
BUCKET_SECRET = "modelsync-bucket"  # noqa: S105  (its name)
SERVER_IMAGE = "modelberth/server:local"
REGION = "us-east-1"
POD_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "S3_PODS_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY": "S3_PODS_SECRET_KEY",
    "AWS_ENDPOINT_URL": "S3_ENDPOINT_URL",
    "STORAGE_EMULATOR_HOST": "GCS_ENDPOINT_URL",
}
"""What the pods' tools read, and its name in ``.local/env``."""


FOR_TESTS = {
    "variables": "\n".join(
        f"{kind}/*/server/{variable}"
        for kind in ("Deployment", "StatefulSet")
        for variable in ("MODEL_PATH", "ADAPTER_PATH")
    ),
    "previewServiceAccounts": "default",
}
"""What Airflow may do in a test's namespace beside what it may in the demo's: tests make workloads of any name."""

FOR_A_TEST = "modelberth.dev/for-a-test"
"""The label of namespaces that are deleted with the test run that made them, or by the next."""


def serving_namespace(settings: Settings, name: str, *, lasting: bool = False) -> None:
    """
    Make all that a serving namespace needs, unless it is there: rights, volume, claim, the pods' bucket credentials.

    :param name: The namespace.
    :param lasting: It is not a test's.
    """
    values = read_env(settings)
    [namespace] = manifest(settings, "namespace.yaml")
    namespace["metadata"]["name"] = name
    if not lasting:
        namespace["metadata"]["labels"][FOR_A_TEST] = "true"
    apply(settings, [namespace])
    if values["STORAGE_CLASS"] == LOCAL_CLASS:
        apply(settings, local_storage(settings, name))
    [claim] = manifest(settings, "claim.yaml")
    claim["spec"]["storageClassName"] = values["STORAGE_CLASS"]
    rights = [*manifest(settings, "rbac.yaml"), *manifest(settings, "prune.yaml")]
    named = named_rights(settings, values, lasting=lasting)
    apply(settings, [*rights, named, claim, bucket_secret(values)], name)
    if values["STORAGE_CLASS"] == LOCAL_CLASS:  # another class may bind only when the first pod comes
        wait_for_claim(settings, name)


def named_rights(settings: Settings, values: Mapping[str, str], *, lasting: bool) -> dict[str, Any]:
    """Return the ConfigMap that says what Airflow may do in a namespace: the demo's, or what tests are about.

    :param values: Of ``.local/env``.
    """
    [rights] = manifest(settings, "rights.yaml")
    rights["data"]["images"] += f"\n{values['MODELSYNC_IMAGE']}"
    if not lasting:
        rights["data"] |= FOR_TESTS | {"previewImages": f"{SERVER_IMAGE}\n{values['SERVER_IMAGE']}"}
    return rights


def local_storage(settings: Settings, namespace: str) -> list[dict[str, Any]]:
    """Return the local StorageClass and the volume for a namespace's claim: a folder of this machine."""
    storage = manifest(settings, "storage/hostpath.yaml")
    volume = next(item for item in storage if item["kind"] == "PersistentVolume")
    volume["metadata"]["name"] = volume_name(namespace)
    volume["spec"]["claimRef"]["namespace"] = namespace
    volume["spec"]["hostPath"]["path"] = str(volume_folder(settings, namespace))
    return storage


def serve(settings: Settings, namespace: str, image: str = SERVER_IMAGE) -> None:
    """Create the reference server's Deployment and Service. It is ready after the first release, not before.

    An existing Deployment is left alone: what it serves is a release's decision.
    """
    if kubectl(settings, "get", "deployment", "embedder", f"--namespace={namespace}", check=False).returncode == 0:
        return
    objects = manifest(settings, "serving.yaml")
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
    apply(settings, objects, namespace)


def delete_namespace(settings: Settings, name: str) -> None:
    """Delete a serving namespace with its volume and everything on it."""
    # Without pods that take their time to end, the namespace is gone at once; their controllers would make new ones.
    workloads = "deployment,statefulset,pod"
    kubectl(settings, "delete", workloads, "--all", f"--namespace={name}", "--grace-period=1", "--ignore-not-found")
    kubectl(settings, "delete", "namespace", name, "--ignore-not-found")
    kubectl(settings, "delete", "persistentvolume", volume_name(name), "--ignore-not-found")
    shutil.rmtree(settings.state / "volumes" / volume_name(name), ignore_errors=True)


def volume_name(namespace: str) -> str:
    """Return the name of a namespace's volume, and of its folder."""
    return f"{namespace}-{CLAIM}"


def volume_folder(settings: Settings, namespace: str) -> Path:
    """Return the folder that is a namespace's volume; the pods' user owns it."""
    folder = settings.state / "volumes" / volume_name(namespace)
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, POD_USER, POD_USER)
    return folder


def bucket_secret(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the Secret with which pods reach the buckets; its keys are the variables that the clouds' own tools read.

    :param values: Of ``.local/env``; what is not in it is left out, such as the keys of pods with a workload identity.
    """
    data = {key: values[name] for key, name in POD_VARIABLES.items() if name in values}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": BUCKET_SECRET},
        "stringData": data | {"AWS_REGION": values.get("AWS_REGION", REGION)},
    }


def wait_for_claim(settings: Settings, namespace: str, within: float = 30) -> None:
    """Wait until the claim is bound.

    :raises LocalError: It is not.
    """
    deadline = time.monotonic() + within
    while True:
        command = (
            "get",
            "persistentvolumeclaim",
            CLAIM,
            f"--namespace={namespace}",
            "--output=jsonpath={.status.phase}",
        )
        phase = kubectl(settings, *command).stdout
        if phase == "Bound":
            return
        if time.monotonic() > deadline:
            raise LocalError(f"PersistentVolumeClaim {namespace}/{CLAIM} is {phase}, not Bound, after {within:.0f} s.")
        time.sleep(0.2)


def connect_airflow(settings: Settings) -> None:
    """Create Airflow's service account, bounded, and write the kubeconfig with which, and not as admin, Dags work."""
    apply(settings, [*manifest(settings, "airflow.yaml"), *manifest(settings, "admission.yaml")])
    deadline = time.monotonic() + 20
    while not (token := secret_data(settings).get("token")):
        if time.monotonic() > deadline:
            raise LocalError(f"Secret {SYSTEM}/airflow-token has no token after 20 s: is kube-controller-manager well?")
        time.sleep(0.2)
    cluster = yaml.safe_load(settings.kubeconfig.read_text())["clusters"][0]["cluster"]
    credentials = {"token": b64decode(token).decode()}
    write_kubeconfig(settings.airflow_kubeconfig, cluster["server"], cluster["certificate-authority-data"], credentials)


def secret_data(settings: Settings) -> dict[str, str]:
    """Return what is in the Secret of Airflow's token, which the controller manager fills."""
    shown = kubectl(settings, "get", "secret", "airflow-token", f"--namespace={SYSTEM}", "--output=yaml").stdout
    return dict(yaml.safe_load(shown).get("data") or {})


def manifest(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Return the objects of one of the manifests in include/kubernetes."""
    return list(yaml.safe_load_all((settings.root / "include" / "kubernetes" / name).read_text()))
