"""Image archives in the layout of the Open Container Initiative, made here without a builder."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence

MEDIA = "application/vnd.oci.image"
Descriptor = dict[str, object]


def pack(name: str, config: bytes, layers: Sequence[Descriptor], contents: Sequence[bytes] = ()) -> bytes:
    """Make the archive of an image; layers whose bytes are not among `contents` are named and not brought along."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _describe(f"{MEDIA}.config.v1+json", config),
        "layers": list(layers),
    }
    text = json.dumps(manifest).encode()
    entry = _describe(f"{MEDIA}.manifest.v1+json", text) | {"annotations": {"io.containerd.image.name": name}}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    blobs = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in (config, text, *contents)}
    return _tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs}, mode=0o644)


def layer(digest: str, size: int) -> Descriptor:
    """Describe a layer that is not packed."""
    return {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": digest, "size": size}


def single_program(name: str, program: bytes) -> bytes:
    """Make the archive of an image with one program as all its content, run by a user without rights."""
    content = _tar({"program": program}, mode=0o755)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/program"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    return pack(name, json.dumps(config).encode(), [layer(digest, len(content))], [content])


def _describe(media_type: str, blob: bytes) -> Descriptor:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
