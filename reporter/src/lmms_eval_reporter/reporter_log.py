"""The reporter's own log: one JSON object a line on standard error, names of things always under the same keys."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, TextIO


class ReporterLog:
    """Writes events. Values are names, numbers and our own sentences; never a secret or a prompt."""

    def __init__(self, stream: TextIO | None = None, **always: Any) -> None:
        self._stream = stream or sys.stderr
        self._always = always

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one line at once."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **self._always, **fields}
        print(json.dumps(line, default=str), file=self._stream, flush=True)
