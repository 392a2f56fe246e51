"""What tests that were killed left in an environment that goes on: namespaces, volumes, fake nodes, and buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fake_nodes
import serving
import stores
from kubectl import kubectl

if TYPE_CHECKING:
    from settings import Settings


def clear(settings: Settings) -> None:
    """Delete them."""
    selector = f"--selector={serving.FOR_A_TEST}=true"
    names = kubectl(
        settings, "get", "namespaces", selector, "--output=jsonpath={.items[*].metadata.name}"
    ).stdout.split()
    for name in names:
        serving.delete_namespace(settings, name)
    fake_nodes.remove(settings)
    buckets = stores.clear_test_buckets(settings)
    if names or buckets:
        print(f"cleared what killed tests left behind: {', '.join([*names, *buckets])}", flush=True)
