"""The demo's catalog on a cluster of the user's own: the files of include/, with what ``.local/env`` says in them.

    .local/catalog/models/minilm.yaml        bucket, receipts and their connections; the source of this checkout
    .local/catalog/services/embedder.yaml    namespace and the pods' image

The local demo uses include/ as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from env import read_env
from local_airflow import BUCKET_CONNECTIONS, PROJECT, scheme

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from settings import Settings


def folder(settings: Settings) -> Path:
    """Return the folder with ``models/`` and ``services/`` that the demo uses."""
    own_cluster = settings.env.exists() and read_env(settings).get("CLUSTER")
    return settings.state / "catalog" if own_cluster else PROJECT / "include"


def write(settings: Settings, env: Mapping[str, str]) -> None:
    """Write the catalog for the cluster that *env* (``.local/env``) names; nothing for the local one."""
    if "CLUSTER" not in env:
        return
    files = {
        "models/minilm.yaml": {
            "source": {"path": str(settings.state / "models" / "minilm")},
            "bucket": {"url": env["BUCKET_URL"], "connection": BUCKET_CONNECTIONS[scheme(env["BUCKET_URL"])]},
            "receipts": {"url": env["RECEIPTS_URL"]},
        },
        "services/embedder.yaml": {
            **({"namespace": env["SERVING_NAMESPACE"]} if "SERVING_NAMESPACE" in env else {}),
            "pods": {"image": env["MODELSYNC_IMAGE"]},
        },
    }
    for name, changes in files.items():
        document = yaml.safe_load((PROJECT / "include" / name).read_text())
        path = settings.state / "catalog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Written by make demo from include/{name}.\n{yaml.safe_dump(_changed(document, changes))}")


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return *document* with *changes* in it, each in its place."""
    merged = {
        key: _changed(document[key], value) if isinstance(value, dict) else value for key, value in changes.items()
    }
    return document | merged
