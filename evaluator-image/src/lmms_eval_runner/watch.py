"""What the runner learns from the harness's log while it grows: its end, and errors that adapters swallow.

Some adapters turn any exception of one answer into an empty one and go on; lmms-eval then scores it 0 and ends well.
"""

import re
from collections import deque
from typing import Final

from .classify import ENDED_BY_EXCEPTION

MAX_LINES: Final = 4000
MAX_KEPT: Final = 4096

_OVER = re.compile(r", gen_kwargs: \(.*\), limit: .*, offset: .*, num_fewshot: .*, batch_size: ")
_RAISED = re.compile(r"\| ERROR +\| lmms_eval\.__main__:.* - " + re.escape(ENDED_BY_EXCEPTION))
_SWALLOWED = re.compile(r"\| ERROR +\| lmms_eval\.models\.[\w.]+:\w+:\d+ - Error (?P<text>.*)$")
_GAVE_UP = re.compile(r"\| ERROR +\| lmms_eval\.models\.[\w.]+:\w+:\d+ - All \d+ attempts failed\. Last error: (?P<text>.*)$")
_AROUND = re.compile(r"^in generating: | in generating$")


class LogWatch:
    """Sees every line once. `lines` keeps the beginnings of the last ones, `example` the first swallowed error."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.finished = False
        self.raised = False
        self.swallowed = 0
        self.gave_up = 0
        self.example = ""

    def see(self, line: str) -> None:
        """Takes one line of the log."""
        self.lines.append(line[:MAX_KEPT])
        self.finished = self.finished or _OVER.search(line) is not None
        self.raised = self.raised or _RAISED.search(line) is not None
        if found := _SWALLOWED.search(line):
            self.swallowed += 1
            self._remember(_AROUND.sub("", found["text"]))
        elif found := _GAVE_UP.search(line):
            self.gave_up += 1
            self._remember(found["text"])

    @property
    def over(self) -> bool:
        """Whether lmms-eval has nothing more to do but to end."""
        return self.finished or self.raised

    def _remember(self, text: str) -> None:
        self.example = self.example or text
