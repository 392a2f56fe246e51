"""What a model server's own report names, in the three forms that reports come in.

path     any JSON: somewhere in it one whole string is the path, or the revision
vllm     GET /v1/models: {"object": "list", "data": [{"id": "m", "root": "<path>", "parent": null, ...},
                                                     {"id": "adapter", "root": "<path>", "parent": "m", ...}]}
triton   POST /v2/repository/index: [{"name": "m", "version": "1", "state": "READY", "reason": ""}, ...]

``root`` is what vLLM was started with, a directory or a file in it. Triton's index names no path: it shows that what
the server was started with is loaded, and the pod's command line shows what that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Named:
    """One binding as a report may name it.

    :param former: What the variable was before; None where it was not set or stays the same.
    """

    path: str
    revision: str
    former: str | None = None


def path_problem(document: Any, named: Sequence[Named]) -> str | None:
    """Return why the JSON *document* does not report every one of *named*, None if it does.

    a string in it is, for each of *named* | reported
    ---------------------------------------+---------
    its path                               | yes
    its revision                           | yes
    only part of either                    | no: a list of what is on the claim would name everything
    neither                                | no
    """
    texts = set(_strings(document))
    missing = [one for one in named if not texts & {one.path, one.revision}]
    return f"its report names neither {_both(missing)}" if missing else None


def vllm_problem(document: Any, named: Sequence[Named]) -> str | None:
    """Return why the model list *document* does not report every one of *named*, None if it does.

    a card's root, for each of *named* | its parent          | reported
    -----------------------------------+---------------------+-----------------------------------------------
    the path, or something in it       | none                | yes
    the path, or something in it       | the id of a card    | yes: an adapter on what is served
    the path, or something in it       | of no card          | no
    the former path                    | any                 | no, whatever else is: that is served as well
    none is                            | any                 | no
    """
    cards = document.get("data") if isinstance(document, dict) else None
    if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
        return "its report is not vLLM's list of models: expected an object with a list 'data'"
    ids = {card.get("id") for card in cards if isinstance(card.get("id"), str)}
    roots = [str(card.get("root")) for card in cards if card.get("parent") is None or card.get("parent") in ids]
    kept = [one.former for one in named if one.former and any(_within(root, one.former) for root in roots)]
    if kept:
        return f"its report names {' and '.join(dict.fromkeys(kept))}, which it had before: is it fixed in the command?"
    missing = [one.path for one in named if not any(_within(root, one.path) for root in roots)]
    return f"its report has no model whose root is {' or '.join(dict.fromkeys(missing))}" if missing else None


def triton_problem(document: Any, _named: Sequence[Named]) -> str | None:
    """Return why the repository index *document* does not show that what Triton was started with is loaded.

    a model's state in the index              | shown
    ------------------------------------------+---------------------------------------------------
    READY, of at least one                    | yes
    UNAVAILABLE, reason "unloaded"            | counts for nothing: a version that a newer one replaced
    none (never loaded: explicit control)     | counts for nothing
    any other, such as UNAVAILABLE or LOADING | no
    """
    models = document if isinstance(document, list) else None
    if models is None or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in models):
        return "its report is not Triton's repository index: expected a list of models with a name"
    if failed := [said for one in models if (said := _triton_trouble(one))]:
        return f"its repository index has {'; '.join(failed[:5])}"
    return None if any(one.get("state") == "READY" for one in models) else "its repository index has no model READY"


def _triton_trouble(model: dict[str, Any]) -> str:
    state, reason = model.get("state"), model.get("reason")
    if state in (None, "", "READY") or (state == "UNAVAILABLE" and reason == "unloaded"):
        return ""
    version = f" version {model['version']}" if model.get("version") else ""
    return f"{model['name']}{version} {state}"[:200]


REPORTS: dict[str, Callable[[Any, Sequence[Named]], str | None]] = {
    "path": path_problem,
    "vllm": vllm_problem,
    "triton": triton_problem,
}


def _within(root: str, path: str) -> bool:
    return f"{root.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")


def _both(missing: Sequence[Named]) -> str:
    return ", neither ".join(f"{one.revision} nor {one.path}" for one in missing)


def _strings(document: Any) -> Iterator[str]:
    """Yield all texts in *document* but keys; without recursion, which a deep one would exhaust."""
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
