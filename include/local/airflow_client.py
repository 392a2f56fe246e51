"""A named user of one Airflow, over its public REST API: what the demo and the end-to-end tests act through."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from problems import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

FINISHED = frozenset({"success", "failed"})
PARKED = "awaiting_input"
PATIENCE = 120.0
"""Seconds for which an answer is waited for: a machine that starts pods and parses Dags at once is slow for a while."""

SETTLE = 2.0
"""Seconds between a gate's parking and an answer: an answer before the scheduler saw the parking fails the task."""


class AirflowError(LocalError):
    """Airflow did not do what was asked of it."""


@dataclass(frozen=True)
class Run:
    """One Dag run, by its two names."""

    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        """The run's address below ``/api/v2``."""
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}"


class Airflow:
    """The API of the Airflow at *url*, as the user *name*.

    :param url: Root of the API server, without ``/api/v2``.
    :raises AirflowError: The user cannot log in.
    """

    def __init__(self, url: str, name: str, password: str) -> None:
        self.url = url
        self.name = name
        self._http = httpx.Client(base_url=url, timeout=PATIENCE)
        token = self._call("POST", "/auth/token", json={"username": name, "password": password})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """Return what ``/api/v2/<path>`` says."""
        return self._call("GET", f"/api/v2/{path}", params=query)

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Send *body* to ``/api/v2/<path>``."""
        return self._call(method, f"/api/v2/{path}", json=body)

    def _call(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self._http.request(method, path, **kwargs)
        if answer.is_error:
            raise AirflowError(f"{method} {path} as {self.name}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    # --- runs ---------------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        """Start *dag_id* and return its run."""
        body = {"logical_date": None, "conf": conf or {}}
        return Run(dag_id, self.send("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def runs(self, dag_id: str) -> list[Run]:
        """Return the runs of *dag_id*, oldest first."""
        rows = self.get(f"dags/{dag_id}/dagRuns", order_by="run_after", limit=100)["dag_runs"]
        return [Run(dag_id, row["dag_run_id"]) for row in rows]

    def state(self, run: Run) -> str:
        """Return the state of *run*."""
        return str(self.get(run.path)["state"])

    def tasks(self, run: Run) -> dict[str, str | None]:
        """Return the state of each task of *run*."""
        rows = self.get(f"{run.path}/taskInstances", limit=100)["task_instances"]
        return {row["task_id"]: row["state"] for row in rows}

    def result(self, run: Run, task_id: str) -> Any:
        """Return what *task_id* returned."""
        path = f"{run.path}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path, deserialize="true")["value"]

    def log(self, run: Run, task_id: str) -> str:
        """Return the log of the last try of *task_id*, a line each."""
        task = self.get(f"{run.path}/taskInstances/{task_id}")
        path = f"{run.path}/taskInstances/{task_id}/logs/{max(task['try_number'], 1)}"
        content = self.get(path, full_content="true")["content"]
        return "\n".join(_line(entry) for entry in content)

    def clear(self, run: Run, task_id: str) -> None:
        """Clear *task_id* and what follows it, so that they run again."""
        body = {
            "dry_run": False, "dag_run_id": run.run_id, "task_ids": [task_id], "include_downstream": True,
            "only_failed": False, "reset_dag_runs": True,
        }  # fmt: skip
        self.send("POST", f"dags/{run.dag_id}/clearTaskInstances", body)

    def mark(self, run: Run, task_id: str, state: str) -> None:
        """Set *task_id* to *state* by hand, as a person can in the UI."""
        self.send("PATCH", f"{run.path}/taskInstances/{task_id}", {"new_state": state})

    # --- waiting ------------------------------------------------------------------------------------------------------

    def wait(self, what: str, condition: Callable[[], Any], seconds: float) -> Any:
        """Return the first true value of *condition*.

        :raises AirflowError: There was none within *seconds*.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.5)
        raise AirflowError(f"{what} did not come within {seconds:.0f} s.")

    def wait_finished(self, run: Run, seconds: float = 300) -> str:
        """Return the state in which *run* ends."""
        return str(self.wait(f"The end of {run.path}", lambda: self._finished(run), seconds))

    def _finished(self, run: Run) -> str | None:
        state = self.state(run)
        return state if state in FINISHED else None

    def wait_parked(self, run: Run, task_id: str, seconds: float = 300) -> None:
        """Wait until the gate *task_id* asks.

        :raises AirflowError: The run ended first, or it took too long.
        """

        def parked() -> bool:
            if self.tasks(run).get(task_id) == PARKED:
                return True
            if state := self._finished(run):
                raise AirflowError(f"{run.path} ended as {state} before {task_id} asked: {self.tasks(run)}")
            return False

        self.wait(f"The question of {task_id} in {run.path}", parked, seconds)
        time.sleep(SETTLE)

    # --- the gate -----------------------------------------------------------------------------------------------------

    def question(self, run: Run, task_id: str) -> dict[str, Any]:
        """Return what the gate *task_id* shows."""
        return dict(self.get(f"{run.path}/taskInstances/{task_id}/-1/hitlDetails"))

    def answer(self, run: Run, task_id: str, option: str, note: str = "") -> None:
        """Answer the gate *task_id*.

        :raises AirflowError: This user may not, or it was answered already.
        """
        body = {"chosen_options": [option], "params_input": {"note": note}}
        self.send("PATCH", f"{run.path}/taskInstances/{task_id}/-1/hitlDetails", body)

    def gate_address(self, run: Run, task_id: str) -> str:
        """Return the page of the UI on which a person answers the gate *task_id*."""
        return f"{self.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/{task_id}/required_actions"


def _line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    details = [str(error.get("exc_value", "")) for error in entry.get("error_detail") or []]
    return " ".join(filter(None, [str(entry.get("timestamp") or ""), str(entry.get("event") or ""), *details]))
