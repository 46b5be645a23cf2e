"""Texts for the status: no control characters, no secrets, no more bytes than there is room for. Pure."""

import json
from typing import Any, Final

from lmms_eval_core.redact import Redactor, plain

redact: Final = Redactor()

# The API server writes these six characters long.
_ESCAPED: Final = "<>&\u2028\u2029"
_LONGEST: Final = 6


def measure_wire_size(value: Any) -> int:
    """Return the number of bytes of `value` in the API server's JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return len(text.encode("utf-8", "replace")) + sum(text.count(character) * (_LONGEST - 1) for character in _ESCAPED)


def clean(text: str) -> str:
    """Return `text` as it may leave the pod.

    Halves of surrogate pairs, which JSON can carry and UTF-8 cannot, become `?`.
    """
    return redact(plain(text)).encode("utf-8", "replace").decode()


def clean_head(text: str, max_bytes: int) -> str:
    """Return the beginning of `text`, cleaned, in at most `max_bytes` of JSON."""
    kept = clean(text)[:max_bytes]
    while (excess := measure_wire_size(kept) - max_bytes) > 0:
        kept = kept[: len(kept) - excess // _LONGEST - 1]
    return kept


def clean_tail(text: str, max_bytes: int) -> str:
    """Return the last lines of `text`, cleaned, in at most `max_bytes` of JSON; of a progress bar the last state."""
    lines = (line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n"))
    kept = clean("\n".join(lines).strip("\n"))[-max_bytes:]
    cut = False
    while (excess := measure_wire_size(kept) - max_bytes) > 0:
        kept, cut = kept[excess // _LONGEST + 1 :], True
    return kept.partition("\n")[2] or kept if cut else kept
