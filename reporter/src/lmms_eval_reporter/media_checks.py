"""Which content a file of media may have, by its place among the files of an item. Pure.

The user's code can write into the run directory: no format is believed, and no picture may take a browser more memory
than its place allows.
"""

from enum import IntEnum
from typing import Final

from lmms_eval_core.media import DISPLAY_PIXELS, THUMB_PIXELS, MediaItem, MediaKind, MediaPolicy
from lmms_eval_core.media_types import FLAC, GIF, JPEG, MP4, MPEG, OGG, PNG, WAV, WEBM, WEBP, find_media_type


class ContentClass(IntEnum):
    """What a file can be used for: WebP of at most the size of a thumb, or of a display, and other formats."""

    THUMB = 0
    DISPLAY = 1
    SOUND = 2
    IMAGE = 3
    VIDEO = 4


# The fields of an item that name files, and the least that a run must keep for each.
PLACES: Final = {
    "thumb": MediaPolicy.THUMBS,
    "display": MediaPolicy.DISPLAY,
    "original": MediaPolicy.ORIGINAL,
}
_CLASSES: Final = {
    **dict.fromkeys((WAV, OGG, FLAC, MPEG), ContentClass.SOUND),
    **dict.fromkeys((PNG, JPEG, GIF, WEBP), ContentClass.IMAGE),
    **dict.fromkeys((MP4, WEBM), ContentClass.VIDEO),
}
_PERMITTED: Final[dict[tuple[str, MediaKind], tuple[ContentClass, ...]]] = {
    ("thumb", MediaKind.IMAGE): (ContentClass.THUMB,),
    ("thumb", MediaKind.VIDEO): (ContentClass.THUMB,),
    ("display", MediaKind.IMAGE): (ContentClass.DISPLAY, ContentClass.THUMB),
    ("display", MediaKind.VIDEO): (ContentClass.DISPLAY, ContentClass.THUMB),
    ("display", MediaKind.AUDIO): (ContentClass.SOUND,),
    ("original", MediaKind.IMAGE): (ContentClass.IMAGE, ContentClass.DISPLAY, ContentClass.THUMB),
    ("original", MediaKind.VIDEO): (ContentClass.VIDEO,),
    ("original", MediaKind.AUDIO): (ContentClass.SOUND,),
}


def classify(begin: bytes) -> ContentClass | None:
    """Return what a file that begins with these bytes can be used for; None for nothing."""
    found = find_media_type(begin)
    size = read_webp_size(begin) if found == WEBP else None
    if size is not None and max(size) <= DISPLAY_PIXELS:
        return ContentClass.THUMB if max(size) <= THUMB_PIXELS else ContentClass.DISPLAY
    return None if found is None else _CLASSES[found]


def is_permitted(content: ContentClass | None, kind: MediaKind, place: str) -> bool:
    """Return whether such a file may stand in a place of an item of this kind."""
    return content in _PERMITTED.get((place, kind), ())


def find_class(kind: MediaKind, place: str) -> ContentClass:
    """Return what a file that stands in a place of an item can be used for at least. KeyError for no such place."""
    return _PERMITTED[place, kind][0]


def list_digests(item: MediaItem) -> list[tuple[str, str]]:
    """Return the places of an item that name a file, each with the digest."""
    return [(place, digest) for place in PLACES if (digest := getattr(item, place)) is not None]


def read_webp_size(begin: bytes) -> tuple[int, int] | None:
    """Return width and height that the first 30 bytes of a WebP file tell; None where they tell none.

    See https://developers.google.com/speed/webp/docs/riff_container: lossy, lossless and extended files. An animation
    is refused.
    """
    kind = begin[12:16]
    if len(begin) < 30:
        return None
    if kind == b"VP8 " and begin[23:26] == b"\x9d\x01\x2a":
        return _read_int(begin[26:28]) & 0x3FFF, _read_int(begin[28:30]) & 0x3FFF
    if kind == b"VP8L" and begin[20] == 0x2F:
        bits = _read_int(begin[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and not begin[20] & 0x02:
        return _read_int(begin[24:27]) + 1, _read_int(begin[27:30]) + 1
    return None


def _read_int(content: bytes) -> int:
    return int.from_bytes(content, "little")
