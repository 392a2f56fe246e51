"""Which release of a model may still be decided."""

import pytest

from modelberth.core.offers import undecided

OLD, NEW = "20260101t000000z-0000000000", "20260102t000000z-0000000000"


@pytest.mark.parametrize(
    ("ledger", "found"),
    [
        ([], None),
        ([(OLD, "proposed")], OLD),
        ([(NEW, "proposed"), (OLD, "proposed")], NEW),
        ([(OLD, "proposed"), (NEW, "proposed"), (NEW, "failed")], OLD),
        ([(OLD, "proposed"), (NEW, "rollback"), (NEW, "approved"), (NEW, "live")], OLD),
        ([(OLD, "proposed"), (NEW, "observed")], OLD),
        ([(OLD, "proposed"), (OLD, "observed")], OLD),
        ([(OLD, "proposed"), (NEW, "proposed"), (NEW, "approved"), (NEW, "failed")], None),
        *(([(OLD, "proposed"), (NEW, "proposed"), (NEW, event)], None) for event in ("approved", "rejected", "live")),
        *(([(NEW, "proposed"), (NEW, event)], None) for event in ("superseded", "failed", "put-back", "rolled-back")),
    ],
)
def test_only_the_newest_offer_can_be_taken_along_and_only_while_nobody_decided(ledger, found):
    assert undecided(ledger) == found
