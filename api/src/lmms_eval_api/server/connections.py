"""Time limits of a connection: for a request to arrive, for its response to be read, and for a sign of life.

uvicorn limits the time of idle connections alone, and its fast parser does not limit headers. This protocol closes
connections that are slow to send a request or send too large a head, those that do not read the response, and those
whose peer is gone.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# A response of which nothing is read for this long is aborted.
ANSWER_SECONDS: Final = 120.0
# A peer that answers no probe is gone: after 30 s of silence, three probes in intervals of 10 s.
PROBES: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
# Of request line and headers; what arrives at once may be a little more.
MAX_HEAD_BYTES: Final = 64 * 1024


def _make_refusal(status: int, title: str, detail: str) -> bytes:
    problem = f'{{"type":"about:blank","title":"{title}","detail":"{detail}"}}'
    fields = f"Connection: close\r\nContent-Type: application/problem+json\r\nContent-Length: {len(problem)}"
    return f"HTTP/1.1 {status} {title}\r\n{fields}\r\n\r\n{problem}".encode()


TOO_SLOW: Final = _make_refusal(408, "Request Timeout", "The request did not arrive in time; send it again.")
TOO_LARGE: Final = _make_refusal(
    431,
    "Request Header Fields Too Large",
    "The path and the headers are too long; send less.",
)


class ConnectionDeadline:
    """At most one timer. Starting it again does not extend it."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after `seconds`, unless stopped."""
        self._timer = self._timer or asyncio.get_running_loop().call_later(seconds, act)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DeadlineProtocol(HttpToolsProtocol):
    """HTTP/1.1 with deadlines and a limit of the head. Made by `make_protocol`."""

    request_seconds: ClassVar[float]
    answer_seconds: ClassVar[float]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._arrival, self._departure = ConnectionDeadline(), ConnectionDeadline()
        self._head: int | None = 0
        _enable_probes(transport)
        self._arrival.start(self.request_seconds, self._time_out)

    def on_message_begin(self) -> None:
        """Start to count the head of a request."""
        super().on_message_begin()
        self._head = 0

    def on_headers_complete(self) -> None:
        """Stop counting: the head is complete."""
        super().on_headers_complete()
        self._head = None

    def data_received(self, data: bytes) -> None:
        """Keep waiting until all of the request has arrived. A trickle does not extend the deadline."""
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES:
                return self._hang_up(TOO_LARGE if self._is_idle else b"")
        if self._is_idle or self.cycle.more_body:
            self._arrival.start(self.request_seconds, self._time_out)
        else:
            self._arrival.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._arrival.stop()
        self._departure.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start to wait for the peer, which reads nothing for now."""
        super().pause_writing()
        self._start_departure()

    def resume_writing(self) -> None:
        """Stop waiting: the peer reads again."""
        super().resume_writing()
        self._departure.stop()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._start_departure()

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _time_out(self) -> None:
        if self._is_idle:
            return self._hang_up()
        # The application waits for the body, and is told that the peer has disconnected.
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        # Nothing may be sent into the middle of a response, this one or an earlier one of the pipeline.
        self._hang_up(b"" if self.cycle.response_started or self.pipeline else TOO_SLOW)

    def _hang_up(self, last_words: bytes = b"") -> None:
        if not self.transport.is_closing():
            self.transport.write(last_words)
        self.transport.close()
        self._start_departure()

    def _start_departure(self) -> None:
        self._departure.start(self.answer_seconds, self.transport.abort)


def make_protocol(*, request_seconds: float, answer_seconds: float = ANSWER_SECONDS) -> type[DeadlineProtocol]:
    """Return the protocol for uvicorn, with the seconds for a request to arrive, and for its response to be read."""
    return type("Protocol", (DeadlineProtocol,), {"request_seconds": request_seconds, "answer_seconds": answer_seconds})


def _enable_probes(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in PROBES:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
