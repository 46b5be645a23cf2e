"""From the text of a journal of media to an index of it, and to the media of documents. Pure; runs in the worker.

The index of a segment has a record for each document (what `make_media_key` returns, and the byte at which its line
begins) and one for each file that is shown (the first bytes of its digest). Both are in order, for `find_record`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from lmms_eval_core.journal import MediaLine, parse_journal_line
from lmms_eval_core.media import DocumentMedia

KEY_BYTES: Final = 8
PLACE_BYTES: Final = 4
DOCUMENT_BYTES: Final = KEY_BYTES + PLACE_BYTES
# As many as nobody finds another file for.
SHOWN_BYTES: Final = 16


class MediaIndex(NamedTuple):
    """Records of documents and of files, one behind the other; `is_over` if what follows is not to be read."""

    documents: bytes = b""
    shown: bytes = b""
    is_over: bool = False


def make_media_key(task: str, document: Any) -> bytes:
    """Return what stands for a document of a task; for each answer, so that it has to be cheap."""
    text = f"{len(task)} {task}{document!r}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


def index_media(block: bytes, at: int) -> MediaIndex:
    """Return the index of whole lines, which begin at byte `at` of their segment."""
    documents: set[bytes] = set()
    shown: set[bytes] = set()
    is_over = False
    for start, line in _split_lines(block):
        parsed = parse_journal_line(line)
        if parsed is None:
            is_over = True
            break
        if isinstance(parsed, MediaLine):
            media = parsed.media
            documents.add(make_media_key(media.task, media.document) + (at + start).to_bytes(PLACE_BYTES, "big"))
            shown |= {bytes.fromhex(digest)[:SHOWN_BYTES] for item in media.items for digest in item.digests}
    return MediaIndex(b"".join(sorted(documents)), b"".join(sorted(shown)), is_over)


def merge_media(indexes: Sequence[MediaIndex]) -> MediaIndex:
    """Return the index of a segment, of those of its parts; of a document that is there twice, the last line counts."""
    records = sorted(record for index in indexes for record in _split(index.documents, DOCUMENT_BYTES))
    documents = {record[:KEY_BYTES]: record for record in records}
    shown = {record for index in indexes for record in _split(index.shown, SHOWN_BYTES)}
    return MediaIndex(b"".join(documents.values()), b"".join(sorted(shown)))


def read_media(block: bytes, places: Mapping[int, bytes]) -> dict[bytes, bytes]:
    """Return the media of documents, as the end of a JSON object, by the key whose line begins at each place."""
    found = {}
    for place, key in places.items():
        line = block[place : block.index(b"\n", place) + 1]
        parsed = parse_journal_line(line)
        if isinstance(parsed, MediaLine) and make_media_key(parsed.media.task, parsed.media.document) == key:
            found[key] = render_media(parsed.media)
    return found


def render_media(media: DocumentMedia) -> bytes:
    """Return the last fields of an answer, and its end."""
    items = ",".join(item.model_dump_json() for item in media.items)
    return f'"media":[{items}],"media_more":{media.more}}}'.encode()


NO_MEDIA: Final = b'"media":[],"media_more":0}'


def add_media(answer: bytes, media: bytes) -> bytes:
    """Return an answer, a JSON object with other fields, with its media."""
    return answer[:-1] + b"," + media


def _split(content: bytes, width: int) -> Iterator[bytes]:
    return (content[start : start + width] for start in range(0, len(content), width))


def _split_lines(block: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(block):
        end = block.index(b"\n", start) + 1
        yield start, block[start:end]
        start = end
