"""The preview's decisions, row by row; and what its receipt has to show before a person is asked."""

from __future__ import annotations

import pytest

from modelberth.core.observed import Confirmation
from modelberth.core.preview import CONFIRMED, NOT_CONFIRMED, Do, Pod, Seen, decide, problem
from plans import a_plan

WELL, WRONG, WRONG_AGAIN = Confirmation(()), Confirmation(("pod a: wrong",)), Confirmation(("pod a: wrong",), 3)


@pytest.mark.parametrize(
    ("changes", "do"),
    [
        ({"pod": Pod.NONE}, Do.CREATE),
        ({"pod": Pod.LEAVING}, Do.WAIT),
        ({"pod": Pod.WAITING}, Do.WAIT),
        ({"pod": Pod.WAITING, "hopeless": "crashes"}, Do.FAIL),
        ({"pod": Pod.WAITING, "seconds_left": 0.0}, Do.FAIL),
        ({"pod": Pod.ENDED}, Do.FAIL),
        ({"pod": Pod.READY}, Do.CONFIRM),
        ({"pod": Pod.READY, "seconds_left": 0.0}, Do.CONFIRM),
        ({"pod": Pod.READY, "confirmation": WELL}, Do.PASS),
        ({"pod": Pod.READY, "confirmation": WELL, "seconds_left": 0.0}, Do.PASS),
        ({"pod": Pod.READY, "confirmation": WRONG}, Do.CONFIRM),
        ({"pod": Pod.READY, "confirmation": WRONG, "seconds_left": 0.0}, Do.FAIL),
        ({"pod": Pod.READY, "confirmation": WRONG_AGAIN}, Do.FAIL),
        *(
            ({"pod": pod, over: why}, Do.REMOVE)
            for pod in (Pod.WAITING, Pod.READY, Pod.ENDED)
            for over, why in (("ended", "killed"), ("failed", "wrong"), ("confirmed", True))
        ),
        *(
            ({"pod": pod, over: why}, Do.DONE)
            for pod in (Pod.NONE, Pod.LEAVING)
            for over, why in (("ended", "killed"), ("failed", "wrong"), ("confirmed", True))
        ),
    ],
)
def test_the_next_step_follows_from_what_is_seen(changes, do):
    assert decide(Seen(**({"seconds_left": 60.0} | changes))).do is do


PLAN = a_plan()
RECEIPT = {"plan_digest": str(PLAN.digest), "result": CONFIRMED}


@pytest.mark.parametrize(
    ("receipt", "said"),
    [
        (RECEIPT, None),
        (None, "there is none"),
        (RECEIPT | {"result": NOT_CONFIRMED}, "not confirmed"),
        (RECEIPT | {"plan_digest": "sha256:" + "0" * 64}, "of plan sha256:000"),
        ({}, "of plan None"),
    ],
)
def test_only_a_receipt_of_this_very_plan_shows_that_it_was_tried(receipt, said):
    found = problem(receipt, PLAN)
    assert (found is None) if said is None else (said in found)
