"""Whether the kernel's audit is on: AUDIT_GET over netlink (<linux/audit.h>). Asking changes nothing."""

from __future__ import annotations

import os
import socket

_NETLINK_AUDIT = 9
_AUDIT_GET = 1000
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_HEADER = 16
_TIMEOUT = 0.5
_STATES = {0: "off", 1: "on", 2: "on"}  # 2: on and locked until reboot


def ask() -> str:
    """Returns "on" or "off". Raises OSError.

    EPERM without CAP_AUDIT_CONTROL in the initial user namespace, EPROTONOSUPPORT where audit is not built in,
    ECONNREFUSED in a network namespace without it, TimeoutError (an OSError) after half a second of silence.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_AUDIT) as channel:
        channel.settimeout(_TIMEOUT)
        channel.bind((0, 0))
        # struct nlmsghdr {len, type, flags, seq, pid}
        request = b"".join(
            (
                n.to_bytes(size, "little")
                for n, size in ((_HEADER, 4), (_AUDIT_GET, 2), (_NLM_F_REQUEST, 2), (1, 4), (0, 4))
            )
        )
        channel.sendto(request, (0, 0))
        return _state(channel.recv(4096))


def _state(reply: bytes) -> str:
    kind = int.from_bytes(reply[4:6], "little")
    if kind == _NLMSG_ERROR:
        number = -int.from_bytes(reply[_HEADER : _HEADER + 4], "little", signed=True)
        raise OSError(number, os.strerror(number))
    # struct audit_status {mask, enabled, ...}
    return _STATES.get(int.from_bytes(reply[_HEADER + 4 : _HEADER + 8], "little"), "unknown")
