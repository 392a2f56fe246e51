"""Bring a model from its source into the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from modelberth.catalog import DirectorySource, load
from modelberth.operators import release_of
from modelberth.operators.child import Child
from modelberth.operators.credentials import environment
from modelberth.operators.outcome import summary
from modelberth.operators.refusal import refusals_are_final
from modelberth.receipts import release_evidence
from modelberth.sources import require_proposed, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from modelberth.catalog import Model


class UploadModelOperator(BaseOperator):
    """
    Upload what the source held when the release was proposed; its revision is known when the last byte is sent.

    The program runs as a child process, with the credentials of the bucket's connection in its environment. What was
    sent before an interruption is kept and not sent again. A source that has moved on since is refused: the release
    would be about something else than what was proposed.

    :param model: The model, as in the catalog.
    """

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self._child: Child | None = None

    def execute(self, context: Context) -> dict[str, str]:
        """Upload, prove that the source stayed as it was, and leave the receipt."""
        with refusals_are_final():
            return self._take_over(load().model(self.model), release_of(context))

    def on_kill(self) -> None:
        """End the child with the task."""
        if self._child:
            self._child.end()

    def _take_over(self, model: Model, release_id: str) -> dict[str, str]:
        if not isinstance(model.source, DirectorySource):
            raise AirflowFailException(
                f"Model {model.name!r} came from a directory when this Dag was made, and from a network now: start a "
                "new release."
            )
        evidence = release_evidence(model, release_id)
        proposed, source = evidence.read("resolve"), source_of(model)
        require_proposed(model.name, source, proposed)
        result = self._upload(model, release_id, model.source.directory)
        require_proposed(model.name, source, proposed)
        digest = evidence.write("upload", result)
        return summary(result, digest)

    def _upload(self, model: Model, release_id: str, source: Path) -> dict[str, Any]:
        arguments = ("upload", str(source), model.bucket.url, "--model", model.name)
        self.log.info("%s: uploading %s to %s as %s", model.name, source, model.bucket.url, release_id)
        with environment(model.bucket) as variables:
            self._child = Child([*arguments, "--upload", release_id], variables)
            outcome = self._child.follow(self.log)
        return outcome.result("upload")  # its "upload" may be an earlier one that holds the same bytes
