"""Media as the reporter stores them: files of the pool, and the digests of an attempt."""

import hashlib
import json
from collections.abc import Iterable

from journal_segments import build_header, name_segment, pack_segment
from memory_store import MemoryStore

from lmms_eval_core import layout
from lmms_eval_core.journal import JournalKind
from lmms_eval_core.layout import ArtifactPrefix

PNG = b"\x89PNG\r\n\x1a\n"
WEBP = b"RIFF\n\0\0\0WEBPVP8 "
MP4 = b"\0\0\0\x20ftypisom\0\0\2\0"


def make_digest(content: bytes) -> str:
    """Return the name of a file."""
    return hashlib.sha256(content).hexdigest()


def put_media(store: MemoryStore, namespace: str, content: bytes) -> str:
    """Put a file into the pool; return its digest."""
    digest = make_digest(content)
    store.objects[layout.media_object(namespace, digest)] = content
    return digest


def put_digests(store: MemoryStore, prefix: ArtifactPrefix, digests: Iterable[str]) -> None:
    """Say which media the samples of an attempt show."""
    store.objects[prefix.file(layout.MEDIA_DIGESTS)] = b"".join(map(bytes.fromhex, sorted(set(digests))))


def build_media_line(document: int | str, *items: dict[str, object], task: str = "mme", more: int = 0) -> bytes:
    """Build the line of a journal that says what a document has."""
    content = {"t": task, "d": document, "i": list(items)} | ({"x": more} if more else {})
    return json.dumps({"m": content}, separators=(",", ":")).encode() + b"\n"


def put_media_lines(store: MemoryStore, prefix: ArtifactPrefix, *lines: bytes, number: int = 0, rank: int = 0) -> str:
    """Store a segment of a journal of media; return its key."""
    key = name_segment(prefix, number, rank=rank, kind=JournalKind.MEDIA)
    store.objects[key] = pack_segment([build_header(prefix.attempt, rank), *lines])
    return key
