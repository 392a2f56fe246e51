"""The local environment: ``python include/local up|down|status|run|demo``. See docs/local.md."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import environment
import lease
from machine import host
from problems import LocalError
from settings import Settings


def main() -> int:
    """Do what the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python include/local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything that does not run, and leave it running")
    commands.add_parser("down", help="stop everything; buckets, volumes and the cluster's state stay")
    commands.add_parser("status", help="what runs; exit code 1 when something that should does not")
    run = commands.add_parser("run", help="run a command with the environment up; stop it afterwards unless it is kept")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    commands.add_parser("demo", help="ship a real model through the whole chain, and leave everything running")
    arguments = parser.parse_args()
    settings = Settings(Path(__file__).resolve().parents[2])
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # by an exception, so that `run` still stops what it started
    try:
        return act(arguments, settings)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def act(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do one command."""
    match arguments.command:
        case "up":
            environment.up(settings)
            lease.keep(settings)
        case "down":
            environment.down(settings)
        case "status":
            return 0 if status(settings) else 1
        case "run":
            words = arguments.words
            return environment.run(settings, words[1:] if words[:1] == ["--"] else words)
        case "demo":
            import demo  # the Kubernetes client takes two seconds, which up, down and status do not need

            demo.demo(settings)
    return 0


def status(settings: Settings) -> bool:
    """Print what runs and how to log in; say whether all of it does."""
    complete = environment.status(settings)
    if host(settings).states():
        import demo

        print(demo.Stage(settings, demo.local_airflow(settings)).airflow_help())
    return complete


if __name__ == "__main__":
    sys.exit(main())
