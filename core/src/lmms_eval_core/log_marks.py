"""Lines of the runner in a log that tell an offset: the first line, and marks. Pure.

A node keeps the last 10 MiB of a container's log, the store the last 64 MiB: by the marks, a reader of what is left
knows its offset in the whole log, and can go on in the one where it left the other. Runner and front end agree on them
here.
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
    """Return the text of the runner's line that begins at byte `offset`."""
    return f"this line begins at byte {offset}"


def find_offset(beginning: bytes) -> int | None:
    """Return the offset, in the whole log, of the first byte of `beginning`; None if no line in it tells.

    Believed like the rest of the log, which is the user's: a false mark makes for a false place in this log alone.
    """
    if beginning.startswith((PREFIX + FIRST).encode()):
        return 0
    found = _MARK.search(beginning)
    if found is None or found.start() > int(found[1]):
        return None
    return int(found[1]) - found.start()
