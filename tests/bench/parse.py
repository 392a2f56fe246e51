"""Parses `dags/releases.py` with the catalog of MODELBERTH_CATALOG, as the Dag processor does; prints the seconds."""

import json
import os
import sys
import time
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[2] / "dags" / "releases.py"


def main() -> None:
    """Import first, by parsing the catalog that the first argument names: the Dag processor forks after that."""
    wanted = os.environ["MODELBERTH_CATALOG"]
    os.environ["MODELBERTH_CATALOG"] = sys.argv[1]
    DagBag(dag_folder=str(DAGS))
    os.environ["MODELBERTH_CATALOG"] = wanted
    began = time.monotonic()
    bag = DagBag(dag_folder=str(DAGS))
    print("\n" + json.dumps({"seconds": time.monotonic() - began, "dags": len(bag.dags), "errors": bag.import_errors}))


main()
