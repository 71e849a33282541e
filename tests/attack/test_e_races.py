"""Races against the check of an exec (attacks 54 and 17, kernel-facts 4 and 35), by native code.

Whoever writes to the arguments, and whenever: a thread, the parent of a vfork, a shared page, /proc/PID/mem,
process_vm_writev, a child that is not traced. No argument list that is refused runs; with the mechanism taken out at
least one does. `script/test --full` makes 100,000 flips in all and prints what became of them; MLSANDBOX_FLIPS says another number for one way.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.attack.report import HERE
from tests.attack.weak import WeakHost
from tests.sandboxed import Host

FLIPPER = f"{HERE}/probes/flipper.c"
ECHO = '#include <stdio.h>\nint main(int c, char **v) { puts(c > 1 ? v[1] : ""); return 0; }\n'
# the way of writing -> what holds it; taken out, an "evil" argument runs
WAYS = {
    "thread": "exec_check", "page": "exec_check", "vfork": "exec_check",
    "untraced": "seccomp", "mem": "landlock", "writev": "memory_calls",
}  # fmt: skip
FLIPS = int(os.environ.get("MLSANDBOX_FLIPS", "40"))
FULL = 100_000 // (len(WAYS) * (2 if os.geteuid() == 0 else 1)) + 1
TRIES = 20  # a race is one of chance


def compiled(host: Host, name: str, source: str) -> str:
    """A static program in the workspace's tool/."""
    path = host.write(f"tool/{name}", b"", 0o755)
    subprocess.run(["gcc", "-O1", "-static", "-pthread", "-o", path, source], check=True, capture_output=True)
    os.chmod(path, 0o755)
    return path


def race(host: Host, way: str, flips: int, seconds: int) -> None:
    flipper = compiled(host, "flipper", FLIPPER)
    program = compiled(host, "echo", host.write("tool/echo.c", ECHO))
    host.policy({"cmd": [f"{flipper}:*", f"{program} good"]})
    ran = host.launch(flipper, way, str(flips), program, timeout=seconds)
    assert ran.status == 0, ran
    assert "evil" not in ran.out, ran.err
    print(f"{host.who}: {next(line for line in ran.err.splitlines() if line.startswith('way '))}")
    if way == "untraced":
        assert f"ran 0 refused {flips}" in ran.err, ran
    weak = WeakHost(host, WAYS[way])
    for _ in range(TRIES):  # that the race can be won at all must be seen
        if "evil" in weak.launch(flipper, way, str(FLIPS), program, timeout=110).out:
            return
    pytest.fail("the race itself does not work, so nothing was shown")


@pytest.mark.parametrize("way", WAYS)
def test_e54_no_refused_arguments_run_whoever_writes_them(host: Host, way: str) -> None:
    race(host, way, FLIPS, 110)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", WAYS)
def test_e54_a_hundred_thousand_flips_in_all(host: Host, way: str) -> None:
    race(host, way, FULL, 1700)
