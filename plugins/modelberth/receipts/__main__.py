"""``python -m modelberth.receipts``: audit what is on record; one line a problem, exit code 1 if there are any."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from modelberth.core.chain import Problem
from modelberth.receipts.audit import Auditor, Folder, Reader, Report
from modelberth.receipts.signing import PublicKey, signing_key
from modelberth.receipts.store import StoreError, StoreUnreachableError, open_store


def main() -> int:
    """Audit what the command line names; 2 means that it could not be read."""
    arguments = _arguments()
    try:
        key = PublicKey(arguments.key) if arguments.key else signing_key()
        reports = _audit(Auditor(_reader(arguments), key), arguments.what)
    except (StoreError, StoreUnreachableError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a program's own words
        return 2
    problems = [problem for report in reports for problem in report.problems]
    total = Report(sum(report.releases for report in reports), len(reports), problems)
    print(*problems, total, sep="\n")  # noqa: T201
    return 1 if problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelberth.receipts", description=__doc__)
    parser.add_argument("place", metavar="FOLDER|URL", help="the receipts' prefix, or a folder it was downloaded to")
    parser.add_argument("what", metavar="MODEL[/RELEASE]", nargs="*", help="by default everything that is there")
    parser.add_argument("--key", metavar="BASE64", help="the public key; by default that of this Airflow's connection")
    parser.add_argument("--connection", metavar="ID", help="the Airflow connection that may read URL")
    return parser.parse_args()


def _reader(arguments: argparse.Namespace) -> Reader:
    if "://" in arguments.place:
        return open_store(arguments.place, arguments.connection or "modelberth_receipts")
    folder = Path(arguments.place)
    if not folder.is_dir():
        raise ValueError(f"No folder {arguments.place!r}: expected one, or a URL s3://... or gs://....")
    return Folder(folder)


def _audit(auditor: Auditor, what: list[str]) -> list[Report]:
    return [_one(auditor, *one.split("/", 1)) for one in what or auditor.models()]


def _one(auditor: Auditor, model: str, release_id: str | None = None) -> Report:
    report = auditor.audit(model, release_id, datetime.now(UTC))
    if not report.releases:
        what = "/".join(filter(None, (model, release_id)))
        report.problems.append(Problem(what, "nothing is believed to be on record of it"))
    return report


if __name__ == "__main__":
    sys.exit(main())
