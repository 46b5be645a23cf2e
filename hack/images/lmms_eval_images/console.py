"""What the image command says to people: progress lines, and the one error class whose text is shown as it is."""

import sys


class ImageError(Exception):
    """A failure that a person can act on; its text is shown without a traceback."""


def say(text: str) -> None:
    """Tell the person at the terminal what happens now; standard output is kept for answers."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Name a duration the way people do: `45 s`, `6 min 30 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
