"""NaN and Infinity, which lmms-eval writes and JSON does not have, become null. Pure; all else stays as it was, to the byte."""

import re
from typing import Final

# A line that is longer than this is looked at in parts.
LINE_BYTES: Final = 8 * 1024 * 1024

# Strings are matched to be stepped over: a word in an answer is no number.
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def sanitised(text: bytes) -> bytes:
    """`text`, which is JSON but for such numbers, or several lines of it, as JSON."""
    if b"NaN" not in text and b"Infinity" not in text:
        return text
    return _TOKENS.sub(lambda found: found[0] if found[0].startswith(b'"') else b"null", text)


class LineSanitiser:
    """Does it to lines of JSON that come in pieces."""

    def __init__(self) -> None:
        self._open = b""

    def feed(self, content: bytes) -> bytes:
        """The lines that are whole by now."""
        whole, newline, self._open = (self._open + content).rpartition(b"\n")
        if not newline and len(self._open) > LINE_BYTES:
            whole, self._open = self._open, b""
        return sanitised(whole + newline)

    def rest(self) -> bytes:
        """A last line without its end."""
        return sanitised(self._open)
