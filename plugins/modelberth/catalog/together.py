"""Whether models can be switched in one plan: base and adapter, which must fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.catalog import Catalog


def together_problems(catalog: Catalog, name: str, others: Sequence[str]) -> list[str]:
    """Return why a release of model *name* cannot switch *others* as well, as whole sentences.

    another model                             | can
    ------------------------------------------+----
    named twice, or *name* itself             | no
    no usable file                            | no
    served by a workload that *name* is not   | no
    receipts in another place                 | no
    else                                      | yes
    """
    if len({name, *others}) != len(others) + 1:
        return [f"'with' names {', '.join(others)}: expected other models than {name!r}, each once."]
    return [problem for other in others for problem in _problems(catalog, name, other)]


def _problems(catalog: Catalog, name: str, other: str) -> list[str]:
    if other not in catalog.models:
        return [f"'with' names {other!r}, which is no model; there are: {', '.join(catalog.models)}."]
    ours, theirs = ({target.name for target in catalog.targets(one)} for one in (name, other))
    if not theirs:
        return [f"No service binds model {other!r}: there is nothing to switch."]
    if beyond := sorted(theirs - ours):
        told = f"{', '.join(beyond)} as well, which a release of {name!r} does not change"
        return [f"Model {other!r} is served by {told}: release {other!r} by itself, or start with {other!r}."]
    if catalog.model(other).receipts != catalog.model(name).receipts:
        return [f"Models {name!r} and {other!r} keep their receipts in different places: keep them in one."]
    return []


def nothing_waits(name: str) -> str:
    """Return what is said of a model that could be switched as well, but has nothing on offer."""
    return f"Model {name!r} has no release that waits for a decision: start release_{name}, and do not answer it."
