"""``python -m modelberth``: what whoever keeps the catalog asks, where Airflow is installed.

python -m modelberth check [MODEL...]    look at all that the catalog names; exit code 1 when something is wrong
python -m modelberth schemas             write the JSON Schemas that editors read (include/schemas)
python -m modelberth sign ...            what ``modelberth sign`` does, where that program is not installed
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout

from modelberth.catalog import editors, load
from modelberth.signatures import program


def main() -> int:
    """Do what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m modelberth", description="Look after a catalog.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="look at all that the catalog names: connections, claims, rights, ...")
    check.add_argument("names", metavar="MODEL", nargs="*", help="by default all")
    commands.add_parser("schemas", help="write the JSON Schemas that editors read")
    commands.add_parser("sign", help="sign a revision in a bucket", add_help=False)
    arguments, _ = parser.parse_known_args() if sys.argv[1:2] == ["sign"] else (parser.parse_args(), [])
    if arguments.command == "sign":
        program.main()
    return _check(arguments.names) if arguments.command == "check" else _schemas()


def _check(names: list[str]) -> int:
    with redirect_stdout(sys.stderr):  # Airflow's log, which would be between the table's lines
        from modelberth.operators.survey import survey, table

        rows = survey(load(), names)
    print(table(rows))  # noqa: T201 - a program's own words
    return int(any(row.problem for row in rows))


def _schemas() -> int:
    changed = editors.outdated()
    editors.write()
    print(*(f"written: {path}" for path in changed), sep="\n")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
