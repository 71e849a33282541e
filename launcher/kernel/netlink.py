"""Netlink messages of one launch: the loopback interface and the local routes of a fresh network namespace.

On the launch path, so without pyroute2 (its import alone costs over 100 ms), `socket` and `struct`.
All functions act on the network namespace of the calling thread and need CAP_NET_ADMIN over it.
"""

from __future__ import annotations

import fcntl
import os
from sys import byteorder

from launcher.kernel import libc

# linux/socket.h and linux/net.h
AF_INET = 2
AF_INET6 = 10
SOCK_DGRAM = 2

# linux/netlink.h
AF_NETLINK = 16
NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLMSG_ERROR = 2
NLA_F_NESTED = 0x8000

# linux/rtnetlink.h
RTM_NEWROUTE = 24
RTA_OIF = 4
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RTN_LOCAL = 2
RT_SCOPE_HOST = 254

# linux/sockios.h and linux/if.h
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFF_RUNNING = 0x40
SIZEOF_IFREQ = 40

LOOPBACK_INDEX = 1  # the kernel registers `lo` first in every namespace (net/core/dev.c, LOOPBACK_IFINDEX)
_REPLY_SIZE = 65536


def u16(value: int) -> bytes:
    """`value` as a __u16 in host byte order."""
    return value.to_bytes(2, byteorder)


def u32(value: int) -> bytes:
    """`value` as a __u32 in host byte order."""
    return value.to_bytes(4, byteorder)


def attribute(kind: int, payload: bytes) -> bytes:
    """struct nlattr and its payload, padded to four bytes (NLA_ALIGN)."""
    return u16(len(payload) + 4) + u16(kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """struct nlmsghdr and its payload, padded to four bytes (NLMSG_ALIGN)."""
    header = u32(len(payload) + 16) + u16(kind) + u16(flags | NLM_F_REQUEST) + u32(sequence) + u32(0)
    return header + payload + bytes(-len(payload) % 4)


def transact(protocol: int, messages: list[bytes], acknowledged: int) -> None:
    """Send `messages` as one datagram and wait for `acknowledged` answers.

    Raises the OSError of the first message that the kernel refuses.
    """
    from _socket import SOCK_CLOEXEC, SOCK_RAW, socket  # its constants are half a millisecond of a launch

    channel = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
    try:
        channel.send(b"".join(messages))
        seen = 0
        while seen < acknowledged:
            seen += _check(channel.recv(_REPLY_SIZE))
    finally:
        channel.close()


def _check(reply: bytes) -> int:
    """Count the acknowledgements in one datagram; raise OSError for a refusal."""
    count, offset = 0, 0
    while offset + 16 <= len(reply):
        length = int.from_bytes(reply[offset : offset + 4], byteorder)
        kind = int.from_bytes(reply[offset + 4 : offset + 6], byteorder)
        if kind == NLMSG_ERROR:
            error = -int.from_bytes(reply[offset + 16 : offset + 20], byteorder, signed=True)
            if error:
                raise OSError(error, os.strerror(error))
            count += 1
        offset += max(16, length + 3 & ~3)
    return count


def loopback_up() -> None:
    """Bring `lo` up, which also adds 127.0.0.1/8 and ::1. Raises OSError (EPERM without CAP_NET_ADMIN)."""
    # ioctl rather than RTM_NEWLINK: one call, and it works where NETLINK_ROUTE sockets are filtered.
    request = bytearray(SIZEOF_IFREQ)
    request[0:2] = b"lo"
    request[16:18] = u16(IFF_UP | IFF_RUNNING)
    control = libc.socket(AF_INET, SOCK_DGRAM)
    try:
        fcntl.ioctl(control, SIOCSIFFLAGS, bytes(request))
    finally:
        os.close(control)


def local_default_routes() -> None:
    """Make every IPv4 and IPv6 address local to this namespace (AnyIP), so that a listener here accepts all of them.

    `lo` must be up. A plain `default dev lo` is not enough: only a route of type local delivers to our own sockets.
    A namespace without IPv6 (ipv6.disable=1) keeps IPv4 alone. Raises OSError when IPv4 cannot be set.
    """
    transact(NETLINK_ROUTE, [_local_default(AF_INET)], 1)
    try:
        transact(NETLINK_ROUTE, [_local_default(AF_INET6)], 1)
    except OSError:
        # No IPv6 in this kernel: there is no IPv6 destination that a job could name either.
        return


def _local_default(family: int) -> bytes:
    # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
    head = bytes((family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL)) + u32(0)
    flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    return message(RTM_NEWROUTE, flags, 1, head + attribute(RTA_OIF, u32(LOOPBACK_INDEX)))
