"""launcher.kernel.netlink against the real kernel, in namespaces made for the purpose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNSHARE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]


def in_namespace(code: str) -> str:
    program = f"import sys; sys.path.insert(0, {ROOT!r}); from launcher.kernel import netlink\n{code}"
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.kernel
def test_loopback_comes_up_with_its_addresses() -> None:
    out = in_namespace(
        "netlink.loopback_up()\n"
        "import socket\n"
        "a = socket.create_server(('127.0.0.1', 0)); b = socket.create_connection(a.getsockname())\n"
        "c = socket.create_server(('::1', 0), family=socket.AF_INET6); d = socket.create_connection(c.getsockname()[:2])\n"
        "print('up')"
    )
    assert out == "up\n"


@pytest.mark.kernel
def test_without_routes_nothing_but_loopback_is_reachable() -> None:
    out = in_namespace(
        "netlink.loopback_up()\n"
        "import socket, errno\n"
        "for address in ('1.2.3.4', '198.18.0.5', '169.254.169.254'):\n"
        "    s = socket.socket()\n"
        "    print(errno.errorcode[s.connect_ex((address, 80))])"
    )
    assert set(out.split()) == {"ENETUNREACH"}


@pytest.mark.kernel
def test_local_routes_bring_every_address_to_a_listener_that_sees_the_destination() -> None:
    out = in_namespace(
        "netlink.loopback_up(); netlink.local_default_routes()\n"
        "import socket\n"
        "a = socket.create_server(('0.0.0.0', 443))\n"
        "c = socket.create_connection(('203.0.113.9', 443), 2)\n"
        "print(a.accept()[0].getsockname())\n"
        "b = socket.create_server(('::', 443), family=socket.AF_INET6)\n"
        "c = socket.create_connection(('2001:db8::7', 443), 2)\n"
        "print(b.accept()[0].getsockname()[:2])\n"
    )
    assert out == "('203.0.113.9', 443)\n('2001:db8::7', 443)\n"


@pytest.mark.kernel
def test_a_refusal_of_the_kernel_is_an_oserror() -> None:
    out = in_namespace(
        "netlink.loopback_up(); netlink.local_default_routes()\n"
        "import errno\n"
        "try: netlink.local_default_routes()\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )
    assert out == "EEXIST\n"


def test_the_launch_path_stays_light() -> None:
    program = f"import sys; sys.path.insert(0, {ROOT!r}); import launcher.kernel.netlink; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    heavy = {"socket", "struct", "ctypes", "re", "enum", "typing", "dataclasses", "subprocess"}
    assert not heavy & set(done.stdout.split())
