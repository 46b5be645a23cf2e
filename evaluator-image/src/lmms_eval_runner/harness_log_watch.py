"""Watches the harness's log while it grows, for the end of the evaluation and for errors that adapters swallow.

Some adapters turn any exception of one answer into an empty one and go on; lmms-eval then scores it 0 and ends well.
"""

import re
from collections import deque
from typing import Final

MAX_LINES: Final = 4000
MAX_KEPT: Final = 4096
ENDED_BY_EXCEPTION: Final = "Error during evaluation: "

_FINISHED = re.compile(r", gen_kwargs: \(.*\), limit: .*, offset: .*, num_fewshot: .*, batch_size: ")
_RAISED = re.compile(r"\| ERROR +\| lmms_eval\.__main__:.* - " + re.escape(ENDED_BY_EXCEPTION))
_SWALLOWED = re.compile(r"\| ERROR +\| lmms_eval\.models\.[\w.]+:\w+:\d+ - Error (?P<text>.*)$")
_GAVE_UP = re.compile(
    r"\| ERROR +\| lmms_eval\.models\.[\w.]+:\w+:\d+ - All \d+ attempts failed\. Last error: (?P<text>.*)$"
)
_AROUND = re.compile(r"^in generating: | in generating$")


class HarnessLogWatch:
    """What the log has told so far.

    `lines` keeps the beginnings of the last ones, `example` the first swallowed error.
    """

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.finished = False
        self.raised = False
        self.swallowed = 0
        self.gave_up = 0
        self.example = ""

    def read_line(self, line: str) -> None:
        """Take the next line of the log."""
        self.lines.append(line[:MAX_KEPT])
        self.finished = self.finished or _FINISHED.search(line) is not None
        self.raised = self.raised or _RAISED.search(line) is not None
        if found := _SWALLOWED.search(line):
            self.swallowed += 1
            self._keep_example(_AROUND.sub("", found["text"]))
        elif found := _GAVE_UP.search(line):
            self.gave_up += 1
            self._keep_example(found["text"])

    @property
    def has_ended(self) -> bool:
        """Whether the evaluation has ended, so that only the process has yet to."""
        return self.finished or self.raised

    def _keep_example(self, text: str) -> None:
        self.example = self.example or text
