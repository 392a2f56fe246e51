"""The demo: a real model through the whole chain, then a second revision of it by refresh, on real parts.

It goes by what is served, so it may be run again at any point, and what is done is not done twice:

    nothing    put the fp32 form at the source, let refresh_models propose it (twice: the second time it does not)
    fp32       put the int8 form at the source, and the same again
    int8       nothing is left to do
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import demo_catalog
import environment
import lease
import minilm
import serving
from airflow_client import FINISHED, PARKED, Airflow, AirflowError, Run
from asking import ask
from kubernetes.client import ApiException
from local_airflow import USERS, LocalAirflow, clouds, connections, signing_seed
from problems import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settings import Settings
    from supervise import Part

SERVICE, DAG = "embedder", "release_minilm"
GATE = "gate.approve"
TEXT = "A ship in a harbour is safe."
PATIENCE = {"api": 300.0, "ui": 24 * 3600.0}
"""Seconds that the demo waits for an approval, by who gives it."""
ASKED = 4
"""How often a gate asks at most: an answer that comes while it is being parked fails that try; three more follow."""


def demo(settings: Settings) -> None:
    """Bring everything up, ship the model, and say what happened and where to look.

    :raises LocalError: A part of the environment or of the chain failed; with what it said.
    """
    if not source(settings).exists():  # before the schedule looks for it
        minilm.put_model(source(settings), "fp32")
    environment.up(settings, airflow_parts)
    lease.keep(settings)
    env = environment.read_env(settings)
    serving.serving_namespace(settings, namespace(env), lasting=True)
    serving.serve(settings, namespace(env), env["SERVER_IMAGE"] if "CLUSTER" in env else serving.SERVER_IMAGE)
    stage = Stage(settings, local_airflow(settings))
    stage.play()
    print(stage.airflow_help())


def source(settings: Settings) -> Path:
    """Return the directory that include/models/minilm.yaml names."""
    return settings.state / "models" / "minilm"


def local_airflow(settings: Settings) -> LocalAirflow:
    """Return this checkout's Airflow; its port is ``AIRFLOW_PORT``, else the one it had, else a free one."""
    home = settings.state / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    kept = home / "port"
    if chosen := os.environ.get("AIRFLOW_PORT"):
        kept.write_text(chosen)
    elif not kept.exists():
        kept.write_text(str(free_port(8080)))
    more = clouds(environment.read_env(settings)) if settings.env.exists() else {}
    return LocalAirflow(home, int(kept.read_text()), demo_catalog.folder(settings), more)


def namespace(env: Mapping[str, str]) -> str:
    """Return where the demo serves, by ``.local/env``."""
    return env.get("SERVING_NAMESPACE", "serving")


def airflow_parts(settings: Settings) -> list[Part]:
    """Return Airflow's processes, its database and connections made ready."""
    airflow, env = local_airflow(settings), environment.read_env(settings)
    demo_catalog.write(settings, env)
    airflow.prepare(connections(env, signing_seed(settings.state / "signing.key")))
    return airflow.parts()


