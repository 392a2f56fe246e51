"""The project's own images: built from the Dockerfiles under include/images, here without Docker or a registry.

An image's tag is the digest of all that goes into it, so what is unchanged is neither built nor imported again.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base_image import ensure_base
from buildah import buildah, built
from problems import LocalError
from settings import cache

from cluster import CONTAINERD_SOCKET, PAUSE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from capsule import Capsule
    from settings import Settings

FROM_ROOT = ("modelsync",)
"""Images whose Dockerfile copies from the whole project; the others' context is their own folder."""

PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "find-links", "proxy")
CERTIFICATES = Path("/etc/ssl/certs")


@dataclass(frozen=True)
class Image:
    """One of the project's images.

    :param name: Its folder under include/images, and the last part of its name.
    :param dockerfile: What it is built from.
    :param context: What the Dockerfile's COPY lines start from.
    :param base: The image it starts from.
    """

    name: str
    dockerfile: Path
    context: Path
    base: str

    @property
    def reference(self) -> str:
        """Name and tag; the tag is the digest of all that goes in."""
        parts = [self.base, self.dockerfile.read_text()]
        for path in sorted(files(self.context, copied(self.dockerfile.read_text()))):
            mode = "x" if os.access(path, os.X_OK) else "-"
            parts.append(f"{path.relative_to(self.context)} {mode} {hashlib.sha256(path.read_bytes()).hexdigest()}")
        return f"modelberth/{self.name}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"


def project_images(root: Path, base: str) -> list[Image]:
    """Return the images that the project has Dockerfiles for.

    :param base: What they start from.
    """
    found = sorted((root / "include" / "images").glob("*/Dockerfile"))
    return [
        Image(path.parent.name, path, root if path.parent.name in FROM_ROOT else path.parent, base) for path in found
    ]


def copied(dockerfile: str) -> list[str]:
    """Return what a Dockerfile's COPY lines take from the context."""
    sources: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        instruction, *words = shlex.split(line, comments=True) or [""]
        if instruction == "COPY" and not any(word.startswith("--from=") for word in words):
            sources += [word for word in words if not word.startswith("--")][:-1]
    return sources


def files(context: Path, sources: Sequence[str]) -> Iterator[Path]:
    """Yield every file that the sources name or contain, but for compiled Python.

    :raises LocalError: A source names nothing.
    """
    for source in sources:
        matches = sorted(context.glob(source)) if source != "." else [context]
        if not matches:
            raise LocalError(
                f"Cannot build an image from {context}: its Dockerfile copies {source!r}, which is not there."
            )
        for match in matches:
            below = match.rglob("*") if match.is_dir() else [match]
            yield from (path for path in below if path.is_file() and "__pycache__" not in path.parts)


def build(image: Image, log: Path) -> str:
    """Build an image unless it is built, and return its reference."""
    reference = image.reference
    if built(reference):
        return reference
    ignore = image.dockerfile.with_name("Dockerfile.dockerignore")
    with pip_configuration() as mounts:
        buildah(
            "bud",
            *("--isolation", "chroot", "--network", "host", "--layers"),
            *("--build-arg", f"BASE_IMAGE={image.base}", "--tag", reference, "--file", str(image.dockerfile)),
            *(("--ignorefile", str(ignore)) if ignore.exists() else ()),
            *mounts,
            str(image.context),
            log=log,
        )
    return reference


@contextmanager
def pip_configuration() -> Iterator[list[str]]:
    """Yield the options that let pip inside a build find what this machine's pip finds: certificates, index, proxy.

    They are mounted for the build and never part of an image or of a Dockerfile.
    """
    pip = configparser.RawConfigParser()
    pip.read(["/etc/pip.conf", Path.home() / ".config/pip/pip.conf"])
    values = dict(pip["global"]) if pip.has_section("global") else {}
    values |= {
        key: os.environ[name] for key in PIP_KEYS if (name := f"PIP_{key.replace('-', '_').upper()}") in os.environ
    }
    inside = configparser.RawConfigParser()
    inside["global"] = {key: value for key, value in values.items() if key in PIP_KEYS}
    wheels = [Path(path) for path in values.get("find-links", "").split() if path.startswith("/")]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        trusted = CERTIFICATES / "ca-certificates.crt"
        if trusted.exists():
            inside["global"]["cert"] = str(trusted)
            wheels.append(CERTIFICATES)
        inside.write(file)
        file.flush()
        mounts = [f"{path}:{path}:ro" for path in wheels if path.exists()]
        yield [word for mount in (*mounts, f"{file.name}:/etc/pip.conf:ro") for word in ("--volume", mount)]


def build_all(settings: Settings, say: Callable[[str], None] = print) -> dict[str, str]:
    """Build every image of the project and return their references by name."""
    log = settings.log / "images.log"
    base = ensure_base(log)
    references = {}
    for image in project_images(settings.root, base):
        if not built(image.reference):
            say(f"building image {image.reference}")
        references[image.name] = build(image, log)
    return references


def build_pause(programs: Path, log: Path) -> None:
    """Build the image that holds every pod's namespaces."""
    dockerfile = Path(__file__).parent / "kubernetes" / "pause" / "Dockerfile"
    buildah(
        "bud",
        "--isolation",
        "chroot",
        "--layers",
        "--tag",
        PAUSE_IMAGE,
        "--file",
        str(dockerfile),
        str(programs),
        log=log,
    )


def import_into(machine: Capsule, references: Sequence[str], log: Path) -> None:
    """Bring images into the cluster's container runtime, but for those it has; the newest is also tagged ``local``."""
    there = ctr(machine, "list", "--quiet").split()
    for reference in references:
        full = full_reference(reference)
        if full in there:
            continue
        with archive(reference, log) as file:
            ctr(machine, "import", str(file))
    for reference in references:
        local = f"{full_reference(reference).rpartition(':')[0]}:local"
        if local != full_reference(reference):
            ctr(machine, "tag", "--force", full_reference(reference), local)


def push(reference: str, registry: str, log: Path) -> str:
    """Push an image to a registry, with the credentials that docker or podman keep; return its reference there."""
    target = f"{registry.rstrip('/')}/{reference}"
    buildah("push", reference, f"docker://{target}", log=log)
    return target


@contextmanager
def archive(reference: str, log: Path) -> Iterator[Path]:
    """Yield an image as a file that containerd, docker and kind can load."""
    with tempfile.TemporaryDirectory(dir=cache(), prefix="archive-") as folder:
        file = Path(folder, "image.tar")
        buildah("push", reference, f"docker-archive:{file}:{full_reference(reference)}", log=log)
        yield file


def full_reference(reference: str) -> str:
    """Return a reference with its registry, as containerd stores it."""
    return reference if reference.partition("/")[0] in ("docker.io", "localhost") else f"docker.io/{reference}"


def ctr(machine: Capsule, *arguments: str) -> str:
    """Run containerd's own client on Kubernetes' images.

    :raises LocalError: It failed.
    """
    command = machine.enter(["ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", "images", *arguments])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"ctr images {arguments[0]} failed (exit {done.returncode}): {done.stderr.strip()}")
    return done.stdout
