"""How many parts are on their way at once."""

import pytest

from modelberth.engine import sending
from modelberth.engine.sending import Sender


@pytest.mark.parametrize(
    ("streams", "largest", "threads"),
    [
        (0, 40 * 10**9, 16),
        (0, 400 * 10**9, 2),
        (0, 3 * 10**12, 1),
        (5, 400 * 10**9, 5),
        (64, 1, 64),
    ],
)
def test_parts_on_their_way_take_128_mib_unless_somebody_asked_for_more(monkeypatch, streams, largest, threads):
    monkeypatch.setattr(sending, "default_streams", lambda: 16)
    sender = Sender("minilm", None, None, None, {}, streams)
    assert sender.threads(largest) == threads
