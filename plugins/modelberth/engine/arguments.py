"""The words of the command line: one function for each command's arguments, and those that several have."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelberth.core.content import CHECKS
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import upload_name
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine.pace import rate

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_AT_ONCE = 64
_DESCRIPTION = "Move models between buckets and claims, and prove that they are what they were."

Parsed = TypeVar("Parsed")


def parser() -> argparse.ArgumentParser:
    """Return what reads a command line; it leaves the command's name in ``command``."""
    program = argparse.ArgumentParser(prog="modelberth", description=_DESCRIPTION)
    commands = program.add_subparsers(dest="command", required=True)
    _manifest(commands.add_parser("manifest", help="print a directory's manifest"))
    _upload(commands.add_parser("upload", help="bring a directory, or what a fetch list names, into a bucket"))
    _adopt(commands.add_parser("adopt", help="make a revision of objects that are in a bucket already"))
    _unfinished(commands.add_parser("unfinished", help="list or abort what interrupted uploads left in a bucket"))
    _sync(commands.add_parser("sync", help="bring a revision onto a claim"))
    _verify(commands.add_parser("verify", help="read every byte of a snapshot again"))
    _check(commands.add_parser("check", help="look whether a snapshot is as the last verify left it"))
    _list(commands.add_parser("list", help="say what is on a claim, or which revisions a bucket has"))
    _prune(
        commands.add_parser(
            "prune", help="take away, step by step, snapshots of a claim or revisions of a bucket; only what is named"
        )
    )
    _probe(commands.add_parser("probe", help="ask serving pods whether they serve what was approved"))
    _sign(commands.add_parser("sign", help="sign a revision that is in a bucket"))
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="say all there is to say as lines of JSON on stdout")
    return program


# One command each. ----------------------------------------------------------------------------------------------------


