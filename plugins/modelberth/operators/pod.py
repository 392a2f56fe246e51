"""One command of our program in one pod on a claim: what sync, verify and check have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.container import get_container_status
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s

from modelberth.catalog import load
from modelberth.core import approval
from modelberth.core.revision import Snapshot
from modelberth.kubernetes.ourpod import USER
from modelberth.operators import release_of
from modelberth.operators.outcome import Outcome, summary
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import release_evidence
from modelberth.receipts.damage import damage_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from pendulum import DateTime

    from modelberth.catalog import Catalog, Model, Service
    from modelberth.core.digest import Digest
    from modelberth.receipts import Evidence
    from modelberth.receipts.damage import DamageRecord

CLAIM = "/claim"
"""Where our pods see the claim; serving pods see it where they like."""

STAYS, LOOK = 15.0, 0.2
"""Seconds for which a task stays with its pod before it is deferred, and between two looks. A small model's pod ends
within three, and a deferral alone costs as much (docs/benchmarks.md); a large one's takes no worker for longer."""

POD_SECURITY = k8s.V1PodSecurityContext(
    run_as_non_root=True,
    run_as_user=USER,
    run_as_group=USER,
    fs_group=USER,
    # Without it kubelet walks the whole claim before every start and makes 0444 files writable for the group.
    fs_group_change_policy="OnRootMismatch",
    seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
)
CONTAINER_SECURITY = k8s.V1SecurityContext(
    allow_privilege_escalation=False,
    read_only_root_filesystem=True,
    capabilities=k8s.V1Capabilities(drop=["ALL"]),
)
RESOURCES = k8s.V1ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "256Mi"})
NODE_NAME = k8s.V1EnvVar(
    name="NODE_NAME",
    value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="spec.nodeName")),
)


