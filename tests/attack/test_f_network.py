"""Attacks 61 to 79 without a grant of the network: nothing is reachable. The proxy's own cases are tests/egress'."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.attack.report import CAPABILITIES, Report, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandboxed import Host

PROBE = "network"


class Services:
    """What the host offers: TCP on its loopback, an abstract socket, and one in the granted tree."""

    def __init__(self, host: Host) -> None:
        self.listeners = [self._tcp(socket.AF_INET, "127.0.0.1"), self._tcp(socket.AF_INET6, "::1")]
        ports = " ".join(str(made.getsockname()[1]) for made in self.listeners)
        host.write("in/host-ports", ports)
        self.path = os.path.join(host.workspace, "in/host.sock")
        for kind, address in ((socket.SOCK_STREAM, "\0mlsandbox-attack-abstract"), (socket.SOCK_STREAM, self.path)):
            made = socket.socket(socket.AF_UNIX, kind)
            made.bind(address)
            made.listen()
            self.listeners.append(made)
        os.chmod(self.path, 0o777)
        for listener in self.listeners:
            listener.setblocking(False)

    @staticmethod
    def _tcp(family: socket.AddressFamily, address: str) -> socket.socket:
        made = socket.socket(family)
        made.bind((address, 0))
        made.listen()
        return made

    def visitors(self) -> int:
        count = 0
        for listener in self.listeners:
            try:
                listener.accept()[0].close()
                count += 1
            except BlockingIOError:
                continue
        return count

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        os.unlink(self.path)


@pytest.fixture(scope="module")
def services(attacked: Host) -> Iterator[Services]:
    made = Services(attacked)
    yield made
    made.close()


@pytest.fixture(scope="module")
def report(attacked: Host, services: Services) -> Report:
    return Report.of(attacked, PROBE)


def test_f61_addresses_of_the_world_and_the_lan(report: Report) -> None:
    report.all("f61", "ENETUNREACH", "EINVAL", "EPERM")


def test_f63_services_on_the_hosts_loopback(report: Report, services: Services) -> None:
    report.all("f63", "ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL")
    assert report["f63b.own_loopback_works"] == "ok"
    assert report["f63c.interfaces"] == "lo"
    assert services.visitors() == 0


def test_f64_connecting_by_other_calls(report: Report) -> None:
    report.all("f64", "ENETUNREACH")


def test_f72_no_name_is_resolved(report: Report) -> None:
    report.all("f72", "-3", "-2")


def test_f73_other_kinds_of_sockets(report: Report) -> None:
    report.all("f73", "EPERM", "EAFNOSUPPORT")
    report.all("f73b", "EPERM")


def test_f74_unix_sockets_of_the_host(report: Report, services: Services) -> None:
    report.all("f74", "EPERM", "ECONNREFUSED", "ENOENT")
    assert services.visitors() == 0


def test_f75_a_socket_in_a_granted_tree(report: Report, services: Services) -> None:
    """The tree is mounted whole, so the name is there; what reaches it is refused (kernel-facts 5)."""
    assert report["f75b.socket_in_a_granted_tree"] == "socket"
    assert report["f75.reconnect_a_pair"] in {"EISCONN", "EPERM", "EINVAL"}
    assert services.visitors() == 0


def test_f76_standard_streams_are_never_the_callers(report: Report, attacked: Host, services: Services) -> None:
    """The caller's standard input is a socket to a service; the job gets a pipe."""
    assert report["f76.standard_streams"] == "pipes"
    attacked.policy(CAPABILITIES)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        job = subprocess.Popen(
            attacked.command("launch", "--", *program(PROBE, "f76")),
            stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=theirs.fileno(), cwd=attacked.workspace, **attacked.drop(),
        )  # fmt: skip
        told = job.communicate(timeout=60)[0]
    assert told == b"f76.standard_streams\tpipes\n"


def test_f78_proxy_variables_are_not_taken_over(report: Report) -> None:
    report.all("f78", "none")
