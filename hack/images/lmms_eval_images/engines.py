"""The programs that build images: docker where an engine answers, else buildah. Both give the same images."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from . import apt, base, steps
from .console import ImageError
from .image_definitions import ROOT, ImageDefinition

# On machines behind a proxy of their own, downloads need their certificates: builds get them as a secret.
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class Engine(Protocol):
    """A store of images and the program that builds into it; `base` is the image that most stand on."""

    base: str

    def list_references(self) -> list[str]:
        """List the names of all images in the store, the newest first."""

    def build(self, image: ImageDefinition, reference: str, stands_on: str, log: Path) -> None:
        """Build an image under a name, on the image `stands_on` (empty: on what the Dockerfile says)."""

    def remove(self, reference: str) -> None:
        """Take a name away, and the layers that no other image has; an image in use stays."""

    def read_size(self, reference: str) -> str:
        """Say how big an image is, unpacked."""


def choose_engine(environ: Mapping[str, str], cache: Path) -> Engine:
    """Take docker if an engine answers, else buildah; the local cluster runs what buildah built, whoever answers."""
    wanted = environ.get("LMMS_EVAL_BASE_IMAGE", "")
    if environ.get("LMMS_EVAL_CLUSTER_PROVIDER") != "local" and _is_docker_running():
        return Docker(wanted)
    apt.ensure({"buildah": "buildah"})
    return Buildah(wanted, cache)


class Docker:
    """The engine of a developer's machine; it pulls the base image that the Dockerfiles name."""

    def __init__(self, base_image: str) -> None:
        self.base = base_image

    def list_references(self) -> list[str]:
        """List the names of all images, the newest first."""
        return _run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split()

    def build(self, image: ImageDefinition, reference: str, stands_on: str, log: Path) -> None:
        """Build with BuildKit."""
        proxies = [word for name in _PROXIES if name in os.environ for word in ("--build-arg", name)]
        steps.run_build(
            ["docker", "build", "--progress", "plain", *proxies, *_build_arguments(image, reference, stands_on)], log
        )

    def remove(self, reference: str) -> None:
        """Untag; BuildKit collects its own garbage."""
        subprocess.run(["docker", "rmi", reference], capture_output=True, check=False)

    def read_size(self, reference: str) -> str:
        """Ask the engine."""
        return _run("docker", "images", "--format", "{{.Size}}", reference).strip()


class Buildah:
    """Builds without an engine; the base image is one of our own making, unless another is named."""

    def __init__(self, base_image: str, cache: Path) -> None:
        self.base = base_image or base.name_image()
        self._made_here = not base_image
        self._cache = cache

    def list_references(self) -> list[str]:
        """List the names of all images, the newest first."""
        images = sorted(self._list_images(), key=lambda image: image["created"], reverse=True)
        return [name for image in images for name in image["names"] or ()]

    def build(self, image: ImageDefinition, reference: str, stands_on: str, log: Path) -> None:
        """Build in chroot isolation: buildah's own needs rights that a container may not have."""
        if stands_on == self.base and self._made_here and self.base not in self.list_references():
            self._import_base()
        options = ["--isolation", "chroot", "--network", "host", "--layers", "--force-rm"]
        steps.run_build(["buildah", "bud", *options, *_build_arguments(image, reference, stands_on)], log)

    def remove(self, reference: str) -> None:
        """Remove the name, and layers with it."""
        subprocess.run(["buildah", "rmi", reference], capture_output=True, check=False)

    def read_size(self, reference: str) -> str:
        """Ask the store."""
        return next(str(image["size"]) for image in self._list_images() if reference in (image["names"] or ()))

    def _list_images(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(_run("buildah", "images", "--json") or "null") or []
        return listed

    def _import_base(self) -> None:
        archive = base.make_archive(self._cache)
        container = _run("buildah", "from", "scratch").strip()
        try:
            _run("buildah", "add", "--quiet", container, str(archive), "/")
            _run("buildah", "commit", "--quiet", container, self.base)
        finally:
            _run("buildah", "rm", container)


def _build_arguments(image: ImageDefinition, reference: str, base_image: str) -> list[str]:
    base_words = ["--build-arg", f"BASE_IMAGE={base_image}"] if base_image else []
    target = ["--target", image.target] if image.target else []
    certificates = find_certificates(os.environ)
    secret = ["--secret", f"id=ca,src={certificates}"] if certificates else []
    place = ["--file", str(ROOT / image.dockerfile), "--tag", reference, str(image.context())]
    return [*base_words, *target, *secret, *place]


def find_certificates(environ: Mapping[str, str]) -> Path | None:
    """Return the first certificate bundle that the environment names, else the system's, else None."""
    named = [environ.get(variable, "") for variable in _CERTIFICATE_VARIABLES]
    return next((Path(name) for name in [*named, _SYSTEM_CERTIFICATES] if name and Path(name).is_file()), None)


def _is_docker_running() -> bool:
    return (
        bool(shutil.which("docker"))
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
