"""Media of answers, in the store of a front end with a page: pictures, sounds and what only looks like them."""

import hashlib
import io
import struct
import wave
import zlib
from typing import Any

from journal_segments import build_header, name_segment, pack_segment
from stored_media import build_media_line

from lmms_eval_core import layout
from lmms_eval_core.journal import JournalKind
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore


def make_picture(width: int, height: int, seed: int = 0) -> bytes:
    """Make a PNG with a gradient, which differs by seed."""
    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, seed * 40 % 256)) for x in range(width))
        for y in range(height)
    )
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_sound(seconds: float = 1.0) -> bytes:
    """Make a WAV of silence."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * int(8000 * seconds))
    return content.getvalue()


async def store_media(store: ObjectStore, namespace: str, content: bytes) -> str:
    """Put a file into the pool; return its digest."""
    digest = hashlib.sha256(content).hexdigest()
    await store.put(layout.media_object(namespace, digest), content)
    return digest


async def write_media(client: Transport, store: ObjectStore, name: str, documents: dict[int, list[Any]]) -> None:
    """Store a segment of the journal of media of a job that runs, as the reporter does."""
    document = await client.get(EVALUATIONS, name)
    prefix = ArtifactPrefix(client.namespace, name, document["metadata"]["uid"], 1)
    lines = [build_media_line(number, *items) for number, items in documents.items()]
    await store.put(name_segment(prefix, kind=JournalKind.MEDIA), pack_segment([build_header(1), *lines]))
