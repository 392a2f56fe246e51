"""A pass over all files with all cores, as who copied without verifying does it: ``digest_pass.py blake3|sha256 DIR``.

Prints the seconds without the interpreter's own start, which `b3sum` or `sha256sum` would not have.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3


def main() -> None:
    """Digest every file."""
    algorithm, directory = sys.argv[1:]
    began = time.monotonic()
    files = sorted(path for path in Path(directory).rglob("*") if path.is_file())
    if algorithm == "blake3":
        found = [_blake3(file) for file in files]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(_sha256, files))
    print(json.dumps({"files": len(found), "seconds": time.monotonic() - began}))


def _blake3(file: Path) -> bytes:
    return blake3(max_threads=blake3.AUTO).update_mmap(file).digest()


def _sha256(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


main()
