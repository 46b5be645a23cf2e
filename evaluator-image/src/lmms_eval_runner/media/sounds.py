"""Arrays of sound as WAV files. numpy is imported where it is used, in the evaluator alone."""

import io
import wave
from typing import Any, Final

MAX_SOUND_BYTES: Final = 4 * 1024 * 1024
_MAX_CHANNELS: Final = 8
_MAX_RATE: Final = 1_000_000


class TooLong(Exception):
    """A sound is too long to be kept."""


def measure_seconds(array: Any, rate: int) -> float | None:
    """Return how long a sound is; None where that cannot be known."""
    return max(array.shape) / rate if rate > 0 and array.shape else None


def encode_wave(array: Any, rate: int) -> bytes:
    """Return the samples, between -1 and 1 or integers of 16 bits, as a WAV file. Raises TooLong, ValueError."""
    import numpy

    if not 0 < rate <= _MAX_RATE or array.ndim not in (1, 2):
        raise ValueError("no sound")
    if 2 * array.size > MAX_SOUND_BYTES:
        raise TooLong
    frames = array.reshape(-1, 1) if array.ndim == 1 else array
    # One of the two is the number of channels.
    frames = frames.T if frames.shape[0] < frames.shape[1] else frames
    if frames.shape[1] > _MAX_CHANNELS:
        raise ValueError("too many channels")
    if frames.dtype != numpy.int16:
        scaled = numpy.nan_to_num(numpy.asarray(frames, dtype=numpy.float64)) * 32767
        frames = numpy.clip(scaled, -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(frames.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(numpy.ascontiguousarray(frames).tobytes())
    return buffer.getvalue()
