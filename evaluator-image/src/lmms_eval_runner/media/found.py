"""Finds images, videos and sounds in what a task makes of a document for an adapter. Loads nothing. Pure.

That is a list (`doc_to_visual`) or messages with contents of a type (`doc_to_messages`); see `protocol.py` and
`api/task.py` of lmms-eval.
"""

import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lmms_eval_core.media import MediaKind
from lmms_eval_core.media_types import find_media_type

# A video may be a list of its frames: they are counted up to here.
MAX_FOUND: Final = 1000
_MAX_DEPTH: Final = 4
_IMAGES: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
_SOUNDS: Final = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac")


class Found(NamedTuple):
    """Something for the adapter: `value` is an image of PIL, bytes, a path, or what else a task gave."""

    kind: MediaKind
    value: Any


def list_media(made: Any) -> Iterator[Found]:
    """Yield what there is, in its order, `MAX_FOUND` at most."""
    for number, found in enumerate(_walk(made, 0)):
        if number == MAX_FOUND:
            return
        yield found


def is_image(value: Any) -> bool:
    """Return whether it is an image of PIL."""
    return any(kind.__name__ == "Image" and kind.__module__ == "PIL.Image" for kind in type(value).__mro__)


def is_address(text: str) -> bool:
    """Return whether a text names something that would have to be fetched."""
    return "://" in text[:32] or text.startswith("data:")


def _walk(value: Any, depth: int) -> Iterator[Found]:
    if depth > _MAX_DEPTH or value is None:
        return
    if _is_sound_pair(value):
        yield Found(MediaKind.AUDIO, {"array": value[0], "sampling_rate": value[1]})
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _walk(part, depth + 1)
    elif isinstance(value, dict) and isinstance(value.get("content"), list) and "role" in value:
        yield from _walk_content(value["content"])
    elif (found := _classify(value)) is not None:
        yield found


def _walk_content(parts: list[Any]) -> Iterator[Found]:
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in list(MediaKind):
            value = part.get("url")
            # With a beginning and an end.
            path = value.get("path") or value.get("url") if isinstance(value, dict) else None
            yield Found(MediaKind(kind), path if isinstance(path, str) else value)


def _classify(value: Any) -> Found | None:
    if is_image(value):
        return Found(MediaKind.IMAGE, value)
    if isinstance(value, str | os.PathLike):
        return Found(_find_kind(os.fspath(value)), value)
    if isinstance(value, bytes):
        return _classify_bytes(value)
    if isinstance(value, dict):
        return _classify_fields(value)
    # A data set's own reader of sounds or videos, with what it reads.
    encoded = getattr(value, "_hf_encoded", None)
    if isinstance(encoded, dict):
        kind = MediaKind.AUDIO if "Audio" in type(value).__name__ else MediaKind.VIDEO
        return Found(kind, encoded.get("bytes") or encoded.get("path"))
    if type(value).__name__ in ("VideoReader", "VideoDecoder"):
        return Found(MediaKind.VIDEO, None)
    if _count_dimensions(value):
        return Found(MediaKind.VIDEO if _count_dimensions(value) == 4 else MediaKind.IMAGE, None)
    return None


def _classify_bytes(content: bytes) -> Found | None:
    found = find_media_type(content)
    if found is None:
        return None
    return Found(MediaKind(found.name.partition("/")[0]), content)


def _classify_fields(value: dict[Any, Any]) -> Found | None:
    if "array" in value and "sampling_rate" in value:
        return Found(MediaKind.AUDIO, value)
    content = value.get("bytes") or value.get("path") or value.get("url")
    named = value.get("type")
    if named in list(MediaKind):
        return Found(MediaKind(named), content)
    return _classify(content) if isinstance(content, str | bytes) else None


def _find_kind(path: str | bytes) -> MediaKind:
    ending = os.path.splitext(os.fsdecode(path))[1].lower()
    if ending in _IMAGES:
        return MediaKind.IMAGE
    # As lmms-eval has it.
    return MediaKind.AUDIO if ending in _SOUNDS else MediaKind.VIDEO


def _is_sound_pair(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and _count_dimensions(value[0]) in (1, 2) and type(value[1]) is int


def _count_dimensions(value: Any) -> int:
    """Return how many dimensions an array has; 0 for what is none."""
    shape = getattr(value, "shape", None)
    return len(shape) if isinstance(shape, tuple) and hasattr(value, "dtype") else 0
