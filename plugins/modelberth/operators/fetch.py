"""Bring a model from a source behind a network into the bucket, in a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiException
from kubernetes.client import models as k8s

from modelberth.catalog import CatalogError, DirectorySource
from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode
from modelberth.core.fetchlist import FetchList
from modelberth.core.revision import Revision
from modelberth.kubernetes.handing import give_secret
from modelberth.operators.outcome import Outcome, summary
from modelberth.operators.pod import ModelPodOperator
from modelberth.operators.signature import publishers
from modelberth.receipts import open_store
from modelberth.receipts.uploaded import uploaded_record
from modelberth.sources import require_proposed, source_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Service

RESOURCES = k8s.V1ResourceRequirements(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "512Mi"})
"""Of uploads: parts of 8 MiB on their way, and the stores' own clients."""


class FetchModelOperator(ModelPodOperator):
    """
    Upload what the source held when the release was proposed, in a pod, through memory and never over a disk.

    The pod is told by a fetch list, which lies in the bucket under its own digest; the digest is the pod's argument, so
    nobody can exchange the list. The list is made anew for every try, from the version that was proposed: URLs that
    expired are renewed, and an alias that moved meanwhile changes nothing. What was sent before is kept.

    The pod runs in the namespace of the model's first service. It gets the source's credentials from the Secret that
    the model's file names, from its own service account, or else from a Secret that it owns: made from the Airflow
    connection, never part of the pod's specification, deleted with the pod.

    :param model: The model, as in the catalog.
    """

    template_fields = ("model",)
    step = "upload"
    reads_bucket = True

    def __init__(self, *, model: str, target: str = "", **kwargs: Any) -> None:
        super().__init__(model=model, target=target, **kwargs)
        self.container_resources = RESOURCES
        self._credentials: dict[str, str] = {}
        self._scratch = 0

    def service_of(self, catalog: Catalog) -> Service:
        """Return the first service of the model: its pods are trusted with the bucket already."""
        services = catalog.services_of(self.model)
        if not services:
            raise CatalogError(f"No service binds model {self.model!r}: there is no namespace to upload it from.")
        return services[0]

    def basis(self) -> dict[str, Any]:
        """Return the receipt of the proposal."""
        return self.evidence.read("resolve")

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the arguments of ``modelberth upload``, having put the list where the pod finds it."""
        source = source_of(self.config)
        found = require_proposed(self.model, source, basis)
        if not isinstance(found.held, FetchList):
            raise AirflowFailException(
                f"Model {self.model!r} came from another kind of source when this Dag was made: start a new release."
            )
        if self._lends:
            self._credentials = dict(source.credentials())
        self._scratch = _scratch(found.held)
        data = found.held.dump()
        bucket, digest = self.config.bucket, Digest.of(data)
        open_store(bucket.url, bucket.connection).create(layout.fetch_list_key(self.model, digest), data)
        where = ["upload", str(digest), bucket.url, "--model", self.model, "--upload", self.release_id]
        known = uploaded_record(self.config).revision(found.name)
        return [*where, *publishers(self.config), *(("--known", str(known)) if known else ())]

    def mounts(self) -> tuple[list[k8s.V1Volume], list[k8s.V1VolumeMount]]:
        """Return none but for archives: only what has to be unpacked is ever on a disk, and gone with the pod."""
        if not self._scratch:
            return [], []
        room = k8s.V1EmptyDirVolumeSource(size_limit=str(self._scratch))
        return [k8s.V1Volume(name="scratch", empty_dir=room)], [k8s.V1VolumeMount(name="scratch", mount_path="/tmp")]  # noqa: S108 - its own

    def specify(self, basis: dict[str, Any]) -> None:
        """Name the Secret with the source's credentials, if the catalog does."""
        super().specify(basis)
        if name := self._source.secret:
            self.env_from = [*self.env_from, _from_secret(name)]

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """Let the pod wait for the Secret that it is to own: they have one name."""
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        if self._credentials:
            container = pod.spec.containers[0]
            container.env_from = [*(container.env_from or []), _from_secret(pod.metadata.name)]
        return pod

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """Give the pod its Secret as soon as there is a pod to own it."""
        pod = super().get_or_create_pod(pod_request_obj, context)
        if self._credentials:
            try:
                give_secret(self.client, pod.metadata, self._credentials)
            except ApiException as error:
                self.process_pod_deletion(pod)  # it would wait for ever
                raise self._no_secret(error) from error
        return pod

    def _no_secret(self, error: ApiException) -> AirflowException:
        kind = AirflowFailException if error.status in (401, 403) else AirflowException
        return kind(
            f"Airflow could not give the pod the credentials of model {self.model!r}'s source: creating a Secret in "
            f"namespace {self.service.namespace} was answered with {error.status} {error.reason}. Apply "
            "include/kubernetes/rbac.yaml there, or give the source a 'secret', or 'identity: true'."
        )

    def _keep(self, context: Context, outcome: Outcome) -> None:
        """Write the receipt, or fail as the program's exit code says."""
        try:
            result = outcome.result(self.step) | {"pod": outcome.where, "node": outcome.node}
        except AirflowFailException as error:
            if outcome.exit_code == ExitCode.DENIED and self._lends:
                raise AirflowException(f"{error}\nThe next try has credentials made anew.") from error
            raise
        digest = self.evidence.write(self.step, result)
        source_version = Digest.parse(self.basis()["source_version"])
        uploaded_record(self.config).add(source_version, Revision.parse(result["revision"]), self.release_id, digest)
        context["ti"].xcom_push(key="return_value", value=summary(result, digest))

    @property
    def _source(self) -> Any:
        if isinstance(self.config.source, DirectorySource):
            raise AirflowFailException(
                f"Model {self.model!r} came from a network when this Dag was made, and from a directory now: start a "
                "new release."
            )
        return self.config.source

    @property
    def _lends(self) -> bool:
        """Whether the pod gets what the connection has: neither a Secret of its own nor its service account."""
        return not self._source.secret and not self._source.identity


def _scratch(held: FetchList) -> int:
    """Return how many bytes a list may need on a disk: its archives, and what they may unpack to."""
    if not held.archives:
        return 0
    most = max(archive.most for archive in held.archives) - sum(file.size for file in held.files)
    return sum(archive.file.size for archive in held.archives) + max(0, most)


def _from_secret(name: str) -> k8s.V1EnvFromSource:
    return k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name))
