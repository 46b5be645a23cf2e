"""The state of the generators that adapters and tasks draw from: of `random`, of numpy, and of torch on CPU and GPUs.

As plain JSON: bytes are compressed and in Base85, floats are by their repr. Only what is imported counts.
"""

import base64
import random
import struct
import sys
import zlib
from typing import Any, Final

# Each is a component of the journaled state.
RANDOM: Final = "random"
NUMPY: Final = "numpy"
TORCH: Final = "torch"
CUDA: Final = "cuda"

_WORDS: Final = 625
_NUMPY_WORDS: Final = 624
# The largest state is that of a CPU's generator in torch, of 5 KB.
_MAX_BYTES: Final = 1024 * 1024

RandomState = dict[str, Any]


class InvalidState(Exception):
    """A journaled state that is none."""


def capture() -> RandomState:
    """Return the state of all generators."""
    state: RandomState = {RANDOM: random.getstate()}
    if "numpy" in sys.modules:
        import numpy

        found = numpy.random.get_state()
        # Somebody may have set another generator than numpy's own.
        if isinstance(found, tuple):
            kind, words, position, has_gauss, gauss = found
            state[NUMPY] = (kind, words.tobytes(), int(position), int(has_gauss), float(gauss))
    if "torch" in sys.modules:
        import torch

        state[TORCH] = torch.get_rng_state().numpy().tobytes()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            state[CUDA] = [one.numpy().tobytes() for one in torch.cuda.get_rng_state_all()]
    return state


def apply(state: RandomState) -> None:
    """Put generators into `state`, those that it names."""
    if RANDOM in state:
        random.setstate(state[RANDOM])
    if NUMPY in state:
        import numpy

        kind, words, position, has_gauss, gauss = state[NUMPY]
        numpy.random.set_state((kind, numpy.frombuffer(words, dtype=numpy.uint32), position, has_gauss, gauss))
    if TORCH in state or CUDA in state:
        import torch

        if TORCH in state:
            torch.set_rng_state(_make_tensor(state[TORCH]))
        if CUDA in state and torch.cuda.is_available():
            for device, content in enumerate(state[CUDA][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(_make_tensor(content), device)


def find_changes(before: RandomState, after: RandomState) -> RandomState:
    """Return the components of `after` that differ from `before`."""
    return {name: value for name, value in after.items() if before.get(name) != value}


def encode(state: RandomState) -> dict[str, Any]:
    """Return the state as JSON."""
    encoded: dict[str, Any] = {}
    if RANDOM in state:
        version, words, gauss = state[RANDOM]
        encoded[RANDOM] = [version, _encode(struct.pack(f"<{_WORDS}I", *words)), None if gauss is None else repr(gauss)]
    if NUMPY in state:
        kind, words, position, has_gauss, gauss = state[NUMPY]
        encoded[NUMPY] = [kind, _encode(words), position, has_gauss, repr(gauss)]
    if TORCH in state:
        encoded[TORCH] = _encode(state[TORCH])
    if CUDA in state:
        encoded[CUDA] = [_encode(one) for one in state[CUDA]]
    return encoded


def decode(encoded: dict[str, Any]) -> RandomState:
    """Return the state that JSON holds; raises InvalidState."""
    try:
        return _decode_components(encoded)
    except (TypeError, ValueError, KeyError, struct.error, zlib.error) as error:
        raise InvalidState(f"no state of generators: {error!r}"[:200]) from error


def _decode_components(encoded: dict[str, Any]) -> RandomState:
    state: RandomState = {}
    if RANDOM in encoded:
        version, words, gauss = encoded[RANDOM]
        unpacked = struct.unpack(f"<{_WORDS}I", _decode(words))
        state[RANDOM] = (version, unpacked, None if gauss is None else float(gauss))
        # Refuses what is no state.
        random.Random().setstate(state[RANDOM])
    if NUMPY in encoded:
        kind, words, position, has_gauss, gauss = encoded[NUMPY]
        content = _decode(words)
        if kind != "MT19937" or len(content) != 4 * _NUMPY_WORDS or not 0 <= position <= _NUMPY_WORDS:
            raise ValueError("not numpy's")
        state[NUMPY] = (kind, content, int(position), int(has_gauss), float(gauss))
    if TORCH in encoded:
        state[TORCH] = _decode(encoded[TORCH])
    if CUDA in encoded:
        state[CUDA] = [_decode(one) for one in encoded[CUDA]]
    return state


def _make_tensor(content: bytes) -> Any:
    import torch

    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _encode(content: bytes) -> str:
    return base64.b85encode(zlib.compress(content, 1)).decode()


def _decode(text: str) -> bytes:
    decompressor = zlib.decompressobj()
    content = decompressor.decompress(base64.b85decode(text), _MAX_BYTES)
    if not decompressor.eof:
        raise ValueError("longer than any state")
    return content
