"""The wish of the cluster that we end: SIGTERM, or SIGINT at a terminal, as a flag that the loops look at."""

import signal
from types import FrameType


class StopRequest:
    """False until a signal came."""

    def __init__(self) -> None:
        self.made = False

    def listen(self) -> None:
        """From now on the signals set the flag and do nothing else; as process 1 we would not even get them without."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.made = True
