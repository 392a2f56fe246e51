"""Take away from a bucket what nothing uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from modelberth.catalog import load
from modelberth.core.prune import Do
from modelberth.core.prunelist import in_bucket, table
from modelberth.kubernetes.client import ClusterUnreachableError
from modelberth.kubernetes.pruning import decisions, seen_of_model
from modelberth.operators.child import Child
from modelberth.operators.credentials import environment
from modelberth.operators.refusal import refusals_are_final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Model
    from modelberth.core.prune import Decision, Lying, Seen


class PruneBucketOperator(BaseOperator):
    """
    Condemn a model's revisions that nothing uses, and delete the bytes of those that were condemned for their grace.

    Use is looked up again right before anything is deleted. Manifests stay; adopted objects as well. With *dry_run*
    nothing is changed.

    :param model: The model, as in the catalog. (templated)
    :param dry_run: Only show what would be done. (templated)
    """

    template_fields: Sequence[str] = ("model", "dry_run", "plan")
    template_fields_renderers = {"plan": "md"}  # noqa: RUF012 - as BaseOperator has it
    overwrite_rtif_after_execution = True  # the plan is known after execution, and shown where rendered fields are

    def __init__(self, *, model: str, dry_run: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.dry_run = dry_run
        self.plan = ""
        self._child: Child | None = None

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - Airflow passes it by name
        """Show the plan; unless that is all, do it."""
        try:
            with refusals_are_final():
                catalog = load()
                model = catalog.model(self.model)
                there, doomed = in_bucket(self._run(model, "list", "--model", model.name))
                seen = self._seen(catalog, there)
                decided = decisions(catalog, there, seen)
                self.plan = table(decided, {}, seen)
                self.log.info("Bucket %s of %s:\n%s", model.bucket.url, model.name, self.plan)
                done = {} if str(self.dry_run).lower() != "false" else self._do(catalog, decided, doomed)
        except ClusterUnreachableError as error:
            raise AirflowException(str(error)) from error
        return {"bucket": model.bucket.url, "plan": self.plan, **done}

    def on_kill(self) -> None:
        """End the child with the task."""
        if self._child:
            self._child.end()

    def _seen(self, catalog: Catalog, there: Sequence[Lying]) -> Seen:
        return seen_of_model(catalog, self.model, there).of_revisions()

    def _do(self, catalog: Catalog, decided: Sequence[Decision], doomed: Sequence[str]) -> dict[str, str]:
        """Mark and lift; look again; delete what is still unused, and what was half removed."""
        model = catalog.model(self.model)
        chosen = {do: [str(one.lying) for one in decided if one.do is do] for do in Do}
        marked = self._steps(model, lift=chosen[Do.LIFT], condemn=chosen[Do.CONDEMN])
        due = [one.lying for one in decided if one.do is Do.DELETE]
        again = decisions(catalog, due, self._seen(catalog, due)) if due else []
        still = [one.lying.this_condemnation for one in again if one.do is Do.DELETE]
        deleted = self._steps(model, delete=[*still, *doomed])
        return {
            "condemned": str(len(marked["condemn"])),
            "lifted": str(len(marked["lift"])),
            "deleted": str(len(deleted["delete"])),
            "bytes_freed": str(deleted["bytes_freed"]),
        }

    def _steps(self, model: Model, **steps: list[str]) -> dict[str, Any]:
        words = [word for step, named in steps.items() if named for word in (f"--{step}", *named)]
        return (
            self._run(model, "prune", *words) if words else {"condemn": [], "lift": [], "delete": [], "bytes_freed": 0}
        )

    def _run(self, model: Model, command: str, *words: str) -> dict[str, Any]:
        with environment(model.bucket) as variables:
            self._child = Child([command, model.bucket.url, *words], variables)
            return self._child.follow(self.log).result(command)
