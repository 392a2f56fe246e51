"""One look of `refresh_models` at the catalog of MODELBERTH_CATALOG; prints what it took and what it found."""

import json
import time
from types import SimpleNamespace

from modelberth.operators.refresh import CompareSourcesOperator


def main() -> None:
    """Run the task's own code, in a process of its own as Airflow's workers do; connections are in the environment."""
    found = {}
    task = SimpleNamespace(xcom_push=lambda key, value: found.update({key: value}), get_previous_ti=lambda state: None)
    compare = CompareSourcesOperator(task_id="compare")
    began, cpu = time.monotonic(), time.process_time()
    proposed = compare.execute({"ti": task, "run_id": "bench"})
    took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    print("\n" + json.dumps(took | {"proposed": len(proposed), "problems": found["problems"]}))


main()
