"""What an exit code means to Airflow."""

import json

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.operators.outcome import Outcome

POD = "Pod serving/sync-minilm-x2"


def ended(exit_code: int, message: object = "", **more) -> Outcome:
    text = message if isinstance(message, str) else json.dumps(message)
    return Outcome(exit_code, text, POD, **more)


def good(**more) -> dict:
    return {"command": "sync", "outcome": "ok", "exit_code": 0, "revision": "r", **more}


def failed(exit_code: int, *problems: str, count: int = 0) -> dict:
    count = count or len(problems)
    return {"command": "sync", "outcome": "x", "exit_code": exit_code, "problems": problems, "problem_count": count}


def test_a_result_is_returned():
    assert ended(0, good(bytes=3)).result("sync")["bytes"] == 3


@pytest.mark.parametrize("exit_code", range(20, 30))
@pytest.mark.parametrize("message", ["", failed(20, "Digest mismatch.")])
def test_what_no_retry_changes_is_not_tried_again(exit_code, message):
    with pytest.raises(AirflowFailException):
        ended(exit_code, message).result("sync")


@pytest.mark.parametrize("exit_code", [1, 2, *range(10, 20), 30, 125, 126, 127, 128, 137, 139, 143, 255])
@pytest.mark.parametrize("message", ["", failed(10, "Interrupted."), good()])
def test_everything_else_is_tried_again(exit_code, message):
    with pytest.raises(AirflowException) as raised:
        ended(exit_code, message).result("sync")
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize(
    "message", ["", "Killed", "[]", "3", "null", {"command": "verify", "exit_code": 0}, {"command": "sync"}, "[" * 4096]
)
def test_a_good_end_without_a_result_proves_nothing(message):
    with pytest.raises(AirflowException, match="left no result of 'modelberth sync'"):
        ended(0, message).result("sync")


def test_a_result_about_something_else_is_refused():
    with pytest.raises(AirflowFailException, match="reports revision 'r', asked for was 'q'"):
        ended(0, good()).result("sync", revision="q")


def test_the_error_says_where_how_and_every_problem():
    with pytest.raises(AirflowFailException) as raised:
        ended(20, failed(20, "One.", "Two.", count=7), reason="Error").result("sync")
    assert str(raised.value).splitlines() == [
        "Pod serving/sync-minilm-x2: 'modelberth sync' failed, exit code 20 (x, Error).",
        "One.",
        "Two.",
        "... and 5 more: see the log.",
    ]


def test_a_killed_program_is_named_by_what_killed_it():
    with pytest.raises(AirflowException, match=r"exit code 137 \(OOMKilled\)"):
        ended(137, reason="OOMKilled").result("sync")
