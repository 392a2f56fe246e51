"""The rollout's decisions, row by row of their truth tables; and that every order of events ends whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelberth.core.binding import Live
from modelberth.core.observed import Confirmation, Decision, Lock, Observed, Soak
from modelberth.core.progress import Counts, Progress, State, progress
from modelberth.core.rollout import Do, decide

FROM, TO, SAME, FOREIGN = Live.FROM, Live.TO, Live.SAME, Live.FOREIGN
WAITING, COMPLETE, FAILED = (Progress(state, str(state)) for state in State)


def seen(**changes) -> Observed:
    return Observed(**({"values": (FROM,), "progress": COMPLETE, "seconds_left": 60.0} | changes))


def rolling(**changes) -> Observed:
    return seen(**({"started": True, "lock": Lock.OURS} | changes))


def confirming(*problems: str, **changes) -> Observed:
    attempts = changes.pop("attempts", 1)
    return rolling(**({"values": (TO,), "confirmation": Confirmation(problems, attempts)} | changes))


def soaking(*problems: str, left: float | None = 5.0, partition: Live | None = None, **changes) -> Observed:
    """Return what confirmed at first and is watched, its newest asking with *problems*."""
    return confirming(*problems, **({"soak": Soak(left, partition)} | changes))


def backing(**changes) -> Observed:
    return rolling(**({"decided": Decision.PUT_BACK} | changes))


@pytest.mark.parametrize(
    ("observed", "do"),
    [
        # nothing was changed yet
        (seen(), Do.START),
        (seen(values=(TO,)), Do.START),
        (seen(values=(SAME,)), Do.START),
        (seen(lock=Lock.OURS), Do.START),
        (seen(progress=WAITING, seconds_left=0.0), Do.START),
        (seen(ended="killed"), Do.REFUSE),
        (seen(gone="deleted"), Do.REFUSE),
        (seen(frozen="ask alice"), Do.REFUSE),
        (seen(paused=True), Do.REFUSE),
        (seen(lock=Lock.OTHERS), Do.REFUSE),
        (seen(values=(FOREIGN,)), Do.REFUSE),
        (seen(values=(FROM, FOREIGN)), Do.REFUSE),
        # rolling out
        (rolling(lock=Lock.FREE), Do.LOCK),
        (rolling(frozen="ask alice"), Do.PATCH),
        (rolling(), Do.PATCH),
        (rolling(values=(TO, FROM)), Do.PATCH),
        (rolling(values=(TO,), lock=Lock.FREE, progress=WAITING), Do.LOCK),
        (rolling(values=(TO,), progress=WAITING), Do.WAIT),
        (rolling(values=(TO,), progress=WAITING, seconds_left=0.0), Do.PUT_BACK),
        (rolling(values=(TO,), progress=FAILED), Do.PUT_BACK),
        (rolling(values=(TO,), progress=WAITING, stuck=("a-0",)), Do.UNSTICK),
        (rolling(values=(TO,), progress=WAITING, stuck=("a-0",), seconds_left=0.0), Do.PUT_BACK),
        (rolling(values=(TO,), progress=FAILED, stuck=("a-0",)), Do.PUT_BACK),
        (rolling(values=(TO,)), Do.CONFIRM),
        (rolling(values=(SAME,)), Do.CONFIRM),
        (rolling(values=(TO,), seconds_left=0.0), Do.CONFIRM),
        (rolling(seconds_left=0.0), Do.PUT_BACK),
        (rolling(lock=Lock.FREE, seconds_left=0.0), Do.PUT_BACK),
        # something comes between
        (rolling(ended="killed"), Do.PUT_BACK),
        (rolling(gone="deleted"), Do.PUT_BACK),
        (rolling(lock=Lock.OTHERS), Do.PUT_BACK),
        (rolling(values=(FOREIGN,)), Do.PUT_BACK),
        (rolling(patched=True), Do.PUT_BACK),
        (rolling(values=(TO, FOREIGN)), Do.PUT_BACK),
        # confirming
        (confirming(), Do.KEEP),
        (confirming(seconds_left=0.0), Do.KEEP),
        (confirming("pod a: wrong"), Do.CONFIRM),
        (confirming("pod a: wrong", attempts=3), Do.PUT_BACK),
        (confirming("pod a: wrong", seconds_left=0.0), Do.PUT_BACK),
        (confirming(ended="killed"), Do.PUT_BACK),
        # pods that will not become ready
        (rolling(values=(TO,), progress=WAITING, hopeless="pod a: crashes"), Do.PUT_BACK),
        (rolling(values=(TO,), hopeless="pod a: crashes"), Do.CONFIRM),
        # what comes first, and its soak
        (seen(soak=Soak()), Do.START),
        (seen(soak=Soak(partition=FROM)), Do.START),
        (seen(soak=Soak(partition=FOREIGN)), Do.REFUSE),
        (seen(soak=Soak(partition=TO)), Do.REFUSE),
        (rolling(soak=Soak(partition=FROM)), Do.PATCH),
        (rolling(values=(TO,), soak=Soak(partition=TO), progress=WAITING), Do.WAIT),
        (rolling(values=(TO,), soak=Soak(partition=TO)), Do.CONFIRM),
        (soaking(left=None), Do.SOAK),
        (soaking(left=None, partition=TO), Do.SOAK),
        (soaking("pod a: wrong", left=None), Do.CONFIRM),
        (soaking("pod a: wrong", left=None, attempts=3), Do.PUT_BACK),
        (soaking(), Do.WAIT),
        (soaking(progress=WAITING), Do.WAIT),
        (soaking(confirmation=None), Do.CONFIRM),
        (soaking(confirmation=None, progress=WAITING), Do.CONFIRM),
        (soaking("pod a was started again"), Do.CONFIRM),
        (soaking("pod a was started again", attempts=3), Do.PUT_BACK),
        (soaking(hopeless="pod a: crashes"), Do.PUT_BACK),
        (soaking(ended="killed"), Do.PUT_BACK),
        (soaking(lock=Lock.OTHERS), Do.PUT_BACK),
        (soaking(partition=TO), Do.WAIT),
        (soaking(partition=FROM), Do.PUT_BACK),
        (soaking(partition=FOREIGN), Do.PUT_BACK),
        (soaking(left=None, partition=FROM), Do.PUT_BACK),
        # the soak is over: the whole target is kept, the rest of a part follows it
        (soaking(left=0.0), Do.KEEP),
        (soaking(left=-9.0, confirmation=None), Do.CONFIRM),
        (soaking(left=0.0, partition=TO), Do.WIDEN),
        (soaking(left=0.0, partition=TO, confirmation=None), Do.CONFIRM),
        (soaking("pod a: wrong", left=0.0, partition=TO, attempts=3), Do.PUT_BACK),
        (soaking(left=0.0, partition=FROM, confirmation=None, progress=WAITING), Do.WAIT),
        (soaking(left=0.0, partition=FROM, confirmation=None, progress=WAITING, seconds_left=0.0), Do.PUT_BACK),
        (soaking(left=0.0, partition=FROM), Do.KEEP),
        (soaking(left=0.0, partition=FOREIGN), Do.PUT_BACK),
        # kept: nothing turns it round any more
        (rolling(values=(TO,), decided=Decision.KEEP), Do.UNLOCK),
        (rolling(values=(TO,), decided=Decision.KEEP, ended="killed"), Do.UNLOCK),
        (rolling(values=(FOREIGN,), decided=Decision.KEEP), Do.UNLOCK),
        (rolling(values=(TO,), decided=Decision.KEEP, lock=Lock.FREE), Do.FINISH),
        (rolling(values=(TO,), decided=Decision.KEEP, lock=Lock.OTHERS), Do.FINISH),
        (rolling(decided=Decision.KEEP, gone="deleted"), Do.FINISH),
        # putting back
        (backing(values=(TO,)), Do.RESTORE),
        (backing(values=(TO,), lock=Lock.FREE), Do.RESTORE),
        (backing(values=(TO, FOREIGN)), Do.RESTORE),
        (backing(values=(FROM,), progress=WAITING), Do.WAIT),
        (backing(values=(FROM,), progress=FAILED), Do.WAIT),
        (backing(values=(FROM,), progress=WAITING, was_complete=False), Do.UNLOCK),
        (backing(values=(FROM,), progress=WAITING, seconds_left=0.0), Do.UNLOCK),
        (backing(values=(FROM,)), Do.UNLOCK),
        (backing(values=(SAME,)), Do.UNLOCK),
        (backing(values=(FOREIGN,)), Do.UNLOCK),
        (backing(values=(FROM,), lock=Lock.FREE), Do.FINISH),
        (backing(values=(TO,), lock=Lock.OTHERS), Do.FINISH),
        (backing(values=(TO,), gone="deleted"), Do.FINISH),
        (backing(values=(FROM,), soak=Soak(5.0, TO)), Do.RESTORE),
        (backing(values=(FROM,), soak=Soak(5.0, FROM)), Do.UNLOCK),
        (backing(values=(FROM,), soak=Soak(5.0, FOREIGN)), Do.UNLOCK),
        (backing(values=(FROM,), stuck=("a-0",), progress=WAITING), Do.UNSTICK),
        (backing(values=(FROM,), stuck=("a-0",), progress=WAITING, seconds_left=0.0), Do.UNSTICK),
        (backing(values=(TO,), stuck=("a-0",)), Do.RESTORE),
        # the end
        (rolling(finished=True, decided=Decision.KEEP), Do.DONE),
        (backing(finished=True, values=(TO,)), Do.DONE),
    ],
)
def test_the_next_step_follows_from_what_is_seen(observed, do):
    assert decide(observed).do is do


@pytest.mark.parametrize(
    "observed",
    [
        seen(paused=True),
        rolling(values=(TO,), progress=FAILED),
        rolling(ended="killed"),
        confirming("wrong", attempts=3),
        rolling(values=(TO,), progress=WAITING),
        rolling(values=(TO,), progress=WAITING, hopeless="pod a: crashes"),
        soaking(),
        soaking("pod a was started again", attempts=3),
        soaking(partition=FROM),
        backing(values=(FROM,), stuck=("a-0",)),
    ],
)
def test_what_stops_or_delays_a_rollout_has_a_reason(observed):
    assert decide(observed).reason


@pytest.mark.parametrize(
    "observed", [seen(lock=Lock.OTHERS), rolling(lock=Lock.OTHERS), backing(values=(TO,), lock=Lock.OTHERS)]
)
def test_a_workload_that_another_release_holds_says_which_and_what_to_do(observed):
    assert decide(replace(observed, held="release r holds it: clear")).reason == "release r holds it: clear"


def test_zero_pods_complete_a_rollout_but_are_still_asked():
    none = progress(Counts(kind="Deployment", generation=1, observed_generation=1, replicas=0))
    assert decide(rolling(values=(TO,), progress=none)).do is Do.CONFIRM
    assert decide(confirming("0 of 1 new pods are ready", attempts=3, progress=none)).do is Do.PUT_BACK
