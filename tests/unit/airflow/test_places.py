"""Many questions to several places: what is asked next, and what becomes of places that are down or hang."""

import time
from functools import partial
from threading import Barrier, Event

import pytest

from modelberth import clients
from modelberth.core.fair import PATIENCE, hangs, next_place
from modelberth.operators.places import Question, UnansweredError, ask_all


@pytest.mark.parametrize(
    ("waiting", "asked", "place"),
    [
        ({}, {}, None),
        ({"a": 0}, {"a": 3}, None),
        ({"a": 1}, {}, "a"),
        ({"a": 9, "b": 1}, {"a": 2, "b": 1}, "b"),
        ({"a": 9, "b": 1}, {"a": 1, "b": 1}, "a"),
        ({"a": 9, "b": 0}, {"a": 30}, "a"),
    ],
)
def test_the_place_with_the_fewest_unanswered_questions_is_asked_next(waiting, asked, place):
    assert next_place(waiting, asked) == place


@pytest.mark.parametrize(
    ("took", "last_answer", "expected"),
    [(PATIENCE - 1, None, False), (PATIENCE, None, True), (PATIENCE, 99.0, True), (PATIENCE, 101.0, False)],
)
def test_a_place_hangs_that_leaves_a_question_without_answer_and_answers_no_other(took, last_answer, expected):
    assert hangs(100.0, 100.0 + took, last_answer) is expected


def test_answers_and_failures_come_in_the_order_of_the_questions():
    def fail():
        raise ValueError("no")

    answers = ask_all([Question("a", lambda: 1), Question("b", fail), Question("a", lambda: 3)], 2, 10)
    assert (answers[0], str(answers[1]), answers[2]) == (1, "no", 3)
    assert ask_all([], 2, 10) == []


def test_a_place_that_hangs_holds_up_no_other():
    over = Event()
    stuck = [Question("hangs", over.wait) for _ in range(50)]
    began = time.monotonic()
    answers = ask_all([*stuck, *(Question("well", partial(int, number)) for number in range(50))], 8, 1)
    over.set()
    assert answers[50:] == list(range(50))
    assert {str(one) for one in answers[:50]} == {"no answer within 1 s"}
    assert time.monotonic() - began < 5


def test_a_place_that_left_one_without_answer_is_not_asked_the_others(monkeypatch):
    monkeypatch.setattr("modelberth.core.fair.PATIENCE", 0.0)
    asked = []

    def hang():
        asked.append(1)
        raise TimeoutError("read timed out")

    answers = ask_all([*(Question("hangs", hang) for _ in range(20)), Question("well", lambda: "yes")], 1, 10)
    assert len(asked) == 1
    assert answers[-1] == "yes"
    assert isinstance(answers[19], UnansweredError)
    assert str(answers[19]) == "not asked, since hangs hangs: read timed out"


def test_as_many_are_asked_at_once_as_wanted():
    together = Barrier(16)
    assert len(ask_all([Question("a", partial(together.wait, 10)) for _ in range(16)], 16, 10)) == 16


def test_what_is_kept_is_made_once_by_many_threads_and_forgotten_after():
    made = []

    def make():
        made.append(1)
        time.sleep(0.05)
        return len(made)

    with clients.kept():
        assert set(ask_all([Question("a", partial(clients.once, make, "key")) for _ in range(16)], 16, 10)) == {1}
        assert clients.once(make, "other") == 2
    assert clients.once(make, "key") == 3


def test_what_could_not_be_made_is_not_tried_again_by_each():
    tried = []

    def fail():
        tried.append(1)
        raise KeyError("missing")

    with clients.kept():
        answers = ask_all([Question("a", partial(clients.once, fail, "key")) for _ in range(5)], 2, 10)
    assert (len(tried), {type(one) for one in answers}) == (1, {KeyError})
