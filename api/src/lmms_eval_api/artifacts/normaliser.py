"""Lines of JSON made valid while they go through, in memory that does not grow with their lines. Pure.

What is stored by now was made valid when it was stored (`lmms_eval_core.json_text`); what an older reporter stored was not.
"""

import re
import string
from typing import Final

from lmms_eval_core.json_text import normalised

# Of a number or word that has not ended yet, more is not held back: a number that long is replaced in any case.
HELD_BYTES: Final = 4096

_CLOSED: Final = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?(?=\n))'
# Everything but a string that is still open at the end.
_SETTLED: Final = re.compile(rb'(?:[^"]++|' + _CLOSED + rb")*+")
_WORD: Final = (string.ascii_letters + string.digits + "_+-.").encode()
_NUMBER: Final = b"-0123456789"


class StreamNormaliser:
    """`normalised` for content that comes in pieces, which may end anywhere."""

    def __init__(self) -> None:
        self._held = b""
        self._inside = False
        self._skipping = False

    def feed(self, content: bytes) -> bytes:
        """What is certain by now."""
        if self._skipping:
            content = content.lstrip(_WORD)
            self._skipping = not content
        # A string that is open goes on behind a quote of ours.
        quote = b'"' if self._inside else b""
        text = quote + self._held + content
        settled = _settled(text)
        self._inside = settled < len(text)
        certain = len(text) - (_escape(text) if self._inside else _word(text))
        self._held = text[certain:]
        return normalised(text[:certain])[len(quote) :] + self._overflow()

    def rest(self) -> bytes:
        """What was held back at the end."""
        return self._held if self._inside else normalised(self._held)

    def _overflow(self) -> bytes:
        if len(self._held) <= HELD_BYTES:
            return b""
        self._skipping = self._held[0] in _NUMBER
        made, self._held = normalised(self._held), b""
        return made


def _settled(text: bytes) -> int:
    found = _SETTLED.match(text)
    return found.end() if found is not None else 0


def _escape(text: bytes) -> int:
    """Bytes of a backslash at the end whose character has not come yet."""
    return (len(text) - len(text.rstrip(b"\\"))) % 2


def _word(text: bytes) -> int:
    """Bytes of a number or word at the end that may go on."""
    return len(text) - len(text.rstrip(_WORD))
