"""The command line of ``modelberth``: docs/cli.md describes commands, results and exit codes."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl, upload_name
from modelberth.core.revision import MODEL_NAME, Revision, Snapshot
from modelberth.engine.arguments import bandwidth_limit, concurrency, parser, snapshot, value
from modelberth.engine.report import Result, ended
from modelberth.engine.stopping import Stop

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    Command = Callable[[argparse.Namespace, Stop], Result]


def main() -> None:
    """Run what the command line asks for, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run the command that *words* are."""
    arguments = parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    for noisy in ("boto3", "botocore", "google", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stop = Stop()
    stop.on_signals()
    return ended(arguments.command, lambda: _run(arguments, stop))


def _run(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.filesystem import failure_of

    try:
        return _COMMANDS[arguments.command](arguments, stop)
    except OSError as error:
        raise failure_of(error, arguments.command) from error


# One command each; what only one of them needs is imported when it is asked for, since pods start often. --------------


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
    from modelberth.engine.sync import Order, sync

    url, revision = BucketUrl.parse(arguments.bucket), value(Revision.parse, arguments.revision)
    damaged = frozenset(value(Snapshot.parse, text) for text in arguments.damaged)
    order = Order(
        *(url, arguments.root, revision, damaged),
        streams=concurrency(arguments),
        rate=bandwidth_limit(arguments),
        hard_links=arguments.hard_links,
    )
    return sync(order, stop)


def _verify(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.verify import verify

    return verify(arguments.root, value(Revision.parse, arguments.revision), snapshot(arguments), stop)


def _check(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.verify import check

    stats = value(Digest.parse, arguments.stats) if arguments.stats else None
    return check(arguments.root, value(Revision.parse, arguments.revision), snapshot(arguments), stats, stop)


def _list(arguments: argparse.Namespace, _stop: Stop) -> Result:
    from modelberth.engine.listing import list_claim

    return list_claim(arguments.root)


_COMMANDS: dict[str, Command] = {
    "manifest": _manifest,
    "upload": _upload,
    "sync": _sync,
    "verify": _verify,
    "check": _check,
    "list": _list,
}


if __name__ == "__main__":
    main()
