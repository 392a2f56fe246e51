"""The program as a child of a task: its lines in the task's log, its end with the task's."""

import os
import subprocess
import sys
import threading
import time

import pytest

from modelberth.operators import child
from modelberth.operators.child import Child


@pytest.fixture
def program(monkeypatch):
    """Runs Python code as if it were the program; returns the child."""

    def run(code, environment=None):
        real = subprocess.Popen

        def replaced(command, **kwargs):
            return real([sys.executable, "-u", "-c", code], **kwargs)

        monkeypatch.setattr(child.subprocess, "Popen", replaced)
        return Child(["upload"], environment or dict(os.environ))

    return run


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def info(self, form, *values):
        self.lines.append(form % values)


def test_lines_are_logged_and_the_last_json_is_the_result(program):
    log = Log()
    code = """
import sys
print("one"); print("two", file=sys.stderr); print('{"a": 1}'); print('{"a": 2}'); print("late", file=sys.stderr)
sys.exit(11)
"""
    outcome = program(code).follow(log)
    assert log.lines == ["one", "two", "late"]
    assert (outcome.exit_code, outcome.message) == (11, '{"a": 2}\n')


def test_bytes_that_are_no_text_do_not_end_the_task(program):
    log = Log()
    assert program(r"import sys; sys.stdout.buffer.write(b'\xff\n')").follow(log).exit_code == 0
    assert log.lines == ["\N{REPLACEMENT CHARACTER}"]


def test_a_program_that_was_killed_is_named_by_the_signal(program):
    outcome = program("import os; os.kill(os.getpid(), 9)").follow(Log())
    assert (outcome.exit_code, outcome.reason) == (137, "SIGKILL")


def ends_on_sigterm():
    return "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(10)); print('up'); time.sleep(60)"


def ignores_sigterm():
    return "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"


@pytest.mark.parametrize(("code", "ended"), [(ends_on_sigterm(), 10), (ignores_sigterm(), 137)])
def test_killing_the_task_ends_the_program(program, monkeypatch, code, ended):
    monkeypatch.setattr(child, "PATIENCE", 0.5)
    running = program(code)
    outcomes, log = [], Log()
    follower = threading.Thread(target=lambda: outcomes.append(running.follow(log)))
    follower.start()
    while "up" not in log.lines:
        time.sleep(0.01)
    began = time.monotonic()
    running.end()
    follower.join(10)
    assert outcomes[0].exit_code == ended
    assert time.monotonic() - began < 5
