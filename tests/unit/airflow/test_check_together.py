"""The check of several models in one pod: what it is asked to prove, and whose snapshot a mismatch is about."""

import pytest

from modelberth.core.revision import Snapshot
from modelberth.operators.check import CheckModelOperator

BASE, ADAPTER, STATS = "ab" * 32, "cd" * 32, f"sha256:{'ef' * 32}"
BASIS = {
    "model": "minilm",
    "revision": f"minilm@sha256:{BASE}",
    "snapshot": f"{BASE}.1",
    "stats": STATS,
    "also": [
        {
            "model": "adapter",
            "revision": f"adapter@sha256:{ADAPTER}",
            "snapshot": f"{ADAPTER}.3",
            "stats": STATS,
        }
    ],
}


@pytest.fixture
def check():
    return CheckModelOperator(task_id="check", model="minilm", target="embedder")


def test_every_model_is_asked_for(check):
    assert check.command(BASIS)[-2:] == ["--also", f"adapter@sha256:{ADAPTER}.3={STATS}"]
    assert "--also" not in check.command(BASIS | {"also": []})


@pytest.mark.parametrize(
    ("report", "found"),
    [
        ({"revision": f"adapter@sha256:{ADAPTER}", "snapshot": f"{ADAPTER}.3"}, ("adapter", f"{ADAPTER}.3")),
        ({"revision": f"minilm@sha256:{BASE}", "snapshot": f"{BASE}.1"}, ("minilm", f"{BASE}.1")),
        ({"revision": f"adapter@sha256:{ADAPTER}", "snapshot": f"{ADAPTER}.4"}, ("minilm", f"{BASE}.1")),
        ({}, ("minilm", f"{BASE}.1")),
    ],
)
def test_a_mismatch_is_put_on_record_of_the_model_that_it_is_about(check, report, found):
    model, snapshot = check.damaged(BASIS, report)
    assert (model, snapshot) == (found[0], Snapshot.parse(found[1]))
