"""Group F without the proxy, from inside: nothing but the job's own loopback can be reached."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from tests.attack.probes.harness import add, case, outcome, raw, syscalls

TIMEOUT = 1.0
ADDRESSES = (
    ("192.0.2.1", 80), ("1.1.1.1", 53), ("10.0.0.1", 22), ("172.17.0.1", 2375), ("192.168.0.1", 80), ("169.254.169.254", 80),
    ("100.100.100.200", 80), ("168.63.129.16", 80), ("255.255.255.255", 7), ("224.0.0.251", 5353),
    ("2001:db8::1", 80), ("fd00:ec2::254", 80), ("::ffff:169.254.169.254", 80), ("64:ff9b::7f00:1", 80), ("2002:7f00:1::1", 80),
    ("fe80::1", 80),
)  # fmt: skip


def connect(address: tuple[str, int], kind: socket.SocketKind) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, kind) as made:
        made.settimeout(TIMEOUT)
        made.connect(address)


for _address in ADDRESSES:
    add(f"f61.tcp {_address[0]}", connect, _address, socket.SOCK_STREAM)
    add(f"f61.udp {_address[0]}", connect, _address, socket.SOCK_DGRAM)


def host_ports() -> list[int]:
    """The ports that the test listens on, on the host's loopback."""
    with open("in/host-ports", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def one_of(address: str) -> str:
    ports = host_ports()
    told = {outcome(lambda port=port: connect((address, port), socket.SOCK_STREAM)) for port in ports}  # type: ignore[misc]
    return ",".join(sorted(told))


for _local in ("127.0.0.1", "::1", "0.0.0.0", "::", "127.0.0.2"):
    add(f"f63.loopback {_local}", one_of, _local)


@case("f63b.own_loopback_works")
def own_loopback() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        socket.create_connection(listener.getsockname()).close()


@case("f63c.interfaces")
def interfaces() -> str:
    return ",".join(sorted(name for _, name in socket.if_nameindex()))


@case("f64.fast_open")
def fast_open() -> None:
    """connect by sendto(MSG_FASTOPEN)."""
    with socket.socket() as made:
        made.sendto(b"x", 0x20000000, ("192.0.2.1", 80))


@case("f72.resolve")
def resolve() -> None:
    socket.getaddrinfo("secret.evil.test", 80)


@case("f72.resolve_metadata")
def resolve_metadata() -> None:
    socket.getaddrinfo("metadata.google.internal", 80)


FAMILIES = {
    "UNIX": 1, "AX25": 3, "IPX": 4, "APPLETALK": 5, "X25": 9, "KEY": 15, "PACKET": 17, "RDS": 21, "LLC": 26, "CAN": 29, "TIPC": 30,
    "BLUETOOTH": 31, "IUCV": 32, "RXRPC": 33, "ISDN": 34, "PHONET": 35, "IEEE802154": 36, "CAIF": 37, "ALG": 38, "NFC": 39,
    "VSOCK": 40, "KCM": 41, "QIPCRTR": 42, "SMC": 43, "XDP": 44, "MCTP": 45,
}  # fmt: skip
for _name, _number in FAMILIES.items():
    for _type in (1, 2, 3, 5):
        add(f"f73.socket {_name} {_type}", raw, "socket", _number, _type, 0)
syscalls("f73", {
    "socket/raw_icmp": (2, 3, 1), "socket/raw": (2, 3, 255), "socket/raw6": (10, 3, 58), "socket/icmp_datagram": (2, 2, 1),
    "socket/mptcp": (2, 1, 262), "socket/sctp": (2, 1, 132), "socket/udplite": (2, 2, 136), "socket/dccp": (2, 6, 33),
    "socket/packet_cooked": (17, 2, 0x300), "socket/smc_over_inet": (2, 1, 256),
})  # fmt: skip
for _protocol in (1, 2, 4, 5, 6, 9, 10, 11, 12, 14, 15, 16, 18, 19, 20, 21):
    add(f"f73.netlink {_protocol}", raw, "socket", 16, 3, _protocol)


@case("f73b.netlink_changes_nothing")
def netlink_change() -> str:
    """A new address by route netlink, which is there for listing: refused by the kernel without a capability."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as made:
        body = struct.pack("BBBBi", 2, 24, 0, 0, 1) + struct.pack("HH4s", 8, 2, socket.inet_aton("192.0.2.9"))
        made.send(struct.pack("IHHII", 16 + len(body), 20, 0x605, 1, 0) + body)
        answer = made.recv(4096)
        number = -int(struct.unpack_from("i", answer, 16)[0])
        if number:
            raise OSError(number, os.strerror(number))
        return "ok"


def pathname_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(path)


for _path in (
    "\0mlsandbox-attack-abstract",
    "in/host.sock",
    "/run/docker.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
):
    add(f"f74.connect {_path.strip(chr(0))}", pathname_socket, _path)


@case("f75.reconnect_a_pair")
def reconnect_pair() -> None:
    """A datagram pair could be connected again, to a path; so there is none, and a stream pair cannot."""
    left, _right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    left.connect("in/host.sock")


@case("f75.send_on_a_pair")
def send_on_pair() -> None:
    left, _right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.sendto(b"x", "in/host.sock")


@case("f75b.socket_in_a_granted_tree")
def socket_in_tree() -> str:
    import stat

    return "socket" if stat.S_ISSOCK(os.stat("in/host.sock").st_mode) else "not a socket"


@case("f76.standard_streams")
def standard_streams() -> str:
    """What is handed to the job is a pipe of the supervisor's, whatever the caller's own descriptors are."""
    import stat

    kinds = {stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in (0, 2)}
    return "pipes" if kinds == {True} else "others"


add("f78.proxy_variables", lambda: ",".join(sorted(name for name in os.environ if "proxy" in name.lower())) or "none")
assert ctypes.sizeof(ctypes.c_long) == 8
