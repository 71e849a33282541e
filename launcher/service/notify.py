"""Telling systemd how the service is: sd_notify(3), one datagram to the socket that it names."""

from __future__ import annotations

import _socket
import os

READY = "READY=1"
STOPPING = "STOPPING=1"


class Notifier:
    """Tells nobody where systemd did not start us. The variable is taken out: what we start is not the service."""

    __slots__ = ("_address",)

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")

    def tell(self, state: str) -> None:
        """Never raises: a service that nobody listens to serves as well."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            socket.sendto(state.encode(), address)
        except OSError:
            return
        finally:
            socket.close()
