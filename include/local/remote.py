"""The user's own cluster instead of the local one: ``CLUSTER=<context>``, never implicit.

Nothing of Kubernetes and no object store is started here. What else is needed comes from the environment:

    STORAGE_CLASS       for the claim: one that can do ReadWriteMany
    BUCKET_URL          where models go, s3://bucket/prefix or gs://bucket/prefix
    RECEIPTS_URL        where receipts go; no pod may have credentials for it
    S3_ENDPOINT_URL, AWS_REGION         for s3://, where they are not AWS' own and us-east-1
    S3_ACCESS_KEY, S3_SECRET_KEY                                Airflow's, for s3://
    S3_PODS_ACCESS_KEY, S3_PODS_SECRET_KEY                      the pods', for s3://
    GCS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS            Airflow's, for gs://, where they are not the machine's
    SERVING_NAMESPACE                   where the demo serves; serving when it is not given
    IMAGE_REGISTRY      where images are pushed; nothing for a kind cluster; or MODELSYNC_IMAGE and SERVER_IMAGE instead
    YES=1               instead of an answer at the terminal
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import packages
import serving
from buildah import run
from env import write_env
from kubectl import kubectl, program
from problems import LocalError

import images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settings import Settings

ALWAYS = ("STORAGE_CLASS", "BUCKET_URL", "RECEIPTS_URL")
FOR_S3 = ("S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_PODS_ACCESS_KEY", "S3_PODS_SECRET_KEY")
OPTIONAL = (
    *("S3_ENDPOINT_URL", "AWS_REGION", "GCS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("SERVING_NAMESPACE", "IMAGE_REGISTRY"),
)
READY_MADE = ("MODELSYNC_IMAGE", "SERVER_IMAGE")
BUILDERS = ("buildah", "debootstrap")


def parameters(environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return what is to be done with the user's cluster.

    :param environ: The environment; has CLUSTER.
    :raises LocalError: Something is missing; all that is.
    """
    s3 = any(environ.get(name, "").startswith("s3://") for name in ("BUCKET_URL", "RECEIPTS_URL"))
    missing = [name for name in (*ALWAYS, *(FOR_S3 if s3 else ())) if not environ.get(name)]
    problems = [f"{', '.join(missing)} not given"] if missing else []
    ready_made = [name for name in READY_MADE if environ.get(name)]
    if not (
        environ.get("IMAGE_REGISTRY") or environ["CLUSTER"].startswith("kind-") or len(ready_made) == len(READY_MADE)
    ):
        problems.append(f"no way for images to get there: give IMAGE_REGISTRY, or both of {' and '.join(READY_MADE)}")
    if problems:
        raise LocalError(f"Cannot use cluster {environ['CLUSTER']!r}: {'; '.join(problems)}. See docs/local.md.")
    names = ("CLUSTER", *ALWAYS, *FOR_S3, *OPTIONAL, *READY_MADE)
    return {name: environ[name] for name in names if environ.get(name)}


def up(settings: Settings, given: dict[str, str], say: Callable[[str], None] = print) -> None:
    """
    Prepare the user's cluster and write ``.local/env``.

    :param given: As ``parameters`` returns it.
    :raises LocalError: The user did not agree, or the cluster does not answer.
    """
    write_kubeconfig(settings, given["CLUSTER"])
    kubectl(settings, "get", "storageclass", given["STORAGE_CLASS"])
    agree("\n".join(what_will_be(given)), say)
    references = deliver(settings, given, say)
    serving.connect_airflow(settings)
    paths = {"KUBECONFIG": settings.kubeconfig, "AIRFLOW_KUBECONFIG": settings.airflow_kubeconfig, "KUBECTL": program()}
    write_env(settings, paths | given | {f"{name.upper()}_IMAGE": image for name, image in references.items()})


def write_kubeconfig(settings: Settings, context: str) -> None:
    """Copy one context of the user's kubeconfig, so that nothing here ever acts on another.

    :raises LocalError: There is no such context.
    """
    command = [program(), "config", "view", "--raw", "--flatten", "--minify", f"--context={context}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise LocalError(f"Cannot use cluster {context!r}: {shown.stderr.strip()}. See: kubectl config get-contexts")
    settings.kubeconfig.touch(mode=0o600)
    settings.kubeconfig.write_text(shown.stdout)


def what_will_be(given: Mapping[str, str]) -> list[str]:
    """Return what will be created, a line each, for the user to agree to."""
    if all(given.get(name) for name in READY_MADE):
        pictures = f"images: none; {' and '.join(given[name] for name in READY_MADE)} are taken as they are"
    elif registry := given.get("IMAGE_REGISTRY"):
        pictures = f"images: modelsync and server, pushed to {registry}"
    else:
        pictures = "images: modelsync and server, loaded into the kind cluster"
    return [
        f"In cluster {given['CLUSTER']!r} this creates, or updates where it is there:",
        f"  namespace {serving.SYSTEM}: service account airflow, Secret airflow-token",
        "  ValidatingAdmissionPolicies and their bindings modelberth-*: what that account alone may do",
        "  each serving namespace: service account modelsync, Role and RoleBinding modelberth-airflow,",
        "    ConfigMap modelberth-rights,",
        f"    PersistentVolumeClaim {serving.CLAIM} of StorageClass {given['STORAGE_CLASS']},",
        f"    Secret {serving.BUCKET_SECRET}, Deployment and Service embedder",
        f"  {pictures}",
        f"Models go to {given['BUCKET_URL']}, receipts to {given['RECEIPTS_URL']}.",
    ]


def agree(what: str, say: Callable[[str], None]) -> None:
    """Show what will be done and go on only when the user says so.

    :raises LocalError: The user does not, or cannot be asked.
    """
    say(what)
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise LocalError("Nothing was created: there is no terminal to ask at. Run it again with YES=1 to agree.")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise LocalError("Nothing was created.")


def deliver(settings: Settings, given: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Bring the images to where the cluster finds them; return their references by name."""
    ready_made = {name.removesuffix("_IMAGE").lower(): given[name] for name in READY_MADE if name in given}
    if len(ready_made) == len(READY_MADE):
        return ready_made
    packages.ensure(settings.log / "packages.log", BUILDERS)
    log = settings.log / "images.log"
    references = images.build_all(settings, say)
    if registry := given.get("IMAGE_REGISTRY"):
        return {name: images.push(reference, registry, log) for name, reference in references.items()}
    for reference in references.values():
        with images.archive(reference, log) as file:
            name = given["CLUSTER"].removeprefix("kind-")
            run(["kind", "load", "image-archive", str(file), "--name", name], log)
    return {name: images.full_reference(reference) for name, reference in references.items()}
