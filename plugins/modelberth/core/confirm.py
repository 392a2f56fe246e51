"""Whether one pod shows that it serves what was approved: judged from what it declares, reports and answers.

declared   its spec sets the variable to the snapshot's path, on a read-only mount of the claim
reported   its own report names that path, or the revision
behaved    its answer to a smoke request is as expected
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.plan import Smoke


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pod answered to one request; *status* 0 with a reason in *body*: it could not be reached."""

    status: int
    body: bytes


def report_problem(answer: Answer, paths: Sequence[str], revision: str) -> str | None:
    """Return why *answer* does not report what was approved, None if it does.

    status | JSON | names                  | reported
    -------+------+------------------------+---------
    200    | yes  | every path of *paths*  | yes
    200    | yes  | the revision           | yes
    200    | yes  | a path, not the other  | no
    200    | yes  | neither                | no
    200    | no   | -                      | no
    other  | -    | -                      | no

    Named means: is one whole string anywhere in it. A part of a string is not enough: a report that lists what is on
    the claim would name everything.
    """
    if answer.status != 200:
        return f"its report answered {_said(answer)}"
    try:
        named = set(_strings(json.loads(answer.body)))
    except ValueError:
        return "its report is not JSON"
    if revision in named or all(path in named for path in paths):
        return None
    return f"its report names neither {revision} nor {' and '.join(paths)}"


def smoke_problem(answer: Answer, smoke: Smoke) -> str | None:
    """Return why *answer* is not what *smoke* expects, None if it is.

    status        | json_path | leads to        | behaved
    --------------+-----------+-----------------+--------
    expected      | none      | -               | yes
    expected      | set       | a value         | yes
    expected      | set       | nothing or null | no
    another       | any       | -               | no
    """
    if answer.status != smoke.status:
        return f"smoke request {smoke.path} answered {_said(answer)}, expected {smoke.status}"
    if smoke.json_path is None:
        return None
    try:
        found = _at(json.loads(answer.body), smoke.json_path)
    except ValueError:
        return f"smoke request {smoke.path} was not answered in JSON"
    return None if found is not None else f"smoke request {smoke.path}: nothing at {smoke.json_path!r} in the answer"


def _said(answer: Answer) -> str:
    """Return the status; a body only where it is our own words, since a pod's may hold a secret."""
    return str(answer.status) if answer.status else f"nothing ({answer.body.decode(errors='replace')})"


def _strings(document: Any) -> list[str]:
    if isinstance(document, str):
        return [document]
    if isinstance(document, dict):
        document = list(document.values())
    return [text for one in document for text in _strings(one)] if isinstance(document, list) else []


def _at(document: Any, path: str) -> Any:
    """Return what is at *path*, keys and indexes joined by ``.``; None if it leads nowhere."""
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document
