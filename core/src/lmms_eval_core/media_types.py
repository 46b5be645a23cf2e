"""The formats of media, told from the first bytes of a file. Pure.

The reporter stores no file of another format, and the front end serves none: what a browser would run (SVG, HTML) has
none of these beginnings, whatever its name.
"""

import re
from typing import Final, NamedTuple

# Of a file: as many as are looked at.
BEGIN_BYTES: Final = 64


class MediaType(NamedTuple):
    """A media type as HTTP names it, and the usual ending of a file's name."""

    name: str
    ending: str


PNG: Final = MediaType("image/png", "png")
JPEG: Final = MediaType("image/jpeg", "jpg")
GIF: Final = MediaType("image/gif", "gif")
WEBP: Final = MediaType("image/webp", "webp")
MP4: Final = MediaType("video/mp4", "mp4")
WEBM: Final = MediaType("video/webm", "webm")
WAV: Final = MediaType("audio/wav", "wav")
OGG: Final = MediaType("audio/ogg", "ogg")
MPEG: Final = MediaType("audio/mpeg", "mp3")
FLAC: Final = MediaType("audio/flac", "flac")

# Brands of MP4 files: pictures (HEIC, AVIF) and QuickTime begin alike and have others.
_BRANDS: Final = rb"isom|iso[2-9]|mp4[12]|avc1|dash|M4V |M4VP|MSNV|mmp4"
_FORMATS: Final[tuple[tuple[re.Pattern[bytes], MediaType], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\x89PNG\r\n\x1a\n", PNG),
        (rb"\xff\xd8\xff", JPEG),
        (rb"GIF8[79]a", GIF),
        (rb"RIFF....WEBP", WEBP),
        (rb"....ftyp(?:" + _BRANDS + rb")", MP4),
        # EBML, whose element DocType says webm.
        (rb"\x1a\x45\xdf\xa3.*\x42\x82\x84webm", WEBM),
        (rb"RIFF....WAVE", WAV),
        (rb"OggS", OGG),
        (rb"fLaC", FLAC),
        # Tags, or a frame of layer III of MPEG 1, 2 or 2.5.
        (rb"ID3[\x02-\x04]|\xff[\xfa\xfb\xf2\xf3\xe2\xe3]", MPEG),
    )
)


def find_media_type(begin: bytes) -> MediaType | None:
    """Return the format of the file that begins with these bytes; None for any other."""
    begin = begin[:BEGIN_BYTES]
    return next((media_type for pattern, media_type in _FORMATS if pattern.match(begin)), None)
