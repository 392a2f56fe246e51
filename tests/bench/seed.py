"""Writes a ledger of three releases for each model of the catalog of MODELBERTH_CATALOG: the last one is live."""

from concurrent.futures import ThreadPoolExecutor

from modelberth.catalog import load
from modelberth.clients import kept
from modelberth.receipts import ledger
from modelberth.sources import source_of


def main() -> None:
    """Say of each model that what its source holds is live, and that something else was rejected before."""
    with kept(), ThreadPoolExecutor(8) as pool:
        list(pool.map(_write, load().models.values()))


def _write(model) -> None:
    version, book = str(source_of(model).resolve().name), ledger(model)
    past = [("another", "rejected"), ("a third", "live"), (version, "live")]
    for day, (name, end) in enumerate(past, 1):
        for event in ("proposed", "approved", end) if end == "live" else ("proposed", end):
            book.record(event, f"2026010{day}t030405z-0123456789", source_version=name)


main()
