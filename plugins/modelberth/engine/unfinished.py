"""``modelberth unfinished``: what interrupted uploads left in a bucket, which costs money until somebody aborts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import layout
from modelberth.engine.stores import Store, Unfinished, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelberth.core.layout import BucketUrl
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop


@dataclass(frozen=True)
class Order:
    """What is asked for.

    :param model: Of which model, None for all.
    :param abort: The name of the upload whose unfinished objects are to be aborted; None for none.
    """

    url: BucketUrl
    model: str | None = None
    abort: str | None = None


@dataclass(frozen=True, slots=True)
class _Left:
    """An unfinished object of a model's upload."""

    model: str
    upload: str
    object: Unfinished


def unfinished(order: Order, stop: Stop) -> Result:
    """List unfinished objects, and abort those of one upload when asked to.

    :raises Failure: The bucket does not answer.
    """
    store = open_store(order.url, stop)
    found = list(_left(store, order))
    rows = [_row(store, left) for left in found]
    doomed = [left for left in found if left.upload == order.abort]
    for left in doomed:
        store.abandon(left.object)
    return {"unfinished": [row for row in rows if row["upload"] != order.abort], "aborted": len(doomed)}


def _left(store: Store, order: Order) -> Iterator[_Left]:
    """Yield what is unfinished under the prefix; what lies where no upload of ours puts it is not ours."""
    start = order.url.key("")
    for item in store.unfinished(layout.data_prefix(order.url, order.model) if order.model else start):
        model, _, rest = item.key.removeprefix(start).partition("/data/")
        upload, _, path = rest.partition("/")
        if path and "/" not in model:
            yield _Left(model, upload, item)


def _row(store: Store, left: _Left) -> dict[str, object]:
    sent = sum(part.size for part in store.sent(left.object).values())
    return {
        "key": left.object.key,
        "model": left.model,
        "upload": left.upload,
        "started": left.object.started,
        "bytes": sent,
    }
