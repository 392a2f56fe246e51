"""The image that the project's own start from: a debootstrapped Debian with Python, instead of the official one.

::

    <cache>/base-<digest>/base.tar
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildah import ALONE, buildah, built, run
from settings import cache, one_builder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")

BASE_DOCKERFILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""


def ensure_base(log: Path) -> str:
    """Return the image that the others start from: BASE_IMAGE when given, else a Debian bootstrapped here."""
    if given := os.environ.get("BASE_IMAGE"):
        return given
    key = hashlib.sha256(json.dumps([SUITE, BASE_PACKAGES, BASE_DOCKERFILE]).encode()).hexdigest()[:12]
    reference = f"localhost/modelberth/base:{key}"
    if not built(reference):
        folder = cache() / f"base-{key}"
        with one_builder("base"):
            if not folder.exists():
                bootstrap(folder, log)
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as dockerfile:
            dockerfile.write(BASE_DOCKERFILE)
            dockerfile.flush()
            buildah("bud", "--isolation", "chroot", "--tag", reference, "--file", dockerfile.name, str(folder), log=log)
    return reference


def bootstrap(folder: Path, log: Path) -> None:
    """Make a small Debian as a tar file in ``folder``; the folder appears only when it is complete."""
    with fresh(folder.with_suffix(".building")) as building:
        system, result = building / "system", building / "result"
        result.mkdir()
        packages = f"--include={','.join(BASE_PACKAGES)}"
        run([*ALONE, "debootstrap", "--variant=minbase", packages, SUITE, str(system), mirror()], log)
        for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(system / name)
            (system / name).mkdir()
        run(
            [
                "tar",
                "--create",
                f"--file={result}/base.tar",
                "--sort=name",
                "--numeric-owner",
                f"--directory={system}",
                ".",
            ],
            log,
        )
        result.rename(folder)


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """Yield an empty folder and remove it afterwards; first, what a killed run left of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def mirror() -> str:
    """Return the Debian mirror that this machine uses itself."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {SUITE}"]
    uris = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return uris[0] if uris else "http://deb.debian.org/debian"