class ModelPodOperator(KubernetesPodOperator):
    """
    Run one command of the ``modelberth`` program in a pod on a service's claim, and keep its result as a receipt.

    The result comes through the pod's termination message; a pod that ends well without one has proven nothing, and
    the task fails. What a person may change after the Dag was parsed (catalog, evidence) is read in ``execute`` and
    never rendered: Airflow renders template fields a second time when a deferred task resumes.

    :param model: The model, as in the catalog.
    :param target: What the receipt is about: a service, whose claim is staged on once, or one target of the release.
    """

    template_fields: Sequence[str] = ("model", "target")

    step: ClassVar[str]
    """The program's command and the receipt's name."""
    reads_bucket: ClassVar[bool] = False
    writes_claim: ClassVar[bool] = False

    def __init__(self, *, model: str, target: str, **kwargs: Any) -> None:
        super().__init__(
            cmds=["modelberth"],
            pod_runtime_info_envs=[NODE_NAME],
            container_resources=RESOURCES,
            security_context=POD_SECURITY,
            container_security_context=CONTAINER_SECURITY,
            automount_service_account_token=False,
            startup_timeout_seconds=900,  # a claim to attach, an image to pull, a node to come
            startup_check_interval_seconds=1,
            deferrable=True,
            poll_interval=1,
            logging_interval=5,
            log_events_on_failure=True,
            log_pod_spec_on_failure=False,
            do_xcom_push=False,  # True would add a sidecar: _keep pushes what is worth it
            **kwargs,
        )
        self.model = model
        self.target = target
        self._outcome: Outcome | None = None
        self._claim = ""

    def service_of(self, catalog: Catalog) -> Service:
        """Return the service on whose claim this step works."""
        return catalog.service(self.target)

    def basis(self) -> dict[str, Any]:
        """Return the receipt that this step rests on."""
        raise NotImplementedError

    def command(self, basis: dict[str, Any]) -> list[str]:
        """Return the program's arguments."""
        raise NotImplementedError

    def expected(self, basis: dict[str, Any]) -> dict[str, str]:
        """Return what the program's result must repeat: what was asked for is what must have been done."""
        return {"revision": basis["revision"], "snapshot": basis["snapshot"]}

    def write(self, result: dict[str, Any]) -> Digest:
        """Put *result* on record and return the record's digest."""
        return self.evidence.write(self.step, result, target=self.target)

    def damaged(self, basis: dict[str, Any], report: dict[str, Any]) -> tuple[str, Snapshot]:  # noqa: ARG002
        """Return the model and the snapshot that a mismatch is about."""
        return self.model, Snapshot.parse(basis["snapshot"])

    def execute(self, context: Context) -> None:
        """Start the pod and wait for it without a worker; ``trigger_reentry`` goes on from there."""
        with refusals_are_final():
            self._connect(context)
            self.specify(self.basis())
        super().execute(context)

    def invoke_defer_method(self, last_log_time: DateTime | None = None, context: Context | None = None) -> None:
        """Stay with a pod that ends soon: then Airflow's method takes its result at once, and defers otherwise."""
        end = time.monotonic() + STAYS
        while not self._has_ended() and time.monotonic() < end:
            time.sleep(LOOK)
        super().invoke_defer_method(last_log_time, context)

    def _has_ended(self) -> bool:
        """Return whether the pod as a whole has ended, and know it as it is now."""
        self.pod = self.hook.get_pod(self.pod.metadata.name, self.pod.metadata.namespace)
        return self.pod.status.phase in ("Succeeded", "Failed")

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """Take the result when the pod has ended; called on resume, or at once when it ended before the deferral."""
        with refusals_are_final():
            self._connect(context)
        where = f"Pod {event['namespace']}/{event['name']}"
        try:
            super().trigger_reentry(context, event)
        except AirflowException as error:
            if self._outcome is None:  # not started, evicted, deleted: the event knows why, the error does not
                raise AirflowException(f"{where} never ran to an end: {event.get('message') or error}") from error
        if self._outcome is None:
            raise AirflowException(f"{where} is gone and its result with it: nothing is proven.")
        with refusals_are_final():
            self._keep(context, self._outcome)

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: dict | None = None, context: Context | None = None
    ) -> None:
        """Read how the program ended before the pod is deleted."""
        self._outcome = read_outcome(remote_pod, self.base_container_name)
        self._claim = claim_of(remote_pod)
        super().cleanup(pod, remote_pod, xcom_result, context)

    def patch_already_checked(self, pod: k8s.V1Pod, *, reraise: bool = True) -> None:
        """Leave the pod as it is: it is deleted next, and Airflow's account may not change pods."""

    def _connect(self, context: Context) -> None:
        """Look up what every leg of the task needs; a resumed task is a new process."""
        self.catalog: Catalog = load()
        self.config: Model = self.catalog.model(self.model)
        self.service: Service = self.service_of(self.catalog)
        self.release_id = release_of(context)
        self.evidence: Evidence = release_evidence(self.config, self.release_id)
        self.damage: DamageRecord = damage_record(self.config, self.service)
        self.kubernetes_conn_id = self.service.connection

    def specify(self, basis: dict[str, Any]) -> None:
        """Fill in the pod that KubernetesPodOperator builds."""
        service = self.service
        self.name = f"{self.step}-{self.model}"
        self.namespace = service.namespace
        self.image = service.pods.image
        self.arguments = self.command(basis)
        self.service_account_name = service.pods.service_account
        self.labels = {
            "modelberth.dev/model": self.model,
            "modelberth.dev/release": self.release_id,
            "modelberth.dev/step": self.step,
        }
        self.volumes, self.volume_mounts = self.mounts()
        if self.reads_bucket:
            secret = k8s.V1SecretEnvSource(name=service.pods.bucket_secret, optional=True)
            self.env_from = [k8s.V1EnvFromSource(secret_ref=secret)]

    def mounts(self) -> tuple[list[k8s.V1Volume], list[k8s.V1VolumeMount]]:
        """Return what the pod has beside its image: the claim."""
        read_only = not self.writes_claim
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=self.service.claim, read_only=read_only)
        volume = k8s.V1Volume(name="claim", persistent_volume_claim=claim)
        return [volume], [k8s.V1VolumeMount(name="claim", mount_path=CLAIM, read_only=read_only)]

    def _require_same_claim(self, outcome: Outcome) -> None:
        """Refuse a proof from another claim than the catalog names by now: the receipt would name the wrong one."""
        claim = f"{self.service.namespace}/{self.service.claim}"
        if self._claim != claim:
            raise AirflowException(
                f"{outcome.where} ran on claim {self._claim or 'unknown'}, but service {self.target!r} is on {claim} "
                "by now: the catalog changed meanwhile, and nothing is proven."
            )

    def _keep(self, context: Context, outcome: Outcome) -> None:
        """Write the receipt, or fail as the program's exit code says."""
        self._require_same_claim(outcome)
        basis = self.basis()
        if outcome.mismatch and not self.reads_bucket:
            model, snapshot = self.damaged(basis, outcome.report)
            config = self.config if model == self.model else self.catalog.model(model)
            record = damage_record(config, self.service)
            record.add(snapshot, f"{self.step} of release {self.release_id}", outcome.problems)
        result = outcome.result(self.step, **self.expected(basis))
        result |= {"pod": outcome.where, "node": outcome.node, **approval.place(self.service)}
        digest = self.write(result)
        context["ti"].xcom_push(key="return_value", value=summary(result, digest))


def claim_of(pod: k8s.V1Pod | None) -> str:
    """Return the claim that *pod* has, as namespace/name."""
    volumes = (pod.spec.volumes or []) if pod else []
    names = [one.persistent_volume_claim.claim_name for one in volumes if one.persistent_volume_claim]
    return f"{pod.metadata.namespace}/{names[0]}" if pod and names else ""


def read_outcome(pod: k8s.V1Pod | None, container: str) -> Outcome | None:
    """Return how *container* of *pod* ended, or None while nobody can know."""
    status = get_container_status(pod, container) if pod else None
    ended = status.state.terminated if status and status.state else None
    if ended is None:
        return None
    return Outcome(
        exit_code=ended.exit_code,
        message=ended.message or "",
        where=f"Pod {pod.metadata.namespace}/{pod.metadata.name}",
        reason=ended.reason if ended.reason not in ("Completed", "Error") else "",
        node=pod.spec.node_name or "",
    )
