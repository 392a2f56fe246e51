"""Bring a model from a directory of the workers into the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError, AirflowTaskTimeout

from modelberth.catalog import DirectorySource, load
from modelberth.core.failure import ExitCode
from modelberth.core.leaving import GONE, wanted
from modelberth.operators import release_of
from modelberth.operators.credentials import environment
from modelberth.operators.keeping import Kept
from modelberth.operators.model import ModelOperator
from modelberth.operators.outcome import summary
from modelberth.operators.refusal import refusals_are_final
from modelberth.operators.signature import publishers
from modelberth.operators.statefolder import StateFolderError
from modelberth.receipts import release_evidence
from modelberth.sources import require_proposed, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Model
    from modelberth.operators.outcome import Outcome


class UploadModelOperator(ModelOperator):
    """
    Upload what the source held when the release was proposed; its revision is known when the last byte is sent.

    The program runs as a process of its own, with the credentials of the bucket's connection in its environment. It
    outlives this task: the next try on the same host joins it. A person who marks or clears the task ends it. What was
    sent before an interruption is kept and not sent again. A source that has moved on since is refused: the release
    would be about something else than what was proposed.

    :param model: The model, as in the catalog.
    """

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(model=model, **kwargs)
        self._killed = False

    def execute(self, context: Context) -> dict[str, str]:
        """Upload, prove that the source stayed as it was, and leave the receipt."""
        with refusals_are_final():
            return self._take_over(load().model(self.model), context)

    def on_kill(self) -> None:
        """Let the following notice: why Airflow ends the task must be asked, and a signal's handler cannot ask."""
        self._killed = True

    def _take_over(self, model: Model, context: Context) -> dict[str, str]:
        if not isinstance(model.source, DirectorySource):
            raise AirflowFailException(
                f"Model {model.name!r} came from a directory when this Dag was made, and from a network now: start a "
                "new release."
            )
        release_id = release_of(context)
        evidence = release_evidence(model, release_id)
        proposed, source = evidence.read("resolve"), source_of(model)
        require_proposed(model.name, source, proposed)
        kept = self._kept(release_id, words(model, release_id))
        result = self._upload(model, kept, context)
        require_proposed(model.name, source, proposed)
        digest = evidence.write("upload", result)
        kept.forget()  # only now: a try that died before it would find the result
        return summary(result, digest)

    def _kept(self, release_id: str, command: Sequence[str]) -> Kept:
        try:
            return Kept(release_id, command)
        except StateFolderError as error:
            raise AirflowException(str(error)) from error

    def _upload(self, model: Model, kept: Kept, context: Context) -> dict[str, Any]:
        begun = kept.begin(lambda: environment(model.bucket))
        self.log.info("%s: the upload to %s %s.", model.name, model.bucket.url, begun.value)
        try:
            outcome = kept.follow(lambda line: self.log.info("%s", line), lambda: self._look(kept, context))
        except AirflowTaskTimeout:
            kept.end()
            raise
        if outcome.exit_code != ExitCode.OK:
            kept.forget()
        return result_of(outcome, may_expire=kept.may_expire)

    def _look(self, kept: Kept, context: Context) -> None:
        """When the task is told to end, end the upload with it, or leave it to the next try."""
        if not self._killed:
            return
        self._killed = False  # asked once; the upload's end is followed like any other
        state = state_of(context)
        if wanted(state) or not kept.end():
            raise AirflowException(
                f"This task is told to end (Airflow says of it: {state or 'nothing'}). The upload goes on: the next "
                "try on this host joins it."
            )
        self.log.info("The upload is told to end (Airflow says of this task: %s). What was sent is kept.", state)


def words(model: Model, release_id: str) -> list[str]:
    """Return the program's command line."""
    source: Any = model.source
    where = ["upload", str(source.directory), model.bucket.url, "--model", model.name, "--upload", release_id]
    return where + publishers(model)


def state_of(context: Context) -> str | None:
    """Return what the server says of this task by now; None when it says nothing."""
    ti, run_id = context["ti"], context["run_id"]
    try:
        runs = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[run_id])
    except AirflowRuntimeError:
        return None
    state: str | None = runs.get(run_id, {}).get(ti.task_id, GONE)
    return state


def result_of(outcome: Outcome, *, may_expire: bool) -> dict[str, Any]:
    """Return the result; its "upload" may be an earlier one that holds the same bytes.

    :param may_expire: Whether credentials that were refused may just have expired; else that is final.
    """
    try:
        return outcome.result("upload")
    except AirflowFailException as error:
        if outcome.exit_code == ExitCode.DENIED and may_expire:
            raise AirflowException(f"{error}\nThe next try has credentials made anew.") from error
        raise
