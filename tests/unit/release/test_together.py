"""Several models in one plan: what a check must show, and what may come between."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelberth.core.approval import check_problems, overtaken
from plans import DIGEST, a_binding, a_plan, a_released, a_served, a_target

TARGET = a_target(
    served=(a_served(), a_served("adapter")), bindings=(a_binding(), a_binding("adapter", "ADAPTER_PATH", "/b"))
)
PLAN = a_plan(models=(a_released(), a_released("adapter", release_id="theirs")), targets=(TARGET,))
SHOWN = {"revision": f"adapter@{DIGEST}", "snapshot": f"{DIGEST.hex}.1"}
CHECK = {
    "at": "2026-01-02T04:00:00Z",
    "connection": "modelberth_kubernetes",
    "namespace": "serving",
    "claim": "models",
    "revision": f"minilm@{DIGEST}",
    "snapshot": f"{DIGEST.hex}.1",
    "previous": {"06-approve": "sha256:aa"},
}


@pytest.mark.parametrize(
    ("also", "said"),
    [
        ([SHOWN], ""),
        ([SHOWN | {"files": 3}], ""),
        ([{"revision": "other@sha256:00", "snapshot": "x"}, SHOWN], ""),
        ([], f"it has not shown {DIGEST.hex}.1 of adapter"),
        ([SHOWN | {"snapshot": f"{DIGEST.hex}.2"}], "of adapter"),
        ([SHOWN | {"revision": f"minilm@{DIGEST}"}], "of adapter"),
    ],
)
def test_a_check_shows_every_model_of_its_target(also, said):
    found = check_problems(CHECK | {"also": also}, TARGET, PLAN, ["sha256:aa"], datetime(2026, 1, 2, 4, 5, tzinfo=UTC))
    assert bool(found) is bool(said)
    assert said in " ".join(found)


OURS, THEIRS = PLAN.models


@pytest.mark.parametrize(
    ("released", "events", "newer", "said"),
    [
        (OURS, {"proposed", "approved"}, None, None),
        (OURS, {"proposed", "approved", "failed"}, None, None),
        (OURS, {"proposed", "superseded"}, None, "another release has taken it along"),
        (OURS, {"proposed"}, "next", "release next is a newer proposal"),
        (THEIRS, {"proposed"}, None, None),
        (THEIRS, {"proposed", "superseded"}, None, None),
        (THEIRS, {"proposed", "superseded", "approved"}, None, "which it takes along, was approved by itself"),
        (THEIRS, {"proposed", "rejected"}, None, "was rejected by itself"),
        (THEIRS, {"proposed", "approved", "live"}, None, "was approved by itself"),
        (THEIRS, {"proposed"}, "next", "release next is a newer proposal of adapter"),
    ],
)
def test_what_came_between_the_answer_and_the_rollout_is_said(released, events, newer, said):
    found = overtaken(released, events, newer, "minilm")
    assert (said in found) if said else (found is None)