def _manifest(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", metavar="DIR", type=Path)
    _add_links(command)


def _upload(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="DIR|FETCH_LIST|DIGEST", help="sha256:...: the fetch list in the bucket")
    _add_bucket(command)
    command.add_argument("--model", metavar="NAME", required=True)
    command.add_argument("--upload", metavar="ID", help="the upload's name; the same again goes on with it")
    published = "a model-signing bundle that may be among the files: where it is, leave every file's SHA-256 beside it"
    command.add_argument("--publisher-signature", metavar="PATH", help=published)
    known = "what this source was found to be before: if the bucket has it whole, nothing is read"
    command.add_argument("--known", metavar="NAME@sha256:...", help=known)
    _add_links(command)
    _add_concurrency(command, "parts at once, each takes 8 MiB, or more from 75 GB a file on")
    _add_bandwidth_limit(command)


def _adopt(command: argparse.ArgumentParser) -> None:
    command.add_argument("prefix", metavar="PREFIX_URL", help="where the objects are, in the bucket of BUCKET_URL")
    _add_bucket(command)
    command.add_argument("--model", metavar="NAME", required=True)
    command.add_argument("--upload", metavar="ID", help="the adoption's name")
    _add_concurrency(command, "requests at once, each takes 8 MiB")
    _add_bandwidth_limit(command)


def _unfinished(command: argparse.ArgumentParser) -> None:
    _add_bucket(command)
    command.add_argument("--model", metavar="NAME", help="only of this model")
    command.add_argument("--abort", metavar="UPLOAD", help="abort what this upload left; end the upload first")


def _sync(command: argparse.ArgumentParser) -> None:
    _add_bucket(command)
    _add_claim(command)
    command.add_argument(
        "--damaged", metavar="SNAPSHOT", action="append", default=[], help="a snapshot that a verify found damaged"
    )
    command.add_argument(
        "--hard-links", action="store_true", help="let files be hard links to equal ones of undamaged snapshots"
    )
    command.add_argument(
        "--adopted", metavar="PREFIX", action="append", default=[], help="where adopted objects may be in the bucket"
    )
    _add_concurrency(command, "requests at once, each takes 8 MiB")
    _add_bandwidth_limit(command)


def _verify(command: argparse.ArgumentParser) -> None:
    _add_claim(command)
    _add_snapshot(command)
    what = "what is looked at beside the bytes; may be repeated"
    command.add_argument("--content", choices=CHECKS, action="append", default=[], help=what)
    _add_reading(command)


def _check(command: argparse.ArgumentParser) -> None:
    _add_claim(command)
    _add_snapshot(command)
    command.add_argument("--stats", metavar="DIGEST", help="what that verify reported as 'stats'")
    also = "another snapshot, of another model, and its verify's 'stats'"
    command.add_argument("--also", metavar="NAME@DIGEST.N=STATS", action="append", default=[], help=also)
    _add_reading(command)


def _list(command: argparse.ArgumentParser) -> None:
    _add_place(command)
    command.add_argument("--model", metavar="NAME", help="of a bucket, only this model")


def _prune(command: argparse.ArgumentParser) -> None:
    _add_place(command)
    for step, what in _PRUNE_STEPS.items():
        named = {"staging": "NAME@DIGEST", "trash": _SINCE, "delete": _SINCE}.get(step, "NAME@DIGEST.N")
        command.add_argument(f"--{step}", metavar=named, nargs="+", action="extend", default=[], help=what)


_SINCE = "NAME@DIGEST.N[=TIME]"
_PRUNE_STEPS = {
    "condemn": "mark snapshots as on their way out; they serve on",
    "lift": "take the mark off, and bring back what is in the trash",
    "trash": "rename snapshots out of sight that are condemned (since TIME)",
    "delete": "delete snapshots that are condemned (since TIME) or in the trash",
    "staging": "delete what was staged of revisions, if nobody has written there for a day",
}


def _probe(command: argparse.ArgumentParser) -> None:
    command.add_argument("order", metavar="ORDER", help="whom to ask what, as JSON")
    command.add_argument("--secret", metavar="DIR", type=Path, required=True, help="where the Secret is mounted")


def _sign(command: argparse.ArgumentParser) -> None:
    _add_bucket(command)
    command.add_argument("--revision", metavar="NAME@DIGEST", required=True)
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", metavar="FILE", type=Path, help="the PEM of a private EC key")
    how.add_argument("--sigstore", action="store_true", help="as who you are, by Sigstore")
    command.add_argument("--certificate", metavar="FILE", type=Path, help="the certificate of --key")
    between = "a certificate between that and the authority's; may be repeated"
    command.add_argument("--chain", metavar="FILE", type=Path, action="append", default=[], help=between)
    command.add_argument("--trust-config", metavar="FILE", type=Path, help="of a Sigstore that is not the public one")
    command.add_argument("--replace", action="store_true", help="take the place of a signature that is there")


# What several commands have. ------------------------------------------------------------------------------------------


def _add_links(command: argparse.ArgumentParser) -> None:
    command.add_argument("--follow-links", metavar="ROOT", type=Path, help="where links out of DIR may lead")


def _add_bucket(command: argparse.ArgumentParser) -> None:
    command.add_argument("bucket", metavar="BUCKET_URL", help="s3://bucket/prefix, gs://bucket/prefix or file:///dir")


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("place", metavar="ROOT|BUCKET_URL", help="where the claim is mounted, or a bucket")


def _add_claim(command: argparse.ArgumentParser) -> None:
    command.add_argument("root", metavar="ROOT", type=Path, help="where the claim is mounted")
    command.add_argument("--revision", metavar="NAME@DIGEST", required=True)


def _add_snapshot(command: argparse.ArgumentParser) -> None:
    command.add_argument("--snapshot", metavar="SNAPSHOT", help="which copy, '<64 hex>.<n>'; default the newest")


def _add_concurrency(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--concurrency", metavar="N", type=int, help=f"{what}; 1 to {MOST_AT_ONCE}")


def _add_bandwidth_limit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--bandwidth-limit", metavar="RATE", help="bytes a second at most: 100MiB")


def _add_reading(command: argparse.ArgumentParser) -> None:
    _add_concurrency(command, "files or parts of one that are read at once, by default as many as there are cores")
    _add_bandwidth_limit(command)


# What was given, as the engine wants it. ------------------------------------------------------------------------------


def value(parse: Callable[[str], Parsed], text: str) -> Parsed:
    """Return what *parse* makes of an argument.

    :raises Failure: It is not accepted.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(ExitCode.REFUSED, str(error)) from error


def snapshot(arguments: argparse.Namespace) -> Snapshot | None:
    """Return which copy was asked for, None for the newest."""
    return value(Snapshot.parse, arguments.snapshot) if arguments.snapshot else None


@dataclass(frozen=True)
class Proven:
    """A snapshot of a model, and the ``stats`` that its verify reported."""

    revision: Revision
    snapshot: Snapshot
    stats: Digest

    @classmethod
    def parse(cls, text: str) -> Proven:
        """Return what *text* names.

        :raises ValueError: It is not ``<model>@sha256:<64 hex>.<n>=sha256:<64 hex>``.
        """
        place, _, stats = text.partition("=")
        name, _, copy = place.rpartition(".")
        revision = Revision.parse(name)
        return cls(revision, Snapshot.parse(f"{revision.digest.hex}.{copy}"), Digest.parse(stats))


def name_of_upload(arguments: argparse.Namespace) -> str:
    """Return the upload's name, a new one if none was given.

    :raises Failure: It cannot be one.
    """
    new = f"{datetime.now(UTC).strftime('%Y%m%dt%H%M%Sz')}-{secrets.token_hex(5)}"
    return upload_name(arguments.upload or new)


def concurrency(arguments: argparse.Namespace) -> int:
    """Return how many at once were asked for, 0 for as many as suit this machine.

    :raises Failure: Too few or too many.
    """
    asked: int | None = arguments.concurrency
    if asked is None:
        return 0
    if not 1 <= asked <= MOST_AT_ONCE:
        raise Failure(ExitCode.REFUSED, f"Not a number of things to do at once: {asked}; expected 1 to {MOST_AT_ONCE}.")
    return asked


def bandwidth_limit(arguments: argparse.Namespace) -> int | None:
    """Return the most bytes a second, None for no limit.

    :raises Failure: What was given is no rate.
    """
    return rate(arguments.bandwidth_limit) if arguments.bandwidth_limit else None