def free_port(wanted: int) -> int:
    """Return *wanted* when nothing listens there on 127.0.0.1, else any free port."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as server:
            return int(server.getsockname()[1])
    raise LocalError("No free port on 127.0.0.1.")


@dataclass(frozen=True)
class Stage:
    """The running parts, as the demo uses them."""

    settings: Settings
    local: LocalAirflow

    def user(self, name: str) -> Airflow:
        """Return Airflow as the user *name* has it."""
        return Airflow(self.local.url, name, self.local.passwords[name])

    def play(self) -> None:
        """Do what is left to do."""
        self.user("admin").wait("The Dag release_minilm", self._dag_is_there, 120)
        if self.served() is None:
            say("Nothing is served yet.")
            self.ship(self.propose("fp32"))
        if self.served() != form_digest("int8"):
            before = self.ask("/embed", {"text": TEXT})
            self.ship(self.propose("int8"))
            compare(before, self.ask("/embed", {"text": TEXT}))
        say(f"Service {SERVICE} serves {self.ask('/modelz')['revision']}.")

    def _dag_is_there(self) -> bool:
        return any(row["dag_id"] == DAG for row in self.user("admin").get("dags", limit=100)["dags"])

    def propose(self, form: str) -> Run:
        """Put a form of the model at the source and return the run that the refresh starts for it.

        The schedule may be quicker than the demo, and a release that failed is not proposed again at once: the first is
        as good, the second is started by hand.
        """
        admin = self.user("admin")
        before = admin.runs(DAG)
        changed = minilm.put_model(source(self.settings), form)
        news = "something new, " if changed else ""
        say(f"The source holds {news}the {form} form. refresh_models looks at it, twice:")
        for time_ in ("first", "second"):
            admin.wait_finished(admin.trigger("refresh_models"))
            new = [run for run in admin.runs(DAG) if run not in before]
            say(f"  after the {time_} time there are {len(new)} new releases")
        waiting = new or [run for run in before if admin.state(run) == "running"]
        return waiting[-1] if waiting else admin.trigger(DAG)

    def ship(self, run: Run) -> None:
        """See *run* through its gate to its good end."""
        admin, began = self.user("admin"), time.monotonic()
        say(f"Release: {self.local.url}/dags/{run.dag_id}/runs/{run.run_id}")
        self.until_parked(run)
        parked = time.monotonic()
        approved, state = self.through_the_gate(run)
        if state != "success":
            raise LocalError(f"The release ended as {state}.\n{story(admin, run)}")
        if admin.tasks(run)["record"] != "success":  # all was skipped, which Airflow shows as a good end
            raise LocalError("The release was rejected: nothing that serves has changed.")
        seconds = (parked - began) + (time.monotonic() - approved)
        say(f"It is served: {seconds:.0f} s without the human, of which {parked - began:.0f} s up to the gate.")
        for task in ("bucket.upload", f"claim.{SERVICE}.sync", f"claim.{SERVICE}.verify"):
            say(f"  {task}: {brief(admin.result(run, task))}")

    def until_parked(self, run: Run) -> None:
        """Wait until the gate of *run* asks; say what went wrong when it does not."""
        try:
            self.user("admin").wait_parked(run, GATE)
        except AirflowError as error:
            raise LocalError(f"{error}\n{story(self.user('admin'), run)}") from error

    def through_the_gate(self, run: Run) -> tuple[float, str]:
        """Get a yes, again when the gate asks again; return when the last one came, and the state in which *run* ended.

        :raises LocalError: It asked more often than it has tries, or the run did not end.
        """
        admin = self.user("admin")

        def asks_or_ended() -> str:
            state = admin.state(run)
            return state if state in FINISHED else PARKED * asks(admin, run)

        for _ in range(ASKED):
            self.approve(run)
            approved = time.monotonic()
            state = admin.wait(f"The end of {run.path}", asks_or_ended, 600)
            if state != PARKED:
                return approved, state
            say("The answer came too early for Airflow: the gate asks again.")
            self.until_parked(run)
        raise LocalError(f"Gate {GATE} of {run.path} was answered {ASKED} times and asks again; see its log.")

    def approve(self, run: Run) -> None:
        """Get Alice's yes: from her, in the UI, with ``APPROVE=ui``; else through the API, as her."""
        admin = self.user("admin")
        if os.environ.get("APPROVE") == "ui":
            say(f"Your turn. Log in as alice, password {self.local.passwords['alice']}, and answer at")
            say(f"  {admin.gate_address(run, GATE)}")
            admin.wait("The answer", lambda: admin.question(run, GATE)["response_received"], PATIENCE["ui"])
            return
        self.user("alice").answer(run, GATE, "Approve")
        say("The gate asked, and alice approved through Airflow's API (APPROVE=ui lets you do it).")

    def served(self) -> str | None:
        """Return the digest of the revision that is served, or None."""
        try:
            return str(self.ask("/modelz")["revision"]).partition("@")[2]
        except ApiException as error:
            if error.status != 503:  # no pod is ready
                raise
            return None

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the Service answers, by way of the API server."""
        where = namespace(environment.read_env(self.settings))
        return ask(str(self.settings.kubeconfig), where, SERVICE, path, body)

    def airflow_help(self) -> str:
        """Return where the UI is and who may log in."""
        users = [f"  {name:<6} {role:<7} {self.local.passwords[name]}" for name, role in USERS.items()]
        return "\n".join([f"Airflow: {self.local.url}", "  user   role    password", *users])


def form_digest(form: str) -> str:
    """Return the digest of the revision that a form of the model is."""
    with tempfile.TemporaryDirectory() as scratch:
        minilm.put_model(Path(scratch) / "minilm", form)
        program = Path(sys.executable).with_name("modelberth")
        command = [program, "manifest", f"{scratch}/minilm"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return str(json.loads(done.stdout.splitlines()[-1])["digest"])


def compare(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Say how the answers of two revisions differ.

    :raises LocalError: They do not: the rollout has changed nothing.
    """
    if before["embedding"] == after["embedding"]:
        raise LocalError(f"Both revisions answer {TEXT!r} alike: the rollout changed nothing.")
    say(f"The answer to {TEXT!r} has changed with the revision:")
    for answer in (before, after):
        numbers = ", ".join(f"{value:+.6f}" for value in answer["embedding"][:4])
        say(f"  {answer['revision'][:26]}…  [{numbers}, …]")


def asks(airflow: Airflow, run: Run) -> bool:
    """Return whether the gate of *run* waits for an answer."""
    return airflow.tasks(run).get(GATE) == PARKED and not airflow.question(run, GATE)["response_received"]


def story(airflow: Airflow, run: Run) -> str:
    """Return the end of the log of each failed task of *run*."""
    failed = [task for task, state in airflow.tasks(run).items() if state == "failed"]
    return "\n".join(f"--- {task}\n{airflow.log(run, task)[-2000:]}" for task in failed)


def brief(result: dict[str, Any]) -> str:
    """Return what a step's result says about bytes."""
    keys = ("bytes_uploaded", "bytes_copied", "bytes_fetched", "bytes_reused", "bytes", "seconds", "how")
    return ", ".join(f"{key} {result[key]}" for key in keys if key in result)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)
