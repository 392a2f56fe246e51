"""The ledgers of many models, which mostly lie in one place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from modelberth.clients import once
from modelberth.receipts.ledger import FOLDER, Ledger, by_model
from modelberth.receipts.signing import signing_key
from modelberth.receipts.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.receipts import ModelConfig
    from modelberth.receipts.ledger import Recent

FEW = 8
"""Of so few models, each one's ledger is listed by itself: a list of all would be the longer one."""


class Ledgers:
    """The ledgers of *models*, for as long as clients are ``kept``: a place with many is listed once."""

    def __init__(self, models: Iterable[ModelConfig]) -> None:
        self._models = Counter(_place(model) for model in models)

    def recent(self, model: ModelConfig) -> Recent:
        """Return the end of the ledger of *model*.

        :raises EvidenceForgedError: Something in it is not ours.
        :raises StoreError: It cannot be read. :raises StoreUnreachableError: Nor now.
        """
        place = _place(model)
        book = Ledger(open_store(*place), once(signing_key, "signing key"), model.name)
        if self._models[place] <= FEW:
            return book.recent(book.paths())
        listed = once(lambda: by_model(open_store(*place).keys(FOLDER)), "ledgers", *place)
        return book.recent(listed.get(model.name, []))


def _place(model: ModelConfig) -> tuple[str, str]:
    return model.receipts.url, model.receipts.connection
