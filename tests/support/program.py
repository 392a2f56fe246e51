"""``modelberth``, as pods and workers run it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from modelberth.engine import cli
from real_servers import ENDS_WITH_US


@dataclass
class Ran:
    """How a run of the program ended."""

    code: int
    result: dict

    @property
    def problem(self):
        return "\n".join(self.result["problems"])


@dataclass
class Program:
    """``modelberth``, run as a process of its own."""

    env: dict[str, str]

    def start(self, *words, **env):
        words = [*ENDS_WITH_US, sys.executable, "-m", "modelberth.engine", *map(str, words)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "GOOGLE_", "STORAGE_"))}
        return subprocess.Popen(
            words, env=clean | self.env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *words, **env):
        """Run it inside this process, which saves the start; ``start`` is for what needs a process of its own."""
        before = dict(os.environ)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "STORAGE_"))]:
            del os.environ[name]
        os.environ.update(self.env | env)
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                code = cli.run([str(word) for word in words])
        finally:
            os.environ.clear()
            os.environ.update(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return Ran(int(code), json.loads(out.getvalue().splitlines()[-1]))

    @staticmethod
    def end(process):
        out, _ = process.communicate(timeout=120)
        lines = out.splitlines()
        return Ran(process.returncode, json.loads(lines[-1]) if lines else {})

    def upload(self, directory, bucket, name="u1", *more):
        return self("upload", directory, bucket.url, "--model", "minilm", "--upload", name, *more)
