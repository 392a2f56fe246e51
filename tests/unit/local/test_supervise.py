"""What the supervisor is told, and what it says, in our words."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from typing import Any

import pytest
from supervise import Part, state_of, tail
from supervisord import configuration

INFO = {"name": "etcd", "description": "pid 7, uptime 0:00:03", "exitstatus": 0, "spawnerr": "", "stop": 0}


@pytest.mark.parametrize(
    ("info", "running", "says"),
    [
        ({"statename": "RUNNING"}, True, "runs (pid 7, uptime 0:00:03)"),
        ({"statename": "STARTING"}, True, "runs (pid 7"),
        ({"statename": "STOPPING"}, True, "runs (pid 7"),
        ({"statename": "STOPPED"}, False, "is not started"),
        ({"statename": "EXITED", "exitstatus": 0}, False, "died (exit 0) at "),
        ({"statename": "EXITED", "exitstatus": 3, "spawnerr": "Bad exit code 3"}, False, "died (exit 3) at "),
        ({"statename": "EXITED", "exitstatus": -1, "spawnerr": "Bad exit code -1"}, False, "died (by a signal) at "),
        (
            {"statename": "FATAL", "spawnerr": "can't find command 'etcd'"},
            False,
            "died (can't find command 'etcd') at ",
        ),
        ({"statename": "BACKOFF", "spawnerr": "Exited too quickly"}, False, "died (Exited too quickly) at "),
    ],
)
def test_states(info: dict[str, Any], running: bool, says: str) -> None:
    state = state_of({**INFO, "stdout_logfile": "/log/etcd.log", **info})
    assert state.running is running
    assert state.says.startswith(says)


def test_configuration_carries_every_argument_and_variable() -> None:
    command = ("weed", "-dir=/a b", "--percent=100%", "it's")
    part = Part("s3", command, ("true",), environment={"KEY": 'a "b", c=%d', "EMPTY": ""})
    parsed = configparser.RawConfigParser()
    parsed.read_string(configuration(Path("/run/x.sock"), Path("/log"), [part]))
    section = parsed["program:s3"]
    assert shlex.split(section["command"].replace("%%", "%")) == list(command)
    assert section["autorestart"] == "false"
    assert section["stdout_logfile"] == "/log/s3.log"
    assert section["environment"].startswith('EMPTY=""')


def test_parts_are_ended_in_the_reverse_order_of_their_start() -> None:
    parts = [Part(name, ("true",), ("true",)) for name in ("etcd", "kubelet")]
    parsed = configparser.RawConfigParser()
    parsed.read_string(configuration(Path("/run/x.sock"), Path("/log"), parts))
    assert [parsed[f"program:{name}"]["priority"] for name in ("etcd", "kubelet")] == ["0", "1"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "    (no log)"), ("", "    (empty)"), ("a\nb\n", "    a\n    b"), ("\n".join("abcde"), "    d\n    e")],
)
def test_tail_of_a_log(tmp_path: Path, content: str | None, expected: str) -> None:
    log = tmp_path / "part.log"
    if content is not None:
        log.write_text(content)
    assert tail(log, 2) == expected
