"""Streams that are taken up again where they broke off: the events of a job, and its log. Without I/O: bytes in, items out.

A feed knows the call that goes on from where it is; `client` and `aio` make that call until the feed has ended.
"""

from typing import Any, Final, Protocol, TypeVar

import httpx

from lmms_eval_client import calls
from lmms_eval_client.calls import Call
from lmms_eval_client.errors import AnswerUnreadable
from lmms_eval_core.json_text import parsed
from lmms_eval_core.wire import JobInfo

ItemT = TypeVar("ItemT")
NumberT = TypeVar("NumberT", int, int | None)

END_EVENT: Final = "end"
STATE_EVENT: Final = "state"
ATTEMPT_HEADER: Final = "X-Log-Attempt"
OFFSET_HEADER: Final = "X-Log-Offset"


class Feed(Protocol[ItemT]):
    """One stream over any number of connections."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""

    def call(self) -> Call[None]:
        """What to ask for next."""

    def opened(self, response: httpx.Response) -> None:
        """The headers of a new connection."""

    def read(self, piece: bytes) -> list[ItemT]:
        """The items that are whole with this piece."""

    def closed(self) -> list[ItemT]:
        """What is left when the server has closed the stream properly."""


class _Lines:
    """Cuts bytes into whole lines, their ends included."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, piece: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line + b"\n" for line in lines]

    def rest(self) -> list[bytes]:
        left, self._rest = self._rest, b""
        return [left] if left else []


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode(errors="replace")


class EventFeed:
    """The states of a job, from the one that it is in to its end."""

    def __init__(self, job_id: str) -> None:
        self.ended = False
        self._job_id = job_id
        self._last_event_id = ""
        self._lines = _Lines()
        self._event: dict[str, str] = {}

    def call(self) -> Call[None]:
        """Goes on after the last event that arrived whole."""
        return calls.events(self._job_id, self._last_event_id)

    def opened(self, response: httpx.Response) -> None:
        """Forgets the half of an event that a broken connection left."""
        self._lines, self._event = _Lines(), {}
        kind = response.headers.get("Content-Type", "")
        if not kind.startswith("text/event-stream"):
            raise AnswerUnreadable(
                f"{response.url} answered with {kind or 'nothing'} instead of events: is it an lmms-eval server?"
            )

    def read(self, piece: bytes) -> list[JobInfo]:
        """The states in it."""
        found = (self._line(_text(line)) for line in self._lines.read(piece))
        return [job for job in found if job is not None]

    def closed(self) -> list[JobInfo]:
        """A stream that was closed without its end is broken."""
        return []

    def _line(self, line: str) -> JobInfo | None:
        """One line of an event; the empty one after it makes it whole. Lines that begin with a colon are signs of life."""
        if not line:
            event, self._event = self._event, {}
            return self._whole(event)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self._event[name] = f"{self._event[name]}\n{value}" if name == "data" and name in self._event else value
        return None

    def _whole(self, event: dict[str, str]) -> JobInfo | None:
        self._last_event_id = event.get("id", self._last_event_id)
        kind = event.get("event")
        self.ended = self.ended or kind == END_EVENT
        return _job(event.get("data", "")) if kind == STATE_EVENT else None


class LogFeed:
    """The lines of one attempt's log. `offset` is how many of its bytes have been read, in whole lines."""

    def __init__(self, job_id: str, *, attempt: int | None, follow: bool, offset: int) -> None:
        self.ended = False
        self.attempt = attempt
        self.offset = offset
        self._job_id = job_id
        self._follow = follow
        self._lines = _Lines()

    def call(self) -> Call[None]:
        """Goes on after the last whole line, in the same attempt's log."""
        params: dict[str, Any] = {"follow": "true"} if self._follow else {}
        if self.attempt is not None:
            params["attempt"] = self.attempt
        if self.offset:
            params["offset"] = self.offset
        return calls.logs(self._job_id, params)

    def opened(self, response: httpx.Response) -> None:
        """Learns which attempt's log it is, as a later one has another; and where it begins, as not all of it may be kept."""
        self._lines = _Lines()
        self.attempt = _number(response.headers.get(ATTEMPT_HEADER), self.attempt)
        self.offset = _number(response.headers.get(OFFSET_HEADER), self.offset)

    def read(self, piece: bytes) -> list[str]:
        """The lines that are whole."""
        lines = self._lines.read(piece)
        self.offset += sum(map(len, lines))
        return [_text(line) for line in lines]

    def closed(self) -> list[str]:
        """The last line may lack its end."""
        self.ended = True
        return [_text(line) for line in self._lines.rest()]


class FileFeed:
    """The bytes of a file. It never changes: a new connection begins at its start, and what has been read is passed over."""

    def __init__(self, job_id: str, path: str) -> None:
        self.ended = False
        self._job_id, self._path = job_id, path
        self._read = self._to_skip = 0

    def call(self) -> Call[None]:
        """The whole file."""
        return calls.file(self._job_id, self._path)

    def opened(self, response: httpx.Response) -> None:
        """From its start."""
        self._to_skip = self._read

    def read(self, piece: bytes) -> list[bytes]:
        """What is new of it."""
        new = piece[self._to_skip :]
        self._to_skip -= len(piece) - len(new)
        self._read += len(new)
        return [new] if new else []

    def closed(self) -> list[bytes]:
        """The end of the file."""
        self.ended = True
        return []


def _number(text: str | None, known: NumberT) -> int | NumberT:
    return int(text) if text and text.isascii() and text.isdigit() else known


def _job(data: str) -> JobInfo:
    try:
        return JobInfo.model_validate(parsed(data.encode()))
    except ValueError as error:
        raise AnswerUnreadable(f"An event that is no state of a job: {error}") from error
