"""Whether a pod shows what was approved: by its report, and by its answer."""

from __future__ import annotations

import json

import pytest

from modelberth.core.confirm import Answer, report_problem, smoke_problem
from modelberth.core.plan import Smoke

REVISION = "minilm@sha256:" + "1f" * 32
PATHS = ["/models/minilm/1f.1/files", "/models/adapter/2e.1/files"]


def says(document: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says({"path": "elsewhere", "revision": REVISION}), None),
        (says({"models": [{"path": PATHS[0]}, {"path": PATHS[1]}]}), None),
        (says(REVISION), None),
        (says({"path": PATHS[0]}), "names neither"),
        (says({"note": f"not {REVISION}"}), "names neither"),
        (says({REVISION: True}), "names neither"),
        (says({"revision": REVISION}, 503), "503"),
        (says(None), "names neither"),
        (says(7), "names neither"),
        (Answer(200, b"<html>"), "not JSON"),
        (Answer(200, b"\xff"), "not JSON"),
        (Answer(0, b"ReadTimeoutError"), "ReadTimeoutError"),
    ],
)
def test_a_report_has_to_name_the_revision_or_every_path(answer, said):
    problem = report_problem(answer, PATHS, REVISION)
    assert (problem is None) if said is None else (said in problem)


@pytest.mark.parametrize(
    ("answer", "json_path", "status", "said"),
    [
        (says({"data": [1.0]}), None, 200, None),
        (says({"data": [1.0]}), "data.0", 200, None),
        (says({"data": {"0": False}}), "data.0", 200, None),
        (says({"data": []}), "data.0", 200, "nothing at"),
        (says({"data": [None]}), "data.0", 200, "nothing at"),
        (says({}), "data.0", 200, "nothing at"),
        (says([1]), "one", 200, "nothing at"),
        (says({}, 422), None, 422, None),
        (says({}, 500), None, 200, "500"),
        (Answer(200, b"ok"), None, 200, None),
        (Answer(200, b"ok"), "data", 200, "JSON"),
    ],
)
def test_a_smoke_request_is_answered_as_expected_or_not(answer, json_path, status, said):
    problem = smoke_problem(answer, Smoke("/embed", {}, status, json_path))
    assert (problem is None) if said is None else (said in problem)


def test_a_pods_own_words_are_not_repeated():
    problem = report_problem(Answer(500, b"password is hunter2"), PATHS, REVISION)
    assert "hunter2" not in problem
