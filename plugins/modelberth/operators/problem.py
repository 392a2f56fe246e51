"""Say what is wrong with a catalog file where people look: in the Dag that it should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class CatalogProblemOperator(BaseOperator):
    """
    Fail with everything that is wrong with a catalog file.

    :param problems: One line a problem.
    """

    def __init__(self, *, problems: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow passes it by name
        """Fail with all problems."""
        raise AirflowFailException("Correct the catalog:\n- " + "\n- ".join(self.problems))
