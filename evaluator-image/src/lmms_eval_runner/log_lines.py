"""From the raw bytes of a log to its lines: progress bars, which draw over themselves, become their last state. Pure.

`harness_log` reads the bytes and writes the lines.
"""

from typing import Final

# A line is cut here before it is searched for secrets, and again, shorter, after: what a cut leaves of a secret is
# gone.
MAX_READ: Final = 64 * 1024
MAX_SHOWN: Final = 56 * 1024
BAR_SECONDS: Final = 30.0


class LineReader:
    """Cuts bytes into whole lines, without their ends.

    A bar that is still moving is returned once in `BAR_SECONDS`, so that a reader of the log sees a sign of life.
    """

    def __init__(self) -> None:
        self._open = b""
        self._dropping = False
        self._bar_at = 0.0

    def feed(self, data: bytes, now: float) -> list[bytes]:
        """Return the lines that are complete with `data`; `now` is any clock in seconds."""
        *ended, self._open = (self._open + data).split(b"\n")
        if ended and self._dropping:
            self._dropping, ended = False, ended[1:]
        lines = [_find_last_state(line)[:MAX_READ] for line in ended]
        return lines + self._take_open_line(now)

    def finish(self) -> list[bytes]:
        """Return the last line, which has no end; nothing where it is empty."""
        line, self._open = _find_last_state(self._open), b""
        return [line[:MAX_READ]] if line and not self._dropping else []

    def _take_open_line(self, now: float) -> list[bytes]:
        if self._dropping:
            self._open = b""
        elif b"\r" in self._open:
            return self._take_bar(now)
        elif len(self._open) > MAX_READ:
            line, self._open, self._dropping = self._open, b"", True
            return [line[:MAX_READ]]
        return []

    def _take_bar(self, now: float) -> list[bytes]:
        state = _find_last_state(self._open)
        self._open = state + (b"\r" if self._open.endswith(b"\r") else b"")
        if now - self._bar_at < BAR_SECONDS:
            return []
        self._bar_at = now
        return [state[:MAX_READ]]


def _find_last_state(line: bytes) -> bytes:
    """Return what a terminal would show of a line in which carriage returns start over."""
    return next((part for part in reversed(line.split(b"\r")) if part), b"")
