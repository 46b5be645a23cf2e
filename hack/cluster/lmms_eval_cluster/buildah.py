"""What buildah has built: an image's configuration, and the folders in which its layers lie unpacked."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .console import ClusterError
from .shell import call

Json = Any  # whatever a JSON text holds


@dataclass(frozen=True)
class Layer:
    """One layer: the digest and the size of its archive, and the folder of its files."""

    digest: str
    size: int
    folder: Path


@dataclass(frozen=True)
class Image:
    """One image: the name of its record in the store, and its configuration, whose digest is its identity elsewhere."""

    record: str
    config: bytes

    @property
    def identity(self) -> str:
        """Give the digest of the configuration."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"


def find(name: str) -> Image:
    """Find an image by its full name.

    Raises ClusterError if there is none.
    """
    try:
        image = json.loads(call("buildah", "inspect", "--type", "image", name))
    except ClusterError as error:
        raise ClusterError(
            f"There is no image {name} in buildah's store: build it first, under that very name."
        ) from error
    return Image(image["FromImageID"], image["Config"].encode())


def layers(image: Image) -> list[Layer] | None:
    """Find the layers of an image, the lowest first; None if they do not lie in folders as its configuration says."""
    store = json.loads(call("buildah", "info"))["store"]
    status = store.get("GraphStatus") or {}
    if store["GraphDriverName"] != "overlay" or status.get("Native Overlay Diff") != "true":
        return None
    root = Path(store["GraphRoot"])
    top = _records(root / "overlay-images" / "images.json").get(image.record, {}).get("layer")
    found = [
        Layer(record["diff-digest"], record["diff-size"], root / "overlay" / record["id"] / "diff")
        for record in lineage(_records(root / "overlay-layers" / "layers.json"), top)
    ]
    wanted = json.loads(image.config)["rootfs"]["diff_ids"]
    return found if [layer.digest for layer in found] == wanted else None


def lineage(records: dict[str, Json], top: str | None) -> list[Json]:
    """List the records of a layer and those below it, the lowest first."""
    found: list[Json] = []
    while top in records:
        found.insert(0, records[top])
        top = records[top].get("parent")
    return found


def _records(path: Path) -> dict[str, Json]:
    return {record["id"]: record for record in json.loads(path.read_text())}
