"""Whether a pod shows what was approved: by its report, and by its answers."""

from __future__ import annotations

import json

import pytest

from modelberth.core.confirm import (
    LONGEST_ANSWER,
    Answer,
    Confirm,
    Smoke,
    answers_problems,
    report_problem,
    smoke_problem,
)
from modelberth.core.reports import Named

REVISION = "minilm@sha256:" + "1f" * 32
NAMED = [Named("/models/minilm/1f.1/files", REVISION)]


def says(document: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says({"revision": REVISION}), None),
        (says({"revision": REVISION}, 503), "503"),
        (says({}), "names neither"),
        (Answer(200, b"<html>"), "not JSON"),
        (Answer(200, b"\xff"), "not JSON"),
        (Answer(200, b"[" * 100_000), "not JSON"),
        (Answer(200, b'"' + b"x" * LONGEST_ANSWER + b'"'), "longer than"),
        (Answer(0, b"ReadTimeoutError"), "ReadTimeoutError"),
    ],
)
def test_a_report_has_to_be_one(answer, said):
    problem = report_problem(answer, "path", NAMED)
    assert (problem is None) if said is None else (said in problem)


@pytest.mark.parametrize(
    ("answer", "json_path", "status", "said"),
    [
        (says({"data": [1.0]}), None, 200, None),
        (says({"data": [1.0]}), "data.0", 200, None),
        (says({"data": {"0": False}}), "data.0", 200, None),
        (says({"data": []}), "data.0", 200, "nothing"),
        (says({"data": [None]}), "data.0", 200, "nothing"),
        (says({}), "data.0", 200, "nothing"),
        (says([1]), "one", 200, "nothing"),
        (says({}, 422), None, 422, None),
        (says({}, 500), None, 200, "500"),
        (Answer(200, b"ok"), None, 200, None),
        (Answer(200, b"ok"), "data", 200, "JSON"),
    ],
)
def test_a_smoke_request_is_answered_as_expected_or_not(answer, json_path, status, said):
    problem = smoke_problem(answer, Smoke("/embed", {}, status, json_path))
    assert (problem is None) if said is None else (said in problem)


@pytest.mark.parametrize(
    ("found", "equals", "tolerance", "said"),
    [
        (0.5, 0.5, None, None),
        (1, 1.0, None, None),
        (0.51, 0.5, None, "0.51, expected 0.5"),
        (0.51, 0.5, 0.02, None),
        (0.53, 0.5, 0.02, "0.53, expected 0.5 within 0.02"),
        (float("nan"), float("nan"), 1.0, "nan, expected nan"),
        (float("inf"), 1.0, 1e300, "inf, expected 1.0"),
        (10**400, 0.5, 1.0, "expected 0.5"),
        (True, 1, 1.0, "true or false"),
        (1, True, 1.0, "a number"),
        (True, True, None, None),
        (False, True, None, "true or false"),
        ("yes", "yes", None, None),
        ("no", "yes", None, "a text"),
        ([0.1, 0.2], [0.1, 0.21], 0.02, None),
        ([0.1, 0.2], [0.1, 0.25], 0.02, "(at 1)"),
        ([0.1], [0.1, 0.2], 0.02, "a list of 1, expected 2"),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], 1.0, None),
        ([[1, 2], [3, 4]], [[1, 2], [3, 9]], 1.0, "(at 1)"),
        ([1, "a"], [1, "b"], None, "a text"),
        ({"score": 0.4, "label": "x"}, {"score": 0.5, "label": "x"}, 0.2, None),
        ({"score": 0.4}, {"score": 0.9}, 0.2, "(at score)"),
        ({"score": 0.4}, {"score": 0.4, "label": "x"}, None, "other keys"),
        (0.5, [0.5], 1.0, "a number"),
        ([0.5], 0.5, 1.0, "a list"),
    ],
)
def test_what_is_expected_is_compared_number_by_number(found, equals, tolerance, said):
    problem = smoke_problem(says({"data": found}), Smoke("/embed", {}, 200, "data", equals, tolerance))
    assert (problem is None) if said is None else (said in problem)


@pytest.mark.parametrize("equals", [None, "expected", ["expected"], {"a": "expected"}, 3])
@pytest.mark.parametrize("found", ["hunter2", ["hunter2"], {"a": "hunter2"}, {"hunter2": "a"}])
def test_a_pods_own_words_are_not_repeated(found, equals):
    smoke = Smoke("/embed", {}, 200, "data", equals)
    problems = [smoke_problem(says({"data": found}, status), smoke) for status in (200, 500)]
    problems += [report_problem(says({"root": found}, status), "path", NAMED) for status in (200, 500)]
    assert "hunter2" not in str(problems)


SMOKES = (Smoke("/embed", {"text": "a"}, 200, "data"), Smoke("/health", None, 200, None))


@pytest.mark.parametrize(
    ("level", "style", "asked"),
    [
        ("declared", "path", []),
        ("reported", "path", [("/models", None)]),
        ("reported", "triton", [("/models", {})]),
        ("behaved", "vllm", [("/models", None), ("/embed", {"text": "a"}), ("/health", None)]),
    ],
)
def test_what_is_asked_follows_from_level_and_style(level, style, asked):
    requests = []

    def ask(path, body):
        requests.append((path, body))
        return Answer(500, b"")

    problems = answers_problems(Confirm(level, 8000, "/models", style, SMOKES), NAMED, ask)
    assert requests == asked
    assert len(problems) == len(asked)


def test_every_smoke_request_counts():
    answers = {"/models": says(REVISION), "/embed": says({"data": 1}), "/health": says({}, 503)}
    confirm = Confirm("behaved", 8000, "/models", smoke=SMOKES)
    assert answers_problems(confirm, NAMED, lambda path, _: answers[path]) == [
        "smoke request /health answered 503, expected 200"
    ]
