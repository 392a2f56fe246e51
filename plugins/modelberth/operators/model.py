"""What is done for one model, once in a release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence


class ModelOperator(BaseOperator):
    """
    A step of a model's release.

    :param model: The model, as in the catalog. (templated)
    """

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
