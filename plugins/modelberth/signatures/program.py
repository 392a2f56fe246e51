"""The program ``modelberth`` of whoever has more of the project than a pod: the engine's commands, and ``sign``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.revision import Revision
from modelberth.engine import cli
from modelberth.engine.arguments import value
from modelberth.engine.telling import utf8

if TYPE_CHECKING:
    import argparse

    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop


def main() -> None:
    """Run what the command line asks for, and exit with its code."""
    utf8()
    sys.exit(cli.run(sys.argv[1:], {"sign": _sign}))


def _sign(arguments: argparse.Namespace, stop: Stop) -> Result:
    from modelberth.signatures.signer import Order, sign

    if arguments.sigstore and (arguments.certificate or arguments.chain):
        raise Failure(ExitCode.REFUSED, "--certificate and --chain belong to --key: Sigstore makes its own.")
    if arguments.key and arguments.trust_config:
        raise Failure(ExitCode.REFUSED, "--trust-config belongs to --sigstore: a key needs none.")
    order = Order(
        BucketUrl.parse(arguments.bucket),
        value(Revision.parse, arguments.revision),
        arguments.key,
        arguments.certificate,
        arguments.chain,
        arguments.trust_config,
        arguments.replace,
    )
    return sign(order, stop)


if __name__ == "__main__":
    main()
