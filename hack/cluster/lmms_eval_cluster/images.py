"""Images for the local cluster: from buildah's store through the cluster's registry into the container runtime.

Only layers that the registry does not have move, packed with zstd at its quickest; the runtime then pulls the image under
its very own name, because its registry settings say that the image's host is served here.
"""

import hashlib
import io
import json
import platform
import re
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .configuration import PAUSE_IMAGE
from .console import ClusterError, duration, say
from .settings import REGISTRY_PORT, Cluster
from .shell import call, succeeds

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
MANIFESTS = f"{OCI}.manifest.v1+json, {DOCKER}.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Reference:
    """An image's full name, in parts."""

    host: str
    path: str
    tag: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}:{self.tag}"

    @property
    def folder(self) -> str:
        """Give the name of the host as the first part of a path in another registry."""
        return self.host.replace(":", "-")


def parse(text: str) -> Reference:
    """Read an image's full name.

    Raises ClusterError for a short one: pods and builders do not agree on what it would stand for.
    """
    match = re.fullmatch(r"(localhost|[^/]*[.:][^/]*)/([a-z0-9][a-z0-9._/-]*):([\w.-]+)", text)
    if not match:
        raise ClusterError(f"{text!r} is no full image name: write host, path and tag, as in localhost/lmms-eval/operator:dev.")
    return Reference(*match.groups())


class Images:
    """The images of one running cluster."""

    def __init__(self, cluster: Cluster, address: str, crictl: Path) -> None:
        self._cluster = cluster
        self._registry = f"{address}:{REGISTRY_PORT}"
        endpoint = f"unix://{cluster.containerd_socket}"
        self._crictl = [crictl, "--runtime-endpoint", endpoint, "--image-endpoint", endpoint, "--timeout", "30m"]

    def load(self, name: str) -> None:
        """Make a locally built image runnable by pods under its own name; quick if it is there already."""
        reference, started = parse(name), time.monotonic()
        wanted = self._built(reference)
        if self._on_node(reference) == wanted:
            say(f"{name} is on the node already")
            return
        self._serve(reference.host)
        if self._in_registry(reference) != wanted:
            say(f"Pushing {name} to the cluster's registry (changed layers only; about 1 min for 7 GB) ...")
            self._push(reference)
        say(f"Unpacking {name} on the node (changed layers only; about 1 min for 7 GB) ...")
        call(*self._crictl, "pull", name)
        say(f"{name} is on the node after {duration(time.monotonic() - started)}")

    def remove_containers(self) -> None:
        """Forget the pods that an earlier life of the cluster left in the runtime's records."""
        call(*self._crictl, "rmp", "--all", "--force")

    def add_pause(self, program: Path) -> None:
        """Give the runtime the image of the process that holds a pod's namespaces open."""
        address = ["ctr", "--address", self._cluster.containerd_socket, "--namespace", "k8s.io"]
        call(*address, "images", "import", "-", stdin=single_file_image(PAUSE_IMAGE, program.read_bytes()))

    def _built(self, reference: Reference) -> str:
        if not succeeds("buildah", "inspect", "--type", "image", reference):
            raise ClusterError(f"There is no image {reference} in buildah's store: build it first, under that very name.")
        return "sha256:" + call("buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", reference).strip()

    def _on_node(self, reference: Reference) -> str:
        listed = json.loads(call(*self._crictl, "images", "--output", "json"))["images"]
        return next((image["id"] for image in listed if str(reference) in image["repoTags"]), "")

    def _in_registry(self, reference: Reference) -> str:
        url = f"http://{self._registry}/v2/{reference.folder}/{reference.path}/manifests/{reference.tag}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, headers={"Accept": MANIFESTS}), timeout=10) as answer:
                return str(json.load(answer)["config"]["digest"])
        except urllib.error.HTTPError:
            return ""

    def _push(self, reference: Reference) -> None:
        """Push with the image's own kind of manifest, so that its identity stays: Docker's kind knows no zstd."""
        manifest = call("buildah", "inspect", "--type", "image", "--format", "{{.Manifest}}", reference)
        packing = ["gzip", "--compression-level", "1"] if DOCKER in manifest else ["zstd", "--compression-level", "1"]
        target = f"docker://{self._registry}/{reference.folder}/{reference.path}:{reference.tag}"
        call("buildah", "push", "--quiet", "--tls-verify=false", "--compression-format", *packing, reference, target)

    def _serve(self, host: str) -> None:
        """Tell the runtime that the images of a host are in the cluster's registry."""
        folder = self._cluster.state / "registries" / host
        folder.mkdir(exist_ok=True)
        here = f"http://{self._registry}/v2/{host.replace(':', '-')}"
        (folder / "hosts.toml").write_text(
            f'server = "{here}"\n[host."{here}"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n'
        )


def single_file_image(name: str, program: bytes) -> bytes:
    """Make an OCI image archive with one program as all its content, started as root of an empty file system."""
    layer = _archive({"pause": program}, mode=0o755)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    config_text = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": _descriptor(f"{OCI}.config.v1+json", config_text),
        "layers": [_descriptor(f"{OCI}.layer.v1.tar", layer)],
    }
    manifest_text = json.dumps(manifest).encode()
    entry = _descriptor(f"{OCI}.manifest.v1+json", manifest_text) | {"annotations": {"io.containerd.image.name": name}}
    blobs = {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (layer, config_text, manifest_text)}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return _archive({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs}, mode=0o644)


def _archive(files: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
