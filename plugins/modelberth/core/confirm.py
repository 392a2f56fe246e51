"""What a pod must show to count as serving what was approved, and whether its report and its answers show it.

declared   its spec sets the variable to the snapshot's path, on a read-only mount of the claim, and nothing in it
           goes by another path
reported   its own report names that path, or the revision; as vLLM and Triton do, see ``core.reports``
behaved    its answers to the smoke requests are as expected
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core.reports import REPORTS, Named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LEVELS = ("declared", "reported", "behaved")

LONGEST_ANSWER = 1024**2
"""Bytes of an answer that are read: a report or an embedding is far smaller."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """One request whose answer shows that the model works.

    :param json_path: It must lead to something in the answer; None: the status is enough.
    :param equals: What is there must be this; None: anything but null.
    :param tolerance: How far a number may be from *equals*.
    """

    path: str
    body: Any
    status: int
    json_path: str | None
    equals: Any = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Pods are asked by a pod of ours that has the Secret named *secret*, not through the API server.

    :param image: The pod's, as *service_account*: nothing half-way depends on the catalog.
    """

    secret: str
    scheme: str
    image: str
    service_account: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """The least that every ready pod must show before the release counts as live.

    :param style: How the report names what is served: its path or revision, or as vLLM or Triton do.
    """

    level: str
    port: int | None
    report: str | None
    style: str = "path"
    smoke: tuple[Smoke, ...] = ()
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pod answered to one request; *status* 0 with a reason in *body*: it could not be reached."""

    status: int
    body: bytes


def answers_problems(asked: Confirm, named: Sequence[Named], ask: Callable[[str, Any], Answer]) -> list[str]:
    """Return what a pod's answers fail to show, up to the level that is asked for.

    :param ask: Sends a path and a body (None: GET, else POST) to the pod.
    """
    problems, level = [], LEVELS.index(asked.level)
    if level >= LEVELS.index("reported") and asked.report:
        body: Any = {} if asked.style == "triton" else None
        problems.append(report_problem(ask(asked.report, body), asked.style, named))
    if level >= LEVELS.index("behaved"):
        problems += [smoke_problem(ask(smoke.path, smoke.body), smoke) for smoke in asked.smoke]
    return [problem for problem in problems if problem]


def report_problem(answer: Answer, style: str, named: Sequence[Named]) -> str | None:
    """Return why *answer* does not report what was approved, None if it does.

    status | JSON | by its style (``core.reports``) | reported
    -------+------+---------------------------------+---------
    200    | yes  | names all                       | yes
    200    | yes  | does not                        | no
    200    | no   | -                               | no
    other  | -    | -                               | no
    """
    if answer.status != 200:
        return f"its report answered {_said(answer)}"
    try:
        document = parsed(answer)
    except ValueError as error:
        return f"its report is {error}"
    return REPORTS[style](document, named)


def smoke_problem(answer: Answer, smoke: Smoke) -> str | None:
    """Return why *answer* is not what *smoke* expects, None if it is.

    status   | json_path | leads to        | equals       | behaved
    ---------+-----------+-----------------+--------------+--------
    expected | none      | -               | -            | yes
    expected | set       | nothing or null | any          | no
    expected | set       | a value         | none         | yes
    expected | set       | a value         | equal to it  | yes
    expected | set       | a value         | another      | no
    another  | any       | any             | any          | no
    """
    if answer.status != smoke.status:
        return f"smoke request {smoke.path} answered {_said(answer)}, expected {smoke.status}"
    if smoke.json_path is None:
        return None
    try:
        found = _at(parsed(answer), smoke.json_path)
    except ValueError as error:
        return f"smoke request {smoke.path} was answered in what is {error}"
    where = f"smoke request {smoke.path}: at {smoke.json_path!r} in the answer is"
    if found is None:
        return f"{where} nothing"
    if smoke.equals is None:
        return None
    different = difference(found, smoke.equals, smoke.tolerance or 0)
    return f"{where} {different}" if different else None


def difference(found: Any, expected: Any, tolerance: float) -> str | None:
    """Return where *found* differs from *expected*, None if it does not.

    expected | found                                       | equal
    ---------+---------------------------------------------+----------------------------------
    a number | a number not further away than *tolerance*  | yes; not-a-number never is, true is no number
    a list   | a list as long, element by element equal    | yes
    an object| an object of the same keys, value by value  | yes
    another  | the same, of the same type                  | yes
    any      | else                                        | no
    """
    if _is_number(expected) and _is_number(found):
        return None if _near(found, expected, tolerance) else f"{found}, expected {expected}{_within(tolerance)}"
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return f"a list of {len(found)}, expected {len(expected)}"
        return _first_difference(range(len(found)), found, expected, tolerance)
    if isinstance(expected, dict) and isinstance(found, dict):
        if found.keys() != expected.keys():
            return "an object of other keys"
        return _first_difference(expected, found, expected, tolerance)
    if type(found) is type(expected) and found == expected:
        return None
    # Never the value itself: it may hold what the request's sender, or a misled server, meant to keep.
    return f"{_kind(found)}, not what was expected"


def _first_difference(places: Iterable[Any], found: Any, expected: Any, tolerance: float) -> str | None:
    for place in places:
        if different := difference(found[place], expected[place], tolerance):
            return f"{different} (at {place})"
    return None


def parsed(answer: Answer) -> Any:
    """Return the JSON that *answer* holds.

    :raises ValueError: It is none, is longer than may be read or nested too deeply; the text ends a sentence.
    """
    if len(answer.body) > LONGEST_ANSWER:
        raise ValueError(f"longer than {LONGEST_ANSWER} bytes")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def _said(answer: Answer) -> str:
    """Return the status; a body only where it is our own words, since a pod's may hold a secret."""
    return str(answer.status) if answer.status else f"nothing ({answer.body.decode(errors='replace')})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(found: float, expected: float, tolerance: float) -> bool:
    try:
        return found == expected or abs(found - expected) <= tolerance
    except OverflowError:  # an int beyond all floats beside a float
        return False


def _within(tolerance: float) -> str:
    return f" within {tolerance}" if tolerance else ""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number" if _is_number(value) else "null")


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
