"""max_io_read and max_io_write: held by the io controller where there is one, refused or reported where there is none."""

from __future__ import annotations

import os

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel

_MIB = 1 << 20
_READ = {"patterns": ["@base/**"], "operations": ["read"]}
_CODE = "import time; began = time.monotonic(); n = len(open('big', 'rb').read()); print(n, time.monotonic() - began)"


def forgotten(host: Host) -> None:
    """A file on a disk that is in no cache."""
    path = host.write("big", os.urandom(8 * _MIB))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def seconds(host: Host, limits: dict[str, str]) -> float:
    forgotten(host)
    host.policy({"py": True, "file": [_READ]}, limits=limits)
    ran = host.python(_CODE)
    assert ran.status == 0, ran
    size, took = ran.out.split()
    assert int(size) == 8 * _MIB
    return float(took)


def test_reading_from_a_disk_is_as_slow_as_said(host: Host) -> None:
    host.policy({"py": True}, limits={"max_io_read": "4MiB"})
    ran = host.python("print('ran')")
    if ran.status:
        assert ran.status == 126, ran
        assert "limits.max_io_read: there is no io control group" in ran.err
        ran = host.python("print('ran')", options=["--allow-degraded"])
        assert [row["permission"] for row in ran.result["unenforced"]] == ["limits.max_io_read"]
        return
    if os.stat(host.workspace).st_dev >> 8 == 0:
        pytest.skip("the workspace is on no disk")
    assert seconds(host, {"max_io_read": "4MiB"}) > 1.5, "8 MiB at 4 MiB a second"
    assert seconds(host, {"max_io_read": "1GiB"}) < 1.5


def test_writing_is_refused_where_it_cannot_be_held(host: Host) -> None:
    """Version 1 counts what is written back later to nobody: it is not said to be enforced there."""
    host.policy({"py": True}, limits={"max_io_write": "4MiB"})
    ran = host.python("print('ran')")
    version_2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    if not version_2:
        assert ran.status == 126, ran
        assert "limits.max_io_write" in ran.err
        assert "version 1 of control groups cannot hold it" in ran.err
    ran = host.python("print('ran')", options=["--allow-degraded"])
    assert ran.out == "ran\n"
    assert version_2 or [row["permission"] for row in ran.result["unenforced"]] == ["limits.max_io_write"]
