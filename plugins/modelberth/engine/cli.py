"""The command line of ``modelberth``: docs/cli.md describes commands, results and exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl, upload_name
from modelberth.core.revision import MODEL_NAME, Revision, Snapshot
from modelberth.engine.report import Result, ended
from modelberth.engine.stopping import Stop

_MOST_STREAMS = 64

Parsed = TypeVar("Parsed")
Command = Callable[[argparse.Namespace, Stop], Result]


def main() -> None:
    """Run what the command line asks for, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run the command that *words* are."""
    arguments = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    for noisy in ("boto3", "botocore", "google", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stop = Stop()
    stop.on_signals()
    return ended(arguments.command, lambda: _run(arguments, stop))


def _run(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.filesystem import failure_of

    try:
        command: Command = arguments.run
        return command(arguments, stop)
    except OSError as error:
        raise failure_of(error, arguments.command) from error


def _manifest(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.describe import manifest_of

    manifest = manifest_of(arguments.directory, arguments.follow_links, stop)
    print(manifest.dump().decode())
    return {"digest": str(manifest.digest), "files": len(manifest.files), "bytes": manifest.size}


def _upload(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.upload import Order, new_name, upload

    url, name = BucketUrl.parse(arguments.bucket), upload_name(arguments.upload or new_name())
    if not MODEL_NAME.fullmatch(arguments.model):
        raise Failure(
            ExitCode.REFUSED, f"Not a model name: {arguments.model!r}; expected a DNS label of a-z, 0-9 and '-'."
        )
    return upload(Order(arguments.directory, url, arguments.model, name, arguments.follow_links), stop)


def _sync(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.pace import rate
    from modelberth.engine.sync import Order, sync

    url, revision = BucketUrl.parse(arguments.bucket), _value(Revision.parse, arguments.revision)
    damaged = frozenset(_value(Snapshot.parse, text) for text in arguments.damaged)
    if arguments.concurrency is not None and not 1 <= arguments.concurrency <= _MOST_STREAMS:
        raise Failure(
            ExitCode.REFUSED, f"Not a number of requests: {arguments.concurrency}; expected 1 to {_MOST_STREAMS}."
        )
    limit = rate(arguments.bandwidth_limit) if arguments.bandwidth_limit else None
    return sync(Order(url, arguments.root, revision, damaged, arguments.concurrency or 0, limit), stop)


def _verify(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.verify import verify

    return verify(arguments.root, _value(Revision.parse, arguments.revision), _snapshot(arguments), stop)


def _check(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.verify import check

    stats = _value(Digest.parse, arguments.stats) if arguments.stats else None
    return check(arguments.root, _value(Revision.parse, arguments.revision), _snapshot(arguments), stats, stop)


def _list(arguments: argparse.Namespace, _stop: Stop) -> Result:
    from modelberth.engine.listing import list_claim

    return list_claim(arguments.root)


def _snapshot(arguments: argparse.Namespace) -> Snapshot | None:
    return _value(Snapshot.parse, arguments.snapshot) if arguments.snapshot else None


def _value(parse: Callable[[str], Parsed], text: str) -> Parsed:
    """Return what *parse* makes of an argument.

    :raises Failure: It is not accepted.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(ExitCode.REFUSED, str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelberth", description="Move models between buckets and claims, and prove that they are what they were."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("manifest", help="print a directory's manifest")
    command.add_argument("directory", metavar="DIR", type=Path)
    _add_links(command)
    command.set_defaults(run=_manifest)

    command = commands.add_parser("upload", help="bring a directory into a bucket")
    command.add_argument("directory", metavar="DIR", type=Path)
    command.add_argument("bucket", metavar="BUCKET_URL", help="s3://bucket/prefix, gs://bucket/prefix or file:///dir")
    command.add_argument("--model", metavar="NAME", required=True)
    command.add_argument("--upload", metavar="ID", help="the upload's name; the same again goes on with it")
    _add_links(command)
    command.set_defaults(run=_upload)

    command = commands.add_parser("sync", help="bring a revision onto a claim")
    command.add_argument("bucket", metavar="BUCKET_URL")
    _add_claim(command)
    command.add_argument(
        "--damaged", metavar="SNAPSHOT", action="append", default=[], help="a snapshot that a verify found damaged"
    )
    command.add_argument("--concurrency", metavar="N", type=int, help="requests at once, 1 to 64; each takes 8 MiB")
    command.add_argument("--bandwidth-limit", metavar="RATE", help="bytes a second at most: 100MiB")
    command.set_defaults(run=_sync)

    command = commands.add_parser("verify", help="read every byte of a snapshot again")
    _add_claim(command)
    _add_snapshot(command)
    command.set_defaults(run=_verify)

    command = commands.add_parser("check", help="look whether a snapshot is as the last verify left it")
    _add_claim(command)
    _add_snapshot(command)
    command.add_argument("--stats", metavar="DIGEST", help="what that verify reported as 'stats'")
    command.set_defaults(run=_check)

    command = commands.add_parser("list", help="say what is on a claim")
    command.add_argument("root", metavar="ROOT", type=Path)
    command.set_defaults(run=_list)
    return parser


def _add_links(command: argparse.ArgumentParser) -> None:
    command.add_argument("--follow-links", metavar="ROOT", type=Path, help="where links out of DIR may lead")


def _add_claim(command: argparse.ArgumentParser) -> None:
    command.add_argument("root", metavar="ROOT", type=Path, help="where the claim is mounted")
    command.add_argument("--revision", metavar="NAME@DIGEST", required=True)


def _add_snapshot(command: argparse.ArgumentParser) -> None:
    command.add_argument("--snapshot", metavar="SNAPSHOT", help="which copy, '<64 hex>.<n>'; default the newest")


if __name__ == "__main__":
    main()
