"""What Airflow loads of Modelberth by itself: this file and no other below plugins/ (see .airflowignore)."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

from airflow.plugins_manager import AirflowPlugin

from modelberth.operators import pools

_EARLY_IN = {"scheduler", "dag-processor", "triggerer"}
"""The first two fork for each task and each Dag file: what they have imported, their children need not. The third
would import it while the first rollout waits. It takes seconds."""

_EARLY = ("modelberth.operators", "modelberth.sensors", "modelberth.triggers")


def _import_early() -> None:
    """Import what Dag files and tasks do: our operators, which bring Kubernetes' clients, and the hook for evidence."""
    import_module("airflow.providers.amazon.aws.hooks.s3")
    for package in _EARLY:
        path = import_module(package).__path__
        for module in pkgutil.iter_modules(path, f"{package}."):
            import_module(module.name)


if _EARLY_IN.intersection(sys.argv[1:2]):
    _import_early()


class ModelberthPlugin(AirflowPlugin):
    """Modelberth's parts that are not in Dags."""

    name = "modelberth"
    listeners = (pools,)
