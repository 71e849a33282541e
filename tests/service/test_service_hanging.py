"""A file system of one tenant that answers nothing (his FUSE daemon is stopped, his NFS server gone) is his alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.serving import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="the service is root's, and hangs on FUSE"
    ),
]
# Becomes the service in a mount namespace of its own, where the file system of descriptor argv[1] is at argv[2].
HANGING = """
import os, sys
from launcher.kernel import abi, libc
libc.unshare(abi.CLONE_NEWNS)
libc.mount("none", "/", "none", abi.MS_REC | abi.MS_PRIVATE)
number, target, *command = sys.argv[1:]
libc.mount("hanging", target, "fuse", 0, f"fd={number},rootmode=40000,user_id=0,group_id=0,allow_other")
os.close(int(number))
os.execv(command[0], command)
"""


@pytest.fixture
def hanging(installation: str) -> Iterator[tuple[Bed, int]]:
    """A service that sees a hanging file system in alice's workspace, and the descriptor that would answer for it."""
    bed = Bed(installation)
    bed.policy({"cmd": ["true"], "file": [{"patterns": ["@base/**"], "operations": ["read"]}]})
    place = f"{bed.workspace(bed.alice)}/mnt"
    os.mkdir(place)
    connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    bed.start(sys.executable, "-c", HANGING, str(connection), place, pass_fds=(connection,))
    yield bed, connection
    try:
        os.close(connection)
    except OSError:  # the test has closed it
        pass
    print(bed.log())
    bed.remove()


def test_a_hanging_file_system_stalls_its_tenant_alone(hanging: tuple[Bed, int]) -> None:
    """Attack: a tenant stops the daemon of his own file system, and has the service look at it in every way."""
    bed, connection = hanging
    assert bed.run(bed.bob, "launch", "--", "true").returncode == 0
    place = f"{bed.workspace(bed.alice)}/mnt"
    alices = [
        subprocess.Popen(
            bed.command(verb, "--workspace", workspace, "--", "true"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **bed.drop(bed.alice),
        )
        for verb in ("launch", "check", "submit")
        for workspace in (place, bed.workspace(bed.alice))
    ]  # fmt: skip
    time.sleep(1.0)
    assert alices[0].poll() is None, "it hangs for her"
    for verb in ("launch", "check", "explain", "launch"):
        began = time.monotonic()
        assert bed.run(bed.bob, verb, "--", "true", timeout=20).returncode == 0
        assert time.monotonic() - began < 10
    assert bed.run(bed.bob, "submit", "--wait", "--", "true", timeout=30).returncode == 0
    assert alices[0].poll() is None
    os.close(connection)  # the daemon is gone: what waited for it has an error
    for process in alices:
        process.wait(30)
    assert alices[0].returncode != 0
    assert bed.run(bed.alice, "launch", "--workspace", "/tmp", "--", "true").returncode == 0
