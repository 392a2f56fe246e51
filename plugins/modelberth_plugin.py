"""What Airflow loads of Modelberth by itself: this file and no other below plugins/ (see .airflowignore)."""

from __future__ import annotations

import sys

from airflow.plugins_manager import AirflowPlugin

_FORKING = {"scheduler", "dag-processor"}

if _FORKING.intersection(sys.argv[1:2]):
    # These fork for each task and each Dag file: what they have imported, their children need not. It takes 5 s of CPU.
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: F401 - most tasks read evidence with it
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator  # noqa: F401


class ModelberthPlugin(AirflowPlugin):
    """Modelberth's parts that are not in Dags."""

    name = "modelberth"
