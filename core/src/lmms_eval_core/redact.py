"""Removes from texts what must not leave a pod: control sequences of terminals, and values that look like secrets.
Pure.

The runner knows the values of the Secrets and hides them in the log and in messages; the reporter, which knows none,
applies the patterns once more to everything it sends.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[REDACTED]"

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, links
    r"|\x1b[ -/]*[0-~]"  # the rest
)
# The last ones turn the direction of the text around them, as of a table's other columns.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# By Unicode category: line ends and other controls become spaces; marks of direction, of no width, and halves of pairs
# go.
_SHOWN: Final = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": "", "Co": "", "Cn": ""}

_VALUE = r"[A-Za-z0-9_./+=~@%^&*!$-]{6,}"
_KEY = r"api[_-]?key|access[_-]?key|secret[_-]?key|password|passwd"
_NAME = rf"(?:{_KEY}|secret|token|credentials?)"


# What is named `keep` stays, the rest of a match is hidden.
PATTERNS: Final = tuple(
    re.compile(expression)
    for expression in (
        r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{16,}",
        r"(?<![A-Za-z0-9])(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}",
        r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{20,}",
        r"(?<![A-Za-z0-9])nvapi-[A-Za-z0-9_-]{16,}",
        r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}",
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        r"(?i)(?P<keep>\bauthorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:(?:basic|bearer|token)[ \t]+)?)[^\s\"',]{6,}",
        r"(?i)(?P<keep>\bbearer[ \t]+)[A-Za-z0-9._~+/=-]{8,}",
        rf"(?i)(?P<keep>(?<![A-Za-z0-9]){_NAME}[ \t]*=[ \t]*[\"']?){_VALUE}",
        rf"(?i)(?P<keep>(?<![A-Za-z0-9]){_NAME}[\"'][ \t]*:[ \t]*[\"']){_VALUE}",
        rf"(?i)(?P<keep>(?<![A-Za-z0-9])(?:{_KEY})[ \t]*:[ \t]*){_VALUE}",
        r"(?i)(?P<keep>[?&](?:x-amz-(?:signature|credential|security-token)|signature|sig)=)[^&\s\"']+",
        r"(?P<keep>\b[a-z][a-z0-9+.-]{1,15}://[^\s/:@\"']{1,256}:)[^\s/@\"']+(?=@)",
    )
)


def plain(text: str) -> str:
    """Return `text` without terminal sequences and control characters; tabs and line ends stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def to_one_line(text: str, limit: int) -> str:
    """Return `text` as a status shows it to a person: one line of at most `limit` characters.

    Terminal sequences, control characters and marks that hide or reorder what stands beside them are taken out. Doing
    it again changes nothing.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text.strip(" ")
    shown = (
        _SHOWN.get(unicodedata.category(character), character) for character in _ESCAPES.sub("", text[: 4 * limit])
    )
    return "".join(shown)[:limit].strip(" ")


class Redactor:
    """Hides what looks like a secret, and the `secrets` it knows. Doing it again changes nothing."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = "|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True) if secret)
        self._expressions = (re.compile(known), *PATTERNS) if known else PATTERNS

    def __call__(self, text: str) -> str:
        """Return `text` with every secret in it replaced by `HIDDEN`."""
        for expression in self._expressions:
            text = expression.sub(_replace_secret, text)
        return text


def _replace_secret(match: re.Match[str]) -> str:
    return f"{match.groupdict().get('keep') or ''}{HIDDEN}"
