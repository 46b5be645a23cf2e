"""What is taken on the adapter's thread: small copies of what it may change, and names of what it may not."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lmms_eval_core.media import DISPLAY_PIXELS, THUMB_PIXELS, MediaKind, MediaOmission, MediaPolicy

from .found import Found, is_address, is_image
from .images import TooManyPixels, shrink
from .sounds import MAX_SOUND_BYTES, TooLong, encode_wave, measure_seconds

_BYTES_A_PIXEL: Final = 4


@dataclass
class Pending:
    """Something of a document that waits for the encoder: an image of our own, bytes, or a path.

    `has_display` is whether more than the thumb can be made of the image.
    """

    kind: MediaKind
    image: Any = None
    content: bytes | None = None
    path: Path | None = None
    has_display: bool = True
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    omitted: MediaOmission | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        pixels = self.image.width * self.image.height if self.image is not None else 0
        return pixels * _BYTES_A_PIXEL + len(self.content or b"")


def take_snapshot(found: Found, policy: MediaPolicy, *, room: int) -> Pending:
    """Return a copy that takes no more than `room` bytes, with the reason where it is less than was wanted."""
    value = found.value
    if is_image(value):
        return _copy_image(value, policy, room)
    if isinstance(value, dict) and "array" in value:
        return _copy_sound(value, policy, room)
    if isinstance(value, bytes):
        if len(value) > room:
            return Pending(found.kind, omitted=MediaOmission.BEHIND)
        # Bytes are nobody's to change.
        return Pending(found.kind, content=value)
    if isinstance(value, str | os.PathLike):
        text = os.fsdecode(value)
        if not is_address(text):
            return Pending(found.kind, path=Path(text).absolute())
    return Pending(found.kind, omitted=MediaOmission.NOT_KEPT)


def _copy_image(image: Any, policy: MediaPolicy, room: int) -> Pending:
    pending = Pending(MediaKind.IMAGE, width=image.width, height=image.height, has_display=policy != MediaPolicy.THUMBS)
    if pending.has_display and _measure(image, DISPLAY_PIXELS) > room:
        pending.has_display, pending.omitted = False, MediaOmission.BEHIND
    longest = DISPLAY_PIXELS if pending.has_display else THUMB_PIXELS
    if _measure(image, longest) > room:
        pending.omitted = MediaOmission.BEHIND
        return pending
    try:
        pending.image = shrink(image, longest)
    except TooManyPixels:
        pending.omitted = MediaOmission.TOO_LARGE
    return pending


def _measure(image: Any, longest: int) -> int:
    """Return the bytes of the image at this size."""
    scale = min(1.0, longest / max(1, image.width, image.height))
    return int(image.width * scale + 1) * int(image.height * scale + 1) * _BYTES_A_PIXEL


def _copy_sound(value: dict[str, Any], policy: MediaPolicy, room: int) -> Pending:
    array, rate = value["array"], int(value["sampling_rate"])
    pending = Pending(MediaKind.AUDIO, seconds=measure_seconds(array, rate))
    if policy == MediaPolicy.THUMBS:
        pending.omitted = MediaOmission.NOT_KEPT
    elif room < MAX_SOUND_BYTES:
        pending.omitted = MediaOmission.BEHIND
    else:
        try:
            pending.content = encode_wave(array, rate)
        except TooLong:
            pending.omitted = MediaOmission.TOO_LARGE
    return pending
