"""Streams that are resumed where they broke: the events of a job, its answers, its log, a file.

Without I/O: bytes in, items out.

A feed knows the call that goes on from where it is; `client` and `aio` make that call until the feed has ended.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import httpx

from lmms_eval_client import calls
from lmms_eval_client.calls import JSON, Call
from lmms_eval_client.errors import AnswerUnreadable
from lmms_eval_core.json_text import parse_json
from lmms_eval_core.wire import JobInfo, SamplePage

ItemT = TypeVar("ItemT")
NumberT = TypeVar("NumberT", int, int | None)

END_EVENT: Final = "end"
STATE_EVENT: Final = "state"
ANSWERS_EVENT: Final = "answers"
ATTEMPT_HEADER: Final = "X-Log-Attempt"
OFFSET_HEADER: Final = "X-Log-Offset"


class StreamFeed(Protocol[ItemT]):
    """One stream over any number of connections."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""

    def make_call(self) -> Call[None]:
        """Return the call that continues the stream."""

    def start_connection(self, response: httpx.Response) -> None:
        """Read the headers of a new connection."""

    def read(self, piece: bytes) -> list[ItemT]:
        """Return the items that are whole with this piece."""

    def finish_connection(self) -> list[ItemT]:
        """Return what is left when the server has closed the stream properly."""


class _LineCutter:
    """Cuts bytes into whole lines, their ends included."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, piece: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line + b"\n" for line in lines]

    def take_rest(self) -> list[bytes]:
        left, self._rest = self._rest, b""
        return [left] if left else []


def _decode_line(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode(errors="replace")


class _EventReader(Generic[ItemT]):
    """Items of server-sent events of one kind, until the event `end`. `parse` reads the data of an event."""

    def __init__(self, kind: str, parse: Callable[[str], list[ItemT]]) -> None:
        self.ended = False
        self.last_event_id = ""
        self._kind = kind
        self._parse = parse
        self._lines = _LineCutter()
        self._event: dict[str, str] = {}

    def start_connection(self, response: httpx.Response) -> None:
        """Forget the half of an event that a broken connection left."""
        self._lines, self._event = _LineCutter(), {}
        kind = response.headers.get("Content-Type", "")
        if not kind.startswith("text/event-stream"):
            raise AnswerUnreadable(
                f"{response.url} answered with {kind or 'nothing'} instead of events: is it an lmms-eval server?"
            )

    def read(self, piece: bytes) -> list[ItemT]:
        """Return the items of the events that are whole with this piece."""
        return [item for line in self._lines.read(piece) for item in self._read_line(_decode_line(line))]

    def finish_connection(self) -> list[ItemT]:
        """Return nothing: a stream that was closed without its end is broken."""
        return []

    def _read_line(self, line: str) -> list[ItemT]:
        """Read one line of an event, which an empty line ends. Lines that begin with a colon keep the stream alive."""
        if not line:
            event, self._event = self._event, {}
            return self._finish_event(event)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self._event[name] = f"{self._event[name]}\n{value}" if name == "data" and name in self._event else value
        return []

    def _finish_event(self, event: dict[str, str]) -> list[ItemT]:
        self.last_event_id = event.get("id", self.last_event_id)
        kind = event.get("event")
        self.ended = self.ended or kind == END_EVENT
        return self._parse(event.get("data", "")) if kind == self._kind else []


class EventFeed(_EventReader[JobInfo]):
    """The states of a job, from the one that it is in to its end."""

    def __init__(self, job_id: str) -> None:
        super().__init__(STATE_EVENT, _parse_job)
        self._job_id = job_id

    def make_call(self) -> Call[None]:
        """Return the call that continues after the last event that arrived whole."""
        return calls.events(self._job_id, self.last_event_id)


class AnswerFeed(_EventReader[JSON]):
    """The answers of a task, those so far and those to come, until the job has ended."""

    def __init__(self, job_id: str, task: str) -> None:
        super().__init__(ANSWERS_EVENT, _parse_answers)
        self._job_id, self._task = job_id, task

    def make_call(self) -> Call[None]:
        """Return the call that continues after the last event that arrived whole."""
        return calls.answers(self._job_id, self._task, self.last_event_id)


class LogFeed:
    """The lines of one attempt's log. `offset` is how many of its bytes have been read, in whole lines."""

    def __init__(self, job_id: str, *, attempt: int | None, follow: bool, offset: int) -> None:
        self.ended = False
        self.attempt = attempt
        self.offset = offset
        self._job_id = job_id
        self._follow = follow
        self._lines = _LineCutter()

    def make_call(self) -> Call[None]:
        """Return the call that continues after the last whole line, in the same attempt's log."""
        params: dict[str, Any] = {"follow": "true"} if self._follow else {}
        if self.attempt is not None:
            params["attempt"] = self.attempt
        if self.offset:
            params["offset"] = self.offset
        return calls.logs(self._job_id, params)

    def start_connection(self, response: httpx.Response) -> None:
        """Read which attempt's log it is, as a later one has another; and where it begins, as not all of it may be
        kept.
        """
        self._lines = _LineCutter()
        self.attempt = _parse_number(response.headers.get(ATTEMPT_HEADER), self.attempt)
        self.offset = _parse_number(response.headers.get(OFFSET_HEADER), self.offset)

    def read(self, piece: bytes) -> list[str]:
        """Return the lines that are whole with this piece."""
        lines = self._lines.read(piece)
        self.offset += sum(map(len, lines))
        return [_decode_line(line) for line in lines]

    def finish_connection(self) -> list[str]:
        """Return the last line, which may lack its end."""
        self.ended = True
        return [_decode_line(line) for line in self._lines.take_rest()]


class FileFeed:
    """The bytes of a file.

    It never changes: a new connection begins at its start, and what has been read is skipped.
    """

    def __init__(self, call: Call[None]) -> None:
        self.ended = False
        self._call = call
        self._read = self._to_skip = 0

    def make_call(self) -> Call[None]:
        """Return the call for the whole file."""
        return self._call

    def start_connection(self, response: httpx.Response) -> None:
        """Skip from its start what has been read."""
        self._to_skip = self._read

    def read(self, piece: bytes) -> list[bytes]:
        """Return what is new of the file."""
        new = piece[self._to_skip :]
        self._to_skip -= len(piece) - len(new)
        self._read += len(new)
        return [new] if new else []

    def finish_connection(self) -> list[bytes]:
        """Return nothing: the file has ended."""
        self.ended = True
        return []


def _parse_number(text: str | None, known: NumberT) -> int | NumberT:
    return int(text) if text and text.isascii() and text.isdigit() else known


def _parse_job(data: str) -> list[JobInfo]:
    try:
        return [JobInfo.model_validate(parse_json(data.encode()))]
    except ValueError as error:
        raise AnswerUnreadable(f"An event that is no state of a job: {error}") from error


def _parse_answers(data: str) -> list[JSON]:
    try:
        return SamplePage.model_validate(parse_json(data.encode())).samples
    except ValueError as error:
        raise AnswerUnreadable(f"An event without answers: {error}") from error
