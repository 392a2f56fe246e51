"""The steps that bring one version which a registry names: a release's own, up to the verify, with their receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.catalog import load
from modelberth.core.release import RELEASE_ID
from modelberth.core.revision import MODEL_NAME, Snapshot
from modelberth.core.signature import judge, refusal
from modelberth.operators.fetch import FetchModelOperator
from modelberth.operators.pod import ModelPodOperator
from modelberth.operators.signature import examine
from modelberth.operators.staging import receipts_of, staged_model
from modelberth.operators.sync import SyncModelOperator
from modelberth.operators.verify import VerifyModelOperator
from modelberth.receipts import EvidenceForgedError, evidence_at
from modelberth.receipts.damage import damage_record
from modelberth.receipts.verified import verified_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Service
    from modelberth.core.digest import Digest

PROBLEM = "problem"
"""The XCom under which a step says why it failed, for the table; nothing relies on it."""


class Staged(ModelPodOperator):
    """
    One step about one version that a registry names.

    What it is about comes from the signed receipt that *list* left, so nobody can have another thing brought by
    changing an XCom.

    :param model: The model. (templated)
    :param target: The service. (templated)
    :param version: The registry's name of the version. (templated)
    :param release_id: Under which the evidence about it is. (templated)
    """

    template_fields: Sequence[str] = ("model", "target", "version", "release_id")

    def __init__(self, *, version: str, release_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.release_id = release_id

    def execute(self, context: Context) -> None:
        """Start the pod."""
        self._telling(context, super().execute)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """Take the result when the pod has ended."""
        self._telling(context, lambda given: super(Staged, self).trigger_reentry(given, event))

    def service_of(self, catalog: Catalog) -> Service:
        """Return the service whose claim it is about."""
        return catalog.service(self.target)

    def _telling(self, context: Context, do: Any) -> None:
        try:
            do(context)
        except AirflowException as error:
            context["ti"].xcom_push(key=PROBLEM, value=str(error)[:1000])
            raise

    def _connect(self, context: Context) -> None:  # noqa: ARG002 - the interface's
        """Look up what every leg of the task needs, by what is signed."""
        if not RELEASE_ID.fullmatch(self.release_id) or not MODEL_NAME.fullmatch(self.model):
            raise EvidenceForgedError(f"{self.model!r} {self.release_id!r} is nothing that 'list' asked for.")
        self.catalog = load()
        self.service = self.service_of(self.catalog)
        receipts = receipts_of(self.catalog, self.service, self.model)
        self.evidence = evidence_at(receipts.url, receipts.connection, self.model, self.release_id)
        about = self.evidence.read("resolve")
        if (about.get("stage"), about.get("named")) != (self.target, self.version):
            raise EvidenceForgedError(
                f"Receipt 01-resolve of {self.model}/{self.release_id} is not about version {self.version!r} for "
                f"service {self.target!r}: 'list' did not ask for it. Start a new run."
            )
        self.config = staged_model(self.catalog, self.service, self.model, about["source"])
        self.damage = damage_record(self.config, self.service)
        self.kubernetes_conn_id = self.service.connection


class FetchStagedOperator(Staged, FetchModelOperator):
    """Bring a version from its source into the bucket, in a pod of the service's namespace."""


class SyncStagedOperator(Staged, SyncModelOperator):
    """Bring it onto the claim, as a snapshot that nothing serves; not without a signature that is required."""

    def specify(self, basis: dict[str, Any]) -> None:
        """Look at the signatures that the model's file asks for, then fill in the pod."""
        policies = {kind: asked.policy for kind, asked in self.config.signatures.items()}
        if refused := judge(policies, examine(self.config, self.evidence)).refused:
            raise AirflowFailException(refusal(basis["revision"], refused))
        super().specify(basis)


class VerifyStagedOperator(Staged, VerifyModelOperator):
    """Read every byte of it again, and put on record that it is whole: the next run leaves it alone."""

    def write(self, result: dict[str, Any]) -> Digest:
        """Keep the result as a receipt, and beside what is on record of the claim."""
        digest = super().write(result)
        verified_record(self.config, self.service).add(Snapshot.parse(result["snapshot"]), result)
        return digest
