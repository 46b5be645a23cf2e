"""What a request asks for of a file, by the headers of RFC 9110: one range, and what the caller has already. Pure."""

import re
from typing import Final, NamedTuple

from starlette.datastructures import Headers

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class ByteRange(NamedTuple):
    """The bytes from `start` up to `end`, which is not one of them."""

    start: int
    end: int


class UnsatisfiableRange(Exception):
    """The file has no byte of the range."""


def find_range(headers: Headers, size: int, etag: str) -> ByteRange | None:
    """Return what is asked for of a file of `size` bytes; None if that is the whole file.

    So it is where the header cannot be understood, asks for several ranges, or for one of another version of the file.
    """
    wanted, versions = headers.getlist("range"), headers.getlist("if-range")
    found = _RANGE.fullmatch(wanted[0]) if len(wanted) == 1 else None
    if found is None or not (found[1] or found[2]) or (versions and versions != [etag]):
        return None
    if not found[1]:
        return _check(max(size - int(found[2]), 0), size, size)
    start, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    return _check(start, min(last + 1, size), size)


def has_version(headers: Headers, etag: str) -> bool:
    """Whether the caller has this version of the file already."""
    versions = ",".join(headers.getlist("if-none-match")).split(",")
    return etag in (version.strip().removeprefix("W/") for version in versions)


def _check(start: int, end: int, size: int) -> ByteRange:
    if start >= size:
        raise UnsatisfiableRange
    return ByteRange(start, end)
