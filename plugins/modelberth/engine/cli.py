"""The command line of ``modelberth``: docs/cli.md describes commands, results and exit codes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl, adopted_prefix, upload_name
from modelberth.core.revision import MODEL_NAME, Revision, Snapshot
from modelberth.engine.arguments import Proven, bandwidth_limit, concurrency, name_of_upload, parser, snapshot, value
from modelberth.engine.report import Result, ended
from modelberth.engine.stopping import Stop
from modelberth.engine.telling import say, utf8

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from modelberth.engine.verify import Order as LookedAt

    Command = Callable[[argparse.Namespace, Stop], Result]


def main() -> None:
    """Run what the command line asks for, and exit with its code."""
    utf8()
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str], more: Mapping[str, Command] | None = None) -> int:
    """Run the command that *words* are.

    :param more: Commands that do what the pod program alone cannot.
    """
    arguments = parser().parse_args(words)
    stop = Stop()
    stop.on_signals()
    command = {**_COMMANDS, **(more or {})}[arguments.command]
    return ended(
        arguments.command, lambda: stop.supervised(lambda: _run(command, arguments, stop)), as_json=arguments.json
    )


def _run(command: Command, arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.filesystem import failure_of

    try:
        return command(arguments, stop)
    except OSError as error:
        raise failure_of(error, arguments.command) from error


# One command each; what only one of them needs is imported when it is asked for, since pods start often. --------------


def _manifest(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.describe import manifest_of

    manifest = manifest_of(arguments.directory, arguments.follow_links, stop)
    text = manifest.dump().decode()
    say(sys.stdout, f'{{"event": "manifest", "manifest": {text}}}\n' if arguments.json else f"{text}\n")
    return {"digest": str(manifest.digest), "files": len(manifest.files), "bytes": manifest.size}


def _upload(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.upload import Order, upload

    url, name = BucketUrl.parse(arguments.bucket), name_of_upload(arguments)
    text: str = arguments.source
    source = value(Digest.parse, text) if text.startswith("sha256:") else Path(text)
    links, streams, limit = arguments.follow_links, concurrency(arguments), bandwidth_limit(arguments)
    bundle, model = arguments.publisher_signature, _model(arguments)
    return upload(Order(source, url, model, name, links, streams, limit, bundle, _known(arguments, model)), stop)


def _known(arguments: argparse.Namespace, model: str) -> Revision | None:
    known = value(Revision.parse, arguments.known) if arguments.known else None
    if known and known.model != model:
        raise Failure(ExitCode.REFUSED, f"--known names {known}: expected a revision of model {model!r}.")
    return known


def _adopt(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.adopt import Order, adopt

    prefix, url = BucketUrl.parse(arguments.prefix), BucketUrl.parse(arguments.bucket)
    name, streams, limit = name_of_upload(arguments), concurrency(arguments), bandwidth_limit(arguments)
    return adopt(Order(prefix, url, _model(arguments), name, streams, limit), stop)


def _unfinished(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.unfinished import Order, unfinished

    model = _model(arguments) if arguments.model else None
    abort = upload_name(arguments.abort) if arguments.abort else None
    return unfinished(Order(BucketUrl.parse(arguments.bucket), model, abort), stop)


def _model(arguments: argparse.Namespace) -> str:
    name: str = arguments.model
    if not MODEL_NAME.fullmatch(name):
        raise Failure(ExitCode.REFUSED, f"Not a model name: {name!r}; expected a DNS label of a-z, 0-9 and '-'.")
    return name


def _sync(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.sync import Order, sync

    url, revision = BucketUrl.parse(arguments.bucket), value(Revision.parse, arguments.revision)
    damaged = frozenset(value(Snapshot.parse, text) for text in arguments.damaged)
    order = Order(
        *(url, arguments.root, revision, damaged),
        streams=concurrency(arguments),
        rate=bandwidth_limit(arguments),
        hard_links=arguments.hard_links,
        adopted=tuple(adopted_prefix(url, text) for text in arguments.adopted),
    )
    return sync(order, stop)


def _verify(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.verify import verify

    return verify(replace(_looked_at(arguments), content=tuple(arguments.content)), stop)


def _check(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine.verify import Order, check

    stats = value(Digest.parse, arguments.stats) if arguments.stats else None
    others = [value(Proven.parse, text) for text in arguments.also]
    first = _looked_at(arguments)
    result = check(first, stats, stop)
    also = [check(Order(first.root, one.revision, one.snapshot, first.reading), one.stats, stop) for one in others]
    return result | {"also": also} if also else result


def _looked_at(arguments: argparse.Namespace) -> LookedAt:
    from modelberth.engine.proof import Reading
    from modelberth.engine.verify import Order

    revision, reading = (
        value(Revision.parse, arguments.revision),
        Reading(concurrency(arguments), bandwidth_limit(arguments)),
    )
    return Order(arguments.root, revision, snapshot(arguments), reading)


def _list(arguments: argparse.Namespace, stop: Stop) -> Result:
    if bucket := _bucket(arguments.place):
        from modelberth.engine.bucketprune import list_bucket

        return list_bucket(bucket, _model(arguments) if arguments.model else None, stop)
    from modelberth.engine.listing import list_claim

    return list_claim(Path(arguments.place))


def _bucket(place: str) -> BucketUrl | None:
    return BucketUrl.parse(place) if "://" in place else None


def _prune(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.engine import bucketprune, prune

    asked = {step: getattr(arguments, step) for step in ("condemn", "lift", "trash", "delete", "staging")}
    if bucket := _bucket(arguments.place):
        if asked.pop("trash") + asked.pop("staging"):
            raise Failure(ExitCode.REFUSED, "A bucket has neither --trash nor --staging: they are for claims.")
        revisions = {step: tuple(value(bucketprune.Named.parse, text) for text in asked[step]) for step in asked}
        return bucketprune.prune_bucket(bucketprune.Order(bucket, **revisions), stop)
    staging = tuple(value(Revision.parse, text) for text in asked.pop("staging"))
    snapshots = {step: tuple(value(prune.Named.parse, text) for text in asked[step]) for step in asked}
    return prune.prune(prune.Order(Path(arguments.place), **snapshots, staging=staging), stop)


def _probe(arguments: argparse.Namespace, _stop: Stop) -> Result:
    from modelberth.engine.probe import probe

    return probe(arguments.order, arguments.secret)


def _sign(_arguments: argparse.Namespace, _stop: Stop) -> Result:
    raise Failure(
        ExitCode.UNSUPPORTED,
        "Nothing can be signed with the pod program alone: run 'modelberth sign' where the whole project is installed, "
        "with model-signing and pyOpenSSL.",
    )


_COMMANDS: dict[str, Command] = {
    "manifest": _manifest,
    "upload": _upload,
    "adopt": _adopt,
    "unfinished": _unfinished,
    "sync": _sync,
    "verify": _verify,
    "check": _check,
    "list": _list,
    "prune": _prune,
    "probe": _probe,
    "sign": _sign,
}


if __name__ == "__main__":
    main()
