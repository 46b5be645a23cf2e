"""How long a connection may keep us waiting: for a request to arrive, for its answer to be taken, for a sign of life.

uvicorn has a time-out for idle connections alone, and its fast parser no limit of headers. Beneath it, this one closes those
that are slow to say what they want, those that say too much before they come to it, those that read nothing of what they
asked for, and those whose other end is gone without a word.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# An answer of which nothing is taken for so long is given up.
ANSWER_SECONDS: Final = 120.0
# A peer that answers no probe is gone: after 30 s of silence, three probes at 10 s.
PROBES: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
# Of the request line and the headers; what arrives at once may be a little more.
MAX_HEAD_BYTES: Final = 64 * 1024


def _refusal(status: int, title: str, detail: str) -> bytes:
    problem = f'{{"type":"about:blank","title":"{title}","detail":"{detail}"}}'
    fields = f"Connection: close\r\nContent-Type: application/problem+json\r\nContent-Length: {len(problem)}"
    return f"HTTP/1.1 {status} {title}\r\n{fields}\r\n\r\n{problem}".encode()


TOO_SLOW: Final = _refusal(408, "Request Timeout", "The request did not arrive in time; send it again.")
TOO_LARGE: Final = _refusal(431, "Request Header Fields Too Large", "The path and the headers are too long; send less.")


class Deadline:
    """At most one timer. Starting it again gains no time."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, act: Callable[[], None]) -> None:
        """Acts after `seconds`, unless it is stopped."""
        self._timer = self._timer or asyncio.get_running_loop().call_later(seconds, act)

    def stop(self) -> None:
        """Does not act."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 with deadlines and a limit. Made by `protocol`."""

    request_seconds: ClassVar[float]
    answer_seconds: ClassVar[float]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Starts to wait for the first request."""
        super().connection_made(transport)
        self._arrival, self._departure = Deadline(), Deadline()
        self._head: int | None = 0
        _probe(transport)
        self._arrival.start(self.request_seconds, self._give_up)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = 0

    def on_headers_complete(self) -> None:
        """It has said what it wants."""
        super().on_headers_complete()
        self._head = None

    def data_received(self, data: bytes) -> None:
        """Some of a request: goes on waiting until all of it is there. A trickle gains no time."""
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES:
                return self._hang_up(TOO_LARGE if self._at_rest else b"")
        if self._at_rest or self.cycle.more_body:
            self._arrival.start(self.request_seconds, self._give_up)
        else:
            self._arrival.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._arrival.stop()
        self._departure.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The other end takes nothing for now."""
        super().pause_writing()
        self._depart()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._departure.stop()

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection."""
        super().timeout_keep_alive_handler()
        self._depart()

    @property
    def _at_rest(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _give_up(self) -> None:
        if self._at_rest:
            return self._hang_up()
        # The application is waiting for the body, and is told that nobody is there any more.
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        # Nothing is said into the middle of an answer, this one's or the one's before it.
        self._hang_up(b"" if self.cycle.response_started or self.pipeline else TOO_SLOW)

    def _hang_up(self, last_words: bytes = b"") -> None:
        if not self.transport.is_closing():
            self.transport.write(last_words)
        self.transport.close()
        self._depart()

    def _depart(self) -> None:
        self._departure.start(self.answer_seconds, self.transport.abort)


def protocol(*, request_seconds: float, answer_seconds: float = ANSWER_SECONDS) -> type[PatientProtocol]:
    """The protocol for uvicorn, with this much time for a request to arrive, and for its answer to be taken."""
    return type("Protocol", (PatientProtocol,), {"request_seconds": request_seconds, "answer_seconds": answer_seconds})


def _probe(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in PROBES:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
