"""The asset ``modelberth://<model>``: it has an event whenever another snapshot of the model went live.

So other Dags can be scheduled on it::

    with DAG("evaluate", schedule=[Asset("modelberth://minilm")]): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelberth.core.digest import Digest
    from modelberth.core.plan import Plan

LIVE = AssetAlias("modelberth-live")
"""The outlet of the tasks that tell. Not the assets themselves: for an asset's address Airflow loads all providers that
know addresses, and the clients of two clouds, in whatever reads the Dag file (0.5 s of a processor)."""


def asset_of(model: str) -> Asset:
    """Return the asset of *model*; Airflow ends its address with a slash."""
    return Asset(f"modelberth://{model}")


def tell(context: Context, plan: Plan, record: Digest) -> None:
    """Let the event of every model that *plan* has brought into service say what it is now, and where.

    :param record: The receipt that proves it: the head of the release's chain.
    """
    for model in plan.models:
        about = {
            "revision": str(model.revision),
            "targets": [one.name for one in plan.targets if one.bindings_of(model.model)],
            "release_id": plan.release_id,
            "receipt": str(record),
        }
        context["outlet_events"][LIVE].add(asset_of(model.model), extra=about)
