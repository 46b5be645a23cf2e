"""Ports for servers that tests start."""

import socket
from collections import deque
from typing import Final

# More than the servers of one test, which may start them again at their ports.
RESERVED: Final = 64

_reservations: Final[deque[socket.socket]] = deque()


def find_free_port() -> int:
    """Return a port on loopback that nobody listens on, and that nobody else is given before the server has it.

    The socket stays bound, without listening: the kernel gives its port to no other program that asks for any, and
    lets a server listen on it that sets SO_REUSEADDR, as servers do.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    _reservations.append(reservation)
    if len(_reservations) > RESERVED:
        _reservations.popleft().close()
    return int(reservation.getsockname()[1])
