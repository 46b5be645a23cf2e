"""Places in a file of compressed lines, and how they travel to callers and back. Pure."""

import base64
import binascii
import re
from typing import Final, NamedTuple

_PLACE: Final = re.compile(r"(\d{1,9})\.(\d{1,15})\.(\d{1,15})")


class InvalidCursor(Exception):
    """Not a cursor of ours, or not one of this file."""


class Position(NamedTuple):
    """Byte `at` of the content of the frame that begins at compressed byte `frame`, from where it can be read."""

    frame: int = 0
    at: int = 0


def encoded(attempt: int, position: Position) -> str:
    """For the caller, who is not to look into it. The attempt is in it, as another one has other lines."""
    text = f"{attempt}.{position.frame}.{position.at}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decoded(cursor: str, *, attempt: int) -> Position:
    """The position; InvalidCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor from error
    found = _PLACE.fullmatch(text)
    if found is None or int(found[1]) != attempt or encoded(attempt, Position(int(found[2]), int(found[3]))) != cursor:
        raise InvalidCursor
    return Position(int(found[2]), int(found[3]))
