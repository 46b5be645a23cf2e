"""Which content a file of media may have, by its place among the files of an item. Pure.

The user's code can write into the run directory: no format is believed, and no picture may take a browser more memory
than its place allows.
"""

from typing import Final

from lmms_eval_core.media import DISPLAY_PIXELS, THUMB_PIXELS, MediaItem, MediaKind, MediaPolicy
from lmms_eval_core.media_types import FLAC, GIF, JPEG, MP4, MPEG, OGG, PNG, WAV, WEBM, WEBP, MediaType, find_media_type

# The fields of an item that name files, and the least that a run must keep for each.
PLACES: Final = {
    "thumb": MediaPolicy.THUMBS,
    "display": MediaPolicy.DISPLAY,
    "original": MediaPolicy.ORIGINAL,
}
_SOUNDS: Final = frozenset({WAV, OGG, FLAC, MPEG})
_FORMATS: Final[dict[tuple[str, MediaKind], frozenset[MediaType]]] = {
    ("thumb", MediaKind.IMAGE): frozenset({WEBP}),
    ("thumb", MediaKind.VIDEO): frozenset({WEBP}),
    ("display", MediaKind.IMAGE): frozenset({WEBP}),
    ("display", MediaKind.VIDEO): frozenset({WEBP}),
    ("display", MediaKind.AUDIO): _SOUNDS,
    ("original", MediaKind.IMAGE): frozenset({PNG, JPEG, GIF, WEBP}),
    ("original", MediaKind.VIDEO): frozenset({MP4, WEBM}),
    ("original", MediaKind.AUDIO): _SOUNDS,
}
_PIXELS: Final = {"thumb": THUMB_PIXELS, "display": DISPLAY_PIXELS}


def list_digests(item: MediaItem) -> list[tuple[str, str]]:
    """Return the places of an item that name a file, each with the digest."""
    return [(place, digest) for place in PLACES if (digest := getattr(item, place)) is not None]


def is_acceptable(begin: bytes, kind: MediaKind, place: str) -> bool:
    """Return whether a file that begins with these bytes may stand in a place of an item of this kind."""
    found = find_media_type(begin)
    if found is None or found not in _FORMATS.get((place, kind), ()):
        return False
    if place == "original" or kind == MediaKind.AUDIO:
        return True
    size = read_webp_size(begin)
    return size is not None and max(size) <= _PIXELS[place]


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
