"""A chosen part of the suite on a real host of cgroup v2 and systemd, as root and as alice (`script/test --vm`).

Each test here is one run of pytest inside; what it printed is shown with `-s`, and where it failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.vm.vm import HERE, Machine, build_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.vm import Answer

# twice the slowest that was seen on two processors under a load of 30: the image, the boot, the longest run inside
pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

TREE = os.environ.get("MLSANDBOX_VM_TREE", "/opt/mlsandbox-vm")
LIMITS = "tests/vm/inside/test_cgroup_v2.py"
LAUNCH = "tests/enforce/namespace/test_launch.py"
# attacks by one launch of a probe each, and staged writes
PROOF = (
    "tests/attack/test_a_files.py", "tests/attack/test_c_namespaces.py", "tests/enforce/namespace/test_staged_writes.py",
)  # fmt: skip


@pytest.fixture(scope="module")
def tree() -> str:
    """The part of this checkout that goes in, and the disk. A machine without the means fails: it was asked for."""
    if os.geteuid() != 0 or not shutil.which("qemu-system-x86_64"):
        pytest.fail("the test machine is built by root, with the packages of: script/setup --vm")
    subprocess.run([f"{HERE}/tree.sh", TREE], check=True, capture_output=True)
    print(build_image() or "image: as it was")
    return TREE


@pytest.fixture(scope="module")
def debian(tree: str) -> Iterator[Machine]:
    """Linux 6.12: Landlock ABI 6."""
    with booted("6.12", tree) as machine:
        yield machine


@pytest.fixture(scope="module")
def old(tree: str) -> Iterator[Machine]:
    """Linux 6.1, Debian 12's own: Landlock ABI 2, no user attributes on tmpfs."""
    with booted("6.1", tree) as machine:
        yield machine


def booted(version: str, tree: str) -> Machine:
    machine = Machine(version, tree)
    print(f"Linux {machine.kernel} answered after {machine.boot_seconds:.0f} s, load {os.getloadavg()[0]:.0f}")
    return machine


def run_tests(machine: Machine, *arguments: str, user: str = "root") -> Answer:
    """pytest inside, in a login session of `user`; it must pass."""
    command = [
        "env", f"PYTHONPATH={TREE}/checkout:{TREE}/site", f"MLSANDBOX_TEST_PREFIX={TREE}/prefix",
        "PYTHONDONTWRITEBYTECODE=1", "MLSANDBOX_TEST_PATIENCE=5", "sh", "-c", 'cd "$0" && exec "$@"', f"{TREE}/checkout",
        "python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600", *arguments,
    ]  # fmt: skip
    answer = machine.run(*command, user=user, timeout=900, session=True)
    print(answer)
    assert answer.status == 0, answer
    return answer


# -- the short form, which CI runs: script/test --vm -k short


@pytest.mark.parametrize("user", ["root", "alice"])
def test_short_limits(debian: Machine, user: str) -> None:
    run_tests(debian, LIMITS, user=user)


@pytest.mark.parametrize("user", ["root", "alice"])
def test_short_attacks_and_staged_writes(debian: Machine, user: str) -> None:
    run_tests(debian, *PROOF, user=user)


# -- the rest


def test_launches_as_root_and_as_somebody_without_a_session(debian: Machine) -> None:
    run_tests(debian, LAUNCH)


def test_launches_as_alice(debian: Machine) -> None:
    run_tests(debian, LAUNCH, user="alice")


@pytest.mark.parametrize("user", ["root", "alice"])
def test_limits_on_an_old_kernel(old: Machine, user: str) -> None:
    run_tests(old, LIMITS, user=user)
