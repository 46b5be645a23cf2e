"""Output of the image command: progress lines, and the one error class whose text is printed without a traceback."""

import sys


class ImageError(Exception):
    """A failure that a person can act on; its text is shown without a traceback."""


def say(text: str) -> None:
    """Print what happens now to standard error; standard output is kept for answers."""
    print(text, file=sys.stderr, flush=True)


def format_duration(seconds: float) -> str:
    """Format a duration: `45 s`, `6 min 30 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
