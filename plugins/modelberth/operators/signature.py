"""Look who has signed what was uploaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from modelberth.catalog import load
from modelberth.core.signature import judge, refusal
from modelberth.operators import release_of
from modelberth.operators.model import ModelOperator
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import release_evidence

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelberth.catalog import Model
    from modelberth.core.signature import Signed
    from modelberth.receipts import Evidence


class VerifySignatureOperator(ModelOperator):
    """
    Verify the signatures that the model's file asks for, as soon as there is a revision that can have one.

    What is found is put on record, whatever it is. A signature that is required and not valid ends the release here,
    before anything is staged: once it is there, the task is cleared and the release goes on. A model's bytes are not
    read.

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Look, leave the receipt, and return what was found, for display."""
        with refusals_are_final():
            model = load().model(self.model)
            evidence = release_evidence(model, release_of(context))
            found = examine(model, evidence)
        revision = evidence.read("upload")["revision"]
        for one in found:
            self.log.info("Revision %s: signature (%s) is %s", revision, one.kind, one)
        policies = {kind: asked.policy for kind, asked in model.signatures.items()}
        if refused := judge(policies, found).refused:
            raise AirflowFailException(refusal(revision, refused))
        return {one.kind: str(one) for one in found}


def examine(model: Model, evidence: Evidence) -> list[Signed]:
    """Look at what the model's file asks for by now, and put it on record."""
    from modelberth.signatures.examining import examine  # with the library only where there is something to look at

    return examine(model, evidence) if model.signatures else []


def publishers(model: Model) -> list[str]:
    """Return the words that let an upload take what the publisher's signature is compared with, where it is asked for.

    That is a second digest of every byte, in the pass that sends it.
    """
    beside = model.signature_beside
    return ["--publisher-signature", beside] if beside else []
