"""Images for the local cluster: what buildah has unpacked already is given to the container runtime by hard links.

Nothing is packed, sent or written twice: seven gigabytes are there after seconds and take no room. Where the two stores
cannot share files, an archive carries the image over.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import archive, buildah
from .api import wait_for
from .buildah import Layer
from .configuration import PAUSE_IMAGE
from .console import ClusterError, duration, say
from .settings import Cluster
from .shell import call, succeeds

SEEN_BY_THE_KUBELET = "io.cri-containerd.image=managed"
KEEP = "containerd.io/gc.root"
# In a mount namespace of its own, as buildah mounts its store over itself while it works: a link may not cross mounts.
LINK = 'mount --bind "$1" "$2" && cp --archive --link "$2/$3/." "$2/$4/"'


@dataclass(frozen=True)
class Reference:
    """An image's full name, in parts."""

    host: str
    path: str
    tag: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}:{self.tag}"


def parse(text: str) -> Reference:
    """Read an image's full name.

    Raises ClusterError for a short one: pods and builders do not agree on what it would stand for.
    """
    match = re.fullmatch(r"(localhost|[^/]*[.:][^/]*)/([a-z0-9][a-z0-9._/-]*):([\w.-]+)", text)
    if not match:
        raise ClusterError(
            f"{text!r} is no full image name: write host, path and tag, as in localhost/lmms-eval/operator:dev."
        )
    return Reference(*match.groups())


class Images:
    """The images on the node of one running cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ctr = ["ctr", "--address", str(cluster.containerd_socket), "--namespace", "k8s.io"]

    def load(self, name: str) -> None:
        """Make a locally built image runnable by pods under its own name; quick if it is there already."""
        image, started = buildah.find(str(parse(name))), time.monotonic()
        if self._identity(name) == image.identity:
            say(f"{name} is on the node already")
            return
        layers = buildah.layers(image)
        if layers is None or not self._link(name, image.config, layers):
            self.copy(name)
        wait_for(f"the kubelet to see {name}", lambda: SEEN_BY_THE_KUBELET in self._listing(name), seconds=20)
        say(f"{name} is on the node after {duration(time.monotonic() - started)}")

    def add_pause(self, program: Path) -> None:
        """Give the runtime the image of the process that holds a pod's namespaces open."""
        self._import(archive.single_program(PAUSE_IMAGE, program.read_bytes()))

    def _listing(self, name: str) -> str:
        """Give the runtime's line on an image: name, type, digest of the manifest, size, platforms, labels."""
        return "".join(call(*self._ctr, "images", "list", f"name=={name}").splitlines()[1:])

    def _identity(self, name: str) -> str:
        listing = self._listing(name)
        if not listing:
            return ""
        manifest = call(*self._ctr, "content", "get", listing.split()[2])
        return str(json.loads(manifest)["config"]["digest"])

    def _link(self, name: str, config: bytes, layers: Sequence[Layer]) -> bool:
        """Make a snapshot of each layer, then an image of them; say whether the two stores could share files."""
        added: list[str] = []
        try:
            for layer, chain in zip(layers, chains([layer.digest for layer in layers]), strict=True):
                if not succeeds(*self._ctr, "snapshots", "info", chain.name):
                    self._add_snapshot(layer, chain)
                    added.append(chain.name)
            self._import(archive.pack(name, config, [archive.layer(layer.digest, layer.size) for layer in layers]))
        except ClusterError as error:
            say(f"{name} cannot be shared with the node ({error}), it will be copied")
            return False
        finally:
            for snapshot in added:
                call(*self._ctr, "snapshots", "label", snapshot, f"{KEEP}=")
        return True

    def _add_snapshot(self, layer: Layer, chain: "Chain") -> None:
        """Commit a snapshot whose files are links to a layer's; until the image is there, a label keeps it."""
        key = f"loading {chain.name}"
        succeeds(*self._ctr, "snapshots", "remove", key)
        mounts = json.loads(call(*self._ctr, "snapshots", "prepare", "--mounts", key, *chain.parent))
        try:
            self._link_files(layer.folder, writable_folder(mounts[0]))
            call(*self._ctr, "snapshots", "commit", chain.name, key)
        except ClusterError:
            succeeds(*self._ctr, "snapshots", "remove", key)
            raise

    def _link_files(self, source: Path, target: Path) -> None:
        both = os.path.commonpath([source, target])
        view = self._cluster.state / "one-mount"
        view.mkdir(exist_ok=True)
        inside = [os.path.relpath(source, both), os.path.relpath(target, both)]
        call("unshare", "--mount", "sh", "-c", LINK, "sh", both, view, *inside)

    def copy(self, name: str) -> None:
        """Carry an image over as an archive, where the stores cannot share files."""
        say(f"Copying {name} to the node (usually 1 min for each 4 GB) ...")
        path = self._cluster.state / "image.tar"
        try:
            call("buildah", "push", "--quiet", "--disable-compression", name, f"oci-archive:{path}:{name}")
            call(*self._ctr, "images", "import", path)
        finally:
            with suppress(FileNotFoundError):
                path.unlink()

    def _import(self, content: bytes) -> None:
        call(*self._ctr, "images", "import", "-", stdin=content)


@dataclass(frozen=True)
class Chain:
    """The name of a layer's snapshot, which tells all layers up to it, and of the snapshot below, if there is one."""

    name: str
    parent: tuple[str, ...]


def chains(digests: Sequence[str]) -> list[Chain]:
    """Name the snapshots of layers, the lowest first, as the image specification chains their digests."""
    found: list[Chain] = []
    for digest in digests:
        below = found[-1].name if found else ""
        name = "sha256:" + hashlib.sha256(f"{below} {digest}".encode()).hexdigest() if below else digest
        found.append(Chain(name, (below,) if below else ()))
    return found


def writable_folder(mount: dict[str, object]) -> Path:
    """Find where the files of a snapshot that is being made belong, from the mount that would show it."""
    options = mount["Options"] if isinstance(mount["Options"], list) else []
    upper = [option.removeprefix("upperdir=") for option in options if option.startswith("upperdir=")]
    return Path(upper[0] if upper else str(mount["Source"]))
