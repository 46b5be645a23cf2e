"""What a log says of its own place: the runner's first line, and marks with their offsets in it. Pure.

A node keeps the last 10 MiB of a container's log, the store the last 64 MiB: by its marks, a reader of what is left knows which
byte of the whole it has before it, and goes on in the one where it left the other. Runner and front end agree on them here.
"""

import re
from typing import Final

PREFIX: Final = "lmms-eval-runner: "
FIRST: Final = "attempt "
MARK_EVERY: Final = 64 * 1024
# The runner writes up to 256 KiB at a time, of lines up to 56,000 characters: a mark is never farther away than this.
MARK_WITHIN: Final = 1024 * 1024

_MARK = re.compile(rb"^" + PREFIX.encode() + rb"this line begins at byte (\d{1,18})\n", re.MULTILINE)


def format_mark(offset: int) -> str:
    """The text of the runner's line that begins at byte `offset`."""
    return f"this line begins at byte {offset}"


def find_offset(beginning: bytes) -> int | None:
    """The offset, in the whole log, of the first byte of `beginning`; None if nothing in it tells.

    Believed like the rest of the log, which is the user's: a false mark makes for a false place in this log alone.
    """
    if beginning.startswith((PREFIX + FIRST).encode()):
        return 0
    found = _MARK.search(beginning)
    if found is None or found.start() > int(found[1]):
        return None
    return int(found[1]) - found.start()
