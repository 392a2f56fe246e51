"""The parts of the environment: started in order, waited for, and named when they die.

Parts are programs of a capsule's supervisor (supervisord). It restarts nothing: a part that died is news, not noise.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from problems import LocalError
from supervisord import UnixTransport, configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from capsule import Capsule

SUPERVISORD = Path(sys.executable).with_name("supervisord")
PROBE = Path(__file__).with_name("probe.py")
POLL = 0.2
ANSWER_WITHIN = 10
"""Seconds: between two questions whether a part is ready, and until it must have answered one."""


class PartDiedError(LocalError):
    """A part ended that should run."""


@dataclass(frozen=True)
class Part:
    """One program of the environment.

    :param name: What people call it.
    :param command: The program and its arguments.
    :param ready: A command, run where the part runs, that ends with 0 when the part does its work.
    :param within: Seconds until it must be ready.
    :param environment: What is added to the environment.
    :param folder: Where it starts.
    """

    name: str
    command: tuple[str, ...]
    ready: tuple[str, ...]
    within: float = 60
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")


@dataclass(frozen=True)
class State:
    """What the supervisor knows of a part.

    :param name: The part.
    :param running: Whether its process lives.
    :param says: One line for people: ``running, pid 12, 0:03:10`` or ``died (exit 1) at ...``.
    :param log: Its log file.
    """

    name: str
    running: bool
    says: str
    log: Path


def answers(url: str) -> tuple[str, ...]:
    """Return the readiness command of a part that has an HTTP address: it must answer with 200."""
    return (sys.executable, str(PROBE), url)


@dataclass(frozen=True)
class Supervisor:
    """A capsule's supervisor.

    :param capsule: The processes it is the first of.
    :param log: Folder of the parts' logs.
    :param entered: Whether the parts are in namespaces of their own, so that readiness is asked from inside.
    """

    capsule: Capsule
    log: Path
    entered: bool = False

    @property
    def command(self) -> list[str]:
        """The supervisor in the foreground."""
        return [str(SUPERVISORD), "--nodaemon", "--configuration", str(self.capsule.config)]

    def configure(self, parts: Sequence[Part]) -> None:
        """Write down what is to be supervised."""
        self.log.mkdir(parents=True, exist_ok=True)
        text = configuration(self.capsule.socket, self.log, parts)
        self.capsule.config.touch(mode=0o600)  # parts' environments may hold credentials
        self.capsule.config.write_text(text)

    def ensure(self, parts: Sequence[Part], say: Callable[[str], None] = print) -> None:
        """
        Start what does not run, in order, each as soon as the one before it is ready; name what had died.

        :raises PartDiedError: One ended before it was ready.
        :raises LocalError: One is not ready in time.
        """
        self.answering()
        self.reload()
        alive = {state.name for state in self.states() if state.running}
        for part in parts:
            if part.name in alive:
                self.wait(part, alive)
                continue
            state = self.state(part.name)
            if "died" in state.says:
                say(f"{part.name} {state.says}; starting it again. Last lines of {state.log}:\n{tail(state.log)}")
            self.call("startProcess", part.name, False)
            alive.add(part.name)
            began = time.monotonic()
            self.wait(part, alive)
            say(f"{part.name} is ready ({time.monotonic() - began:.1f} s)")

    def answering(self, within: float = 15) -> None:
        """Wait until the supervisor itself answers."""
        deadline = time.monotonic() + within
        while True:
            try:
                self.call("getState")
            except OSError as error:
                if self.capsule.outer is None:
                    log = self.capsule.log
                    raise LocalError(
                        f"The {self.capsule.name} ended at once. Last lines of {log}:\n{tail(log)}"
                    ) from error
                if time.monotonic() > deadline:
                    raise LocalError(
                        f"The {self.capsule.name} does not answer at {self.capsule.socket}. See {self.capsule.log}."
                    ) from error
                time.sleep(0.05)
            else:
                return

    def reload(self) -> None:
        """Let the supervisor read its configuration: new parts are added, changed ones stopped, the rest runs on."""
        added, changed, removed = self.call("reloadConfig")[0]
        for name in [*removed, *changed]:
            self.call("stopProcessGroup", name)
            self.call("removeProcessGroup", name)
        for name in [*changed, *added]:
            self.call("addProcessGroup", name)

    def wait(self, part: Part, alive: Collection[str]) -> None:
        """Wait until a part is ready.

        :param alive: The parts that must not die meanwhile.
        """
        deadline = time.monotonic() + part.within
        while True:
            self.demand(alive)
            said = self.ask(part)
            if said is None:
                return
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{part.name} runs but is not ready after {part.within:.0f} s: {said}\n"
                    f"Last lines of {self.log / part.name}.log:\n{tail(self.log / f'{part.name}.log')}"
                )
            time.sleep(POLL)

    def ask(self, part: Part) -> str | None:
        """Return None when a part is ready, else what its readiness check says."""
        command = self.capsule.enter(part.ready) if self.entered else list(part.ready)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_WITHIN)
        except subprocess.TimeoutExpired:
            return f"no answer within {ANSWER_WITHIN} s"
        return None if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit {done.returncode}"

    def demand(self, alive: Collection[str]) -> None:
        """Raise when one of these parts has died.

        :raises PartDiedError: With the name, the exit code and the last lines of the log of each.
        """
        dead = [state for state in self.states() if state.name in alive and not state.running]
        if dead:
            raise PartDiedError(
                "\n".join(f"{part.name} {part.says}; last lines of {part.log}:\n{tail(part.log)}" for part in dead)
            )

    def states(self) -> list[State]:
        """Return what became of each part; nothing when the supervisor does not run."""
        if self.capsule.outer is None:
            return []
        return [state_of(info) for info in self.call("getAllProcessInfo")]

    def state(self, name: str) -> State:
        """Return what became of one part."""
        return state_of(self.call("getProcessInfo", name))

    def call(self, method: str, *arguments: object) -> Any:
        """Call the supervisor's API."""
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=UnixTransport(self.capsule.socket))
        return getattr(proxy.supervisor, method)(*arguments)


def state_of(info: Mapping[str, Any]) -> State:
    """Return what the supervisor says of a process, in our words.

    ============================ =================================
    supervisor                   here
    ============================ =================================
    STARTING, RUNNING, STOPPING  running
    STOPPED (never started)      not started
    EXITED, FATAL, BACKOFF       died
    ============================ =================================
    """
    running = info["statename"] in ("STARTING", "RUNNING", "STOPPING")
    if running:
        says = f"runs ({info['description']})"
    elif info["statename"] == "STOPPED":
        says = "is not started"
    else:
        says = f"died ({how_it_ended(info)}) at {time.strftime('%H:%M:%S', time.localtime(info['stop']))}"
    return State(info["name"], running, says, Path(info["stdout_logfile"]))


def how_it_ended(info: Mapping[str, Any]) -> str:
    """Return why a process does not run: its exit code, that a signal ended it, or why it did not start."""
    if info["statename"] != "EXITED":
        return str(info["spawnerr"])
    return "by a signal" if info["exitstatus"] == -1 else f"exit {info['exitstatus']}"


def tail(log: Path, lines: int = 12) -> str:
    """Return a log's last lines, or that there are none."""
    if not log.exists():
        return "    (no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        last = file.read().decode(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in last) or "    (empty)"
