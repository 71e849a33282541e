"""The job's side of egress: loopback, routes and listening sockets inside its network namespace. [L]

Run by the process that builds the sandbox, in the new namespace, before capabilities are dropped. The sockets then
travel to the proxy, which stays outside: with the proxy gone there is nothing to connect to, so the network is closed.
"""

from __future__ import annotations

import os
from _socket import (
    AF_INET,
    AF_INET6,
    CMSG_SPACE,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SCM_RIGHTS,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from sys import byteorder

from launcher.egress.ports import opened_ports, ports_in
from launcher.errors import EnforcementError
from launcher.kernel import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from launcher.capability.glob import Interval
    from launcher.capability.grant import Grant

    Spec = tuple[str, int, str, int]  # kind, family, address, port
    Listener = tuple[str, int]  # kind, descriptor

DNS_PORT = 53
PROXY_PORT = 3128  # the registered squid port: where people look for a proxy
REDIRECT_PORT = 15001  # what nft redirects every other connection to
ALWAYS = ((80, 80), (443, 443))  # listeners without nft, granted or not: a refusal there can be read (403, TLS alert)
BACKLOG = 512
MAX_PORTS = 100  # two sockets each, and the kernel passes 253 descriptors in one message (SCM_MAX_FD)
_ANY = ((AF_INET, "0.0.0.0"), (AF_INET6, "::"))  # noqa: S104  inside the job's namespace that is its own loopback
_LOCAL = ((AF_INET, "127.0.0.1"), (AF_INET6, "::1"))

PROXY_URL = f"http://127.0.0.1:{PROXY_PORT}"
SOCKS_URL = f"socks5h://127.0.0.1:{PROXY_PORT}"
# Both spellings: curl reads only http_proxy in lower case, others only upper case. The job's loopback stays direct.
ENVIRONMENT = {
    name: value
    for lower, value in (
        ("http_proxy", PROXY_URL),
        ("https_proxy", PROXY_URL),
        ("all_proxy", SOCKS_URL),
        ("no_proxy", "localhost,127.0.0.1,::1"),
    )
    for name in (lower, lower.upper())
}
RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:2 edns0\n"


def plan(grants: Iterable[Grant], *, redirect: bool) -> list[Spec]:
    """The sockets for these grants. With `redirect` nft brings every connection to one port, else each port has one."""
    everywhere, local = opened_ports(grants)
    ports = _ports(local if redirect else [*everywhere, *ALWAYS])
    specs: list[Spec] = []
    for family, address in _LOCAL:
        specs.append(("dns-udp", family, address, DNS_PORT))
        specs.append(("dns-tcp", family, address, DNS_PORT))
        specs.append(("proxy", family, address, PROXY_PORT))
    if redirect:
        specs += [("tcp", family, address, REDIRECT_PORT) for family, address in _LOCAL]
        specs += [("tcp", family, address, port) for port in ports for family, address in _LOCAL]
    else:
        specs += [("tcp", family, address, port) for port in ports for family, address in _ANY]
    return specs


def _ports(ranges: list[Interval]) -> list[int]:
    found = ports_in(ranges, MAX_PORTS)
    if found is None:
        hint = (
            "grant fewer ports, or let the kernel have nf_tables, with which ports of other hosts need no listener each"
        )
        raise EnforcementError("listen on", f"more than {MAX_PORTS} ports", hint=hint)
    return [port for port in found if port not in {PROXY_PORT, DNS_PORT, REDIRECT_PORT}]


def build(grants: Iterable[Grant], *, loopback: bool = True) -> list[Listener]:
    """Bring the namespace of this thread up and open its listeners. Raises EnforcementError.

    nft is a convenience (readable refusals on every port, DNS to any server answered): where the kernel has no
    nf_tables, listeners stand on the granted ports instead. Neither is the wall; the missing interface is. Without
    `loopback`, what the processes of the job could say to each other there is refused too, which only nft can do.
    """
    grants = list(grants)
    _step("bring up", "the loopback interface", netlink.loopback_up)
    _step("route", "all addresses to loopback", netlink.local_default_routes)
    specs = plan(grants, redirect=True)
    own = None if loopback else [port for kind, _, _, port in specs if kind != "dns-udp"]
    return open_listeners(specs if _redirect(own) else plan(grants, redirect=False))


def _redirect(own: list[int] | None) -> bool:
    from launcher.kernel import nft

    try:
        nft.install(nft.redirect_rules(DNS_PORT, REDIRECT_PORT, own))
    except OSError as error:
        if own is not None:
            hint = "let the kernel have nf_tables, or grant network.loopback"
            raise EnforcementError("take away", "the job's own loopback", error.errno or 0, hint=hint) from error
        return False
    return True


def open_listeners(specs: Iterable[Spec]) -> list[Listener]:
    """Bound and listening, in the order of `specs`, IPv4 alone where there is no IPv6. Raises EnforcementError."""
    listeners: list[Listener] = []
    for kind, family, address, port in specs:
        try:
            listeners.append((kind, _open(kind, family, address, port)))
        except OSError as error:
            if family == AF_INET6:
                continue  # without IPv6 there is no such destination either
            for _, fd in listeners:
                os.close(fd)
            raise EnforcementError("listen on", f"{address}:{port} for egress", error.errno or 0) from error
    return listeners


def _open(kind: str, family: int, address: str, port: int) -> int:
    datagram = kind == "dns-udp"
    sock = socket(family, (SOCK_DGRAM if datagram else SOCK_STREAM) | SOCK_CLOEXEC, 0)
    try:
        if not datagram:
            sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        if family == AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        sock.bind((address, port))
        if not datagram:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock.detach()


def _step(step: str, subject: str, call: Callable[[], None]) -> None:
    try:
        call()
    except OSError as error:
        hint = "the namespace must be new and CAP_NET_ADMIN held over it"
        raise EnforcementError(step, subject, error.errno or 0, hint=hint) from error


def send_listeners(channel: socket, listeners: Iterable[Listener]) -> None:
    """Pass listeners over a Unix stream socket; the copies here are closed. Raises OSError."""
    listeners = list(listeners)
    kinds = " ".join([kind for kind, _ in listeners]).encode("ascii")
    fds = b"".join([fd.to_bytes(4, byteorder) for _, fd in listeners])
    channel.sendmsg([kinds or b" "], [(SOL_SOCKET, SCM_RIGHTS, fds)] if fds else [])
    for _, fd in listeners:
        os.close(fd)


def receive_listeners(channel: socket) -> list[Listener]:
    """The other end of send_listeners. Raises OSError when the sender has gone, or the descriptors do not fit."""
    # SCM_MAX_FD (net/scm.h) is 253: the kernel passes no more in one message.
    data, ancillary, flags, _ = channel.recvmsg(65536, CMSG_SPACE(253 * 4))
    kinds = data.decode("ascii").split()
    raw = b"".join([piece for level, kind, piece in ancillary if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)])
    fds = [int.from_bytes(raw[at : at + 4], byteorder) for at in range(0, len(raw), 4)]
    if not data or len(fds) != len(kinds) or flags & 8:  # MSG_CTRUNC
        for fd in fds:
            os.close(fd)
        raise OSError(71, "listeners of the sandbox did not arrive")  # EPROTO
    for fd in fds:
        os.set_inheritable(fd, False)
    return list(zip(kinds, fds, strict=True))
