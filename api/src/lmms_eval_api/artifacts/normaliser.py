"""Makes a stream of JSON lines valid, in memory that does not grow with the lines. Pure.

What the reporter stores today was made valid when it was stored (`lmms_eval_core.json_text`); older files were not.
"""

import re
import string
from typing import Final

from lmms_eval_core.json_text import normalised

# At most this much is held back of a number or word that has not ended: a number that long is replaced in any case.
HELD_BYTES: Final = 4096

_CLOSED: Final = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?(?=\n))'
# Everything up to a string that is still open at the end.
_SETTLED: Final = re.compile(rb'(?:[^"]++|' + _CLOSED + rb")*+")
_WORD: Final = (string.ascii_letters + string.digits + "_+-.").encode()
_NUMBER: Final = b"-0123456789"


class StreamNormaliser:
    """`normalised` for content in pieces, which may end anywhere."""

    def __init__(self) -> None:
        self._held = b""
        self._inside = False
        self._skipping = False

    def feed(self, content: bytes) -> bytes:
        """Return what is certain by now."""
        if self._skipping:
            content = content.lstrip(_WORD)
            self._skipping = not content
        # An open string continues after a quote that is put before it.
        quote = b'"' if self._inside else b""
        text = quote + self._held + content
        settled = _find_settled_end(text)
        self._inside = settled < len(text)
        certain = len(text) - (_count_escape_bytes(text) if self._inside else _count_word_bytes(text))
        self._held = text[certain:]
        return normalised(text[:certain])[len(quote) :] + self._release_overflow()

    def finish(self) -> bytes:
        """Return what was held back."""
        return self._held if self._inside else normalised(self._held)

    def _release_overflow(self) -> bytes:
        if len(self._held) <= HELD_BYTES:
            return b""
        self._skipping = self._held[0] in _NUMBER
        made, self._held = normalised(self._held), b""
        return made


def _find_settled_end(text: bytes) -> int:
    found = _SETTLED.match(text)
    return found.end() if found is not None else 0


def _count_escape_bytes(text: bytes) -> int:
    """Return the number of backslashes at the end, 0 or 1, whose character has not come yet."""
    return (len(text) - len(text.rstrip(b"\\"))) % 2


def _count_word_bytes(text: bytes) -> int:
    """Return the length of a number or word at the end that may go on."""
    return len(text) - len(text.rstrip(_WORD))
