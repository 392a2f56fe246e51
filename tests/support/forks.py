"""Runs of the program in processes of their own without its start, 0.3 s of imports: a hundred fit into a test."""

import json
import os
import subprocess
import sys

_SERVING = """
import json, os, sys
from modelberth.engine import cli
{before}
for line in sys.stdin:
    if not (pid := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(run(json.loads(line)))
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Forks:
    """A process that has imported what it needs and forks for each run.

    :param before: Python that is executed once; it defines ``run(words)``, which a fork calls and whose result is its
        exit code.
    """

    def __init__(self, before, env=None):
        words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", _SERVING.format(before=before)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {})
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def begin(self, *words):
        """Begin a run and return its process id."""
        self._process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def status(self):
        """Wait for the run and return its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._process.stdout.readline()))

    def ends(self, *words):
        """Run it to its end and return its exit code."""
        self.begin(*words)
        return self.status()


FATAL = """
import signal

def fatal(left, calls):
    def deadly(real):
        def step(*arguments, **named):
            nonlocal left
            left -= 1
            if left <= 0:  # another thread may have passed it between the two lines
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)
        return step
    for owner, name in calls:
        setattr(owner, name, deadly(getattr(owner, name)))
"""
"""Defines ``fatal(left, calls)``: from then on the one of *calls* after which none is *left* kills the process."""
