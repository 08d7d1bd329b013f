"""Connections to one destination that stay open for its next message: a handshake a message is most of what sending costs.

The address of a connection was checked when it was made, and a name that moves does not move it. It is used for
LONGEST_SECONDS at most, and only while it was used IDLE_SECONDS ago: receivers end idle ones after 5 s and more.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from dataclasses import dataclass

IDLE_SECONDS, LONGEST_SECONDS = 2.0, 30.0


@dataclass(frozen=True)
class Connection:
    """A connected socket, under TLS where the destination is, made at `since` of time.monotonic."""

    sock: socket.socket
    since: float


class KeptConnections:
    """Of one destination, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[tuple[float, Connection]] = []
        self._closed = False

    def take(self) -> Connection | None:
        """The one used last, that nobody else gets until it is given back; None without a good one."""
        now = time.monotonic()
        with self._lock:
            while self._free:
                used, connection = self._free.pop()
                if now - used <= IDLE_SECONDS and now - connection.since <= LONGEST_SECONDS and _is_open(connection):
                    return connection
                connection.sock.close()
        return None

    def give(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        now = time.monotonic()
        with self._lock:
            while self._free and now - self._free[0][0] > IDLE_SECONDS:
                self._free.pop(0)[1].sock.close()
            if self._closed:
                connection.sock.close()
            else:
                self._free.append((now, connection))

    def close(self) -> None:
        """End those that nobody uses, and from now on those that are given back."""
        with self._lock:
            self._closed = True
            while self._free:
                self._free.pop()[1].sock.close()


def _is_open(connection: Connection) -> bool:
    """Whether nothing came that nobody asked for: above all the end of the connection."""
    try:
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        return not poll.poll(0)
    except (OSError, ValueError):
        return False
