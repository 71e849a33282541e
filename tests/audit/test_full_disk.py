"""A disk that is full, read-only or limited: the append is refused, and what is there stays whole."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from launcher.audit.log import AuditLog
from launcher.audit.verify import verify
from launcher.errors import AuditError

if TYPE_CHECKING:
    from launcher.audit.files import AuditFiles

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# In a mount namespace of its own: $1 is a directory to mount a small tmpfs on. Prints the errors it met.
IN_NAMESPACE = f"""
import os, sys
sys.path.insert(0, {ROOT!r})
from launcher.audit.event import event
from launcher.audit.files import AuditFiles
from launcher.audit.log import AuditLog
from launcher.audit.verify import verify
from launcher.errors import AuditError
where = sys.argv[1]
files = AuditFiles(where + "/log/audit.jsonl", where + "/state/audit.head", system=False)
log = AuditLog.at(files)
item = event("access", "runtime", "DENIED", resource="x" * 3000)
def fill():
    for count in range(1000):
        try:
            log.append([item])
        except AuditError as error:
            return count, error
count, error = fill()
print("full", count > 10, error.message.split(": ")[-1], "|", error.hint[:10])
with open(files.log, "rb") as stream:
    stream.seek(-1, 2)
    print("whole", stream.read() == b"\\n")
os.unlink(where + "/ballast")
print("again", log.append([item]).seq == count + 1)
result = verify(files)
print("verified", result.ok, result.events == count + 1, result.notes)
"""
READ_ONLY = """
try:
    AuditLog.at(files).append([item])
except AuditError as error:
    print("read-only", error.message.split(": ")[-1])
"""


def in_namespace(directory: str, *scripts: tuple[str, str]) -> str:
    """Run shell `set-up` and Python scripts in one new mount namespace. Skips where the host allows none."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    if subprocess.run(["unshare", "--mount", *user, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this host allows no mount namespace")
    steps = [
        f'{setup} && {sys.executable} -I -S -c "$S{number}" {directory}' for number, (setup, _) in enumerate(scripts)
    ]
    environment = {**os.environ, **{f"S{number}": script for number, (_, script) in enumerate(scripts)}}
    command = ["unshare", "--mount", *user, "--propagation", "private", "sh", "-ec", "\n".join(steps)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.kernel
def test_a_full_disk_and_a_read_only_one(tmp_path: object) -> None:
    directory = str(tmp_path)
    fill = f"mount -t tmpfs -o size=256k,mode=0700 none {directory} && head -c 64k /dev/zero > {directory}/ballast"
    later = IN_NAMESPACE.split("def fill", maxsplit=1)[0] + READ_ONLY
    printed = in_namespace(
        directory, (fill, IN_NAMESPACE), (f"mount -o remount,bind,ro {directory}", later)
    ).splitlines()
    assert printed == [
        "full True No space left on device (errno 28) | free space",
        "whole True",
        "again True",
        "verified True True []",
        "read-only Read-only file system (errno 30)",
    ]


def test_a_file_size_limit_is_no_half_line(files: AuditFiles, denial: dict[str, Any]) -> None:
    """RLIMIT_FSIZE lets a part of the write through, then EFBIG: the worst case of a short write."""
    log = AuditLog.at(files)
    log.append([denial])
    before = os.stat(files.log).st_size
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 100, old_limit[1]))
    try:
        with pytest.raises(AuditError, match="File too large") as caught:
            log.append([denial])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert "rotate" in caught.value.hint
    assert os.stat(files.log).st_size == before
    log.append([denial])
    assert (verify(files).ok, verify(files).events) == (True, 2)
