"""Small copies of images, and images as WebP. Pillow is imported where it is used, in the evaluator alone.

No method that changes an image is called: it is the adapter's.
"""

import io
from typing import Any, Final

# A larger one is not looked at: four bytes for each, and what decoding takes beside them.
MAX_SOURCE_PIXELS: Final = 128 * 1024 * 1024
QUALITY: Final = 80
# From 0 (fast) to 6 (small). Of a photograph, 4 takes twice the time of 2 for 3 % less.
EFFORT: Final = 2
# Sides that are so many times too long are halved first, which takes a third of the time and cannot be seen here.
REDUCING_GAP: Final = 1.0
# Formats that are decoded of files and bytes. Others call programs, or are rare.
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
# Modes that can be made smaller without loss of meaning, and written as WebP.
_MODES: Final = ("RGB", "RGBA", "L")


class TooManyPixels(Exception):
    """An image is too large to be looked at."""


def shrink(image: Any, longest: int) -> Any:
    """Return a copy whose longer side is `longest` pixels at most. Raises TooManyPixels before anything is decoded."""
    from PIL import Image

    width, height = image.size
    if width * height > MAX_SOURCE_PIXELS:
        raise TooManyPixels
    plain = image if image.mode in _MODES else image.convert(_choose_mode(image))
    if max(width, height) > longest:
        scale = longest / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        made = plain.resize(size, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    else:
        made = plain.copy() if plain is image else plain
    # Where it was taken, and by whom, is nobody's business.
    made.info = {}
    return made


def encode(image: Any) -> bytes:
    """Return an image of `shrink` as WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
    return buffer.getvalue()


def open_image(source: bytes, longest: int) -> tuple[Any, tuple[int, int]]:
    """Return an image and its size; of a JPEG no more is decoded than `longest` pixels need. Raises TooManyPixels."""
    from PIL import Image

    image = Image.open(io.BytesIO(source), formats=FORMATS)
    size = image.size
    if size[0] * size[1] > MAX_SOURCE_PIXELS:
        raise TooManyPixels
    image.draft(None, (longest, longest))
    return image, size


def _choose_mode(image: Any) -> str:
    return "RGBA" if image.mode in ("LA", "PA", "RGBa", "La") or "transparency" in image.info else "RGB"
