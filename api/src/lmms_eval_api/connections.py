"""How long a connection may keep us waiting: for a request to arrive, for its answer to be taken, for a sign of life.

uvicorn has a time-out for idle connections alone. Beneath it, this one closes those that are slow to say what they want, those
that read nothing of what they asked for, and those whose other end is gone without a word.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

# An answer of which nothing is taken for so long is given up.
ANSWER_SECONDS: Final = 120.0
# A peer that answers no probe is gone: after 30 s of silence, three probes at 10 s.
PROBES: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
DETAIL: Final = (
    b'{"type":"about:blank","title":"Request Timeout","status":408,"detail":"The request did not arrive in time; send it again."}'
)
TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(DETAIL), DETAIL)
)


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


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with deadlines. Made by `protocol`."""

    request_seconds: ClassVar[float]
    answer_seconds: ClassVar[float]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        """Starts to wait for the first request."""
        super().connection_made(transport)
        self._arrival, self._departure = Deadline(), Deadline()
        _probe(transport)
        self._arrival.start(self.request_seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Some of a request: goes on waiting until all of it is there. A trickle gains no time."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
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

    def _give_up(self) -> None:
        if self.cycle is not None and not self.cycle.response_started:
            # The application is waiting for the body, and is told that nobody is there any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.write(TOO_SLOW)
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
