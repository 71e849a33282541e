"""Agreement (design section 6): whatever the policy and the operation, the process's verdict is the kernel's.

Native code makes random operations in real launches, where no in-process check takes part; `Permissions.decide` is
asked about each. The kernel's verdict on a staged write is what the host has after the commit. Never "process denies,
kernel allows" (a hole); never "process allows, kernel denies" (a broken job), but for the differences of
docs/explanation/agreement.md.

    MLSANDBOX_SEED=N             repeats a run: every policy of a run has its own seed, from N upwards
    MLSANDBOX_AGREEMENT=PxO      P policies by O operations for each caller; script/test --full runs 100x100
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter

import pytest

from tests.agreement.generator import KINDS
from tests.agreement.trial import HOLE, Difference, Trial, prepare
from tests.attack.weak import WeakHost
from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
SEED = int(os.environ.get("MLSANDBOX_SEED") or random.SystemRandom().randrange(1 << 32))
POLICIES, OPERATIONS = map(int, os.environ.get("MLSANDBOX_AGREEMENT", "10x100").split("x"))
FULL = (100, 100)
OTHER = 1 << 32  # the ordinary user's policies are others than root's
EACH = 200  # cases of each mechanism in each direction, in the full form
NEAR, ENOUGH = 0.4, 5000  # of all operations; of fewer than that a part may be anything
# what holds it -> (what is taken out with it, operations that would show it, the direction of the difference)
SWITCHES = {
    "narrow mounts": ("narrow_mounts,landlock", KINDS, HOLE),
    "Landlock": ("landlock", KINDS, HOLE),
    "seccomp": ("seccomp", {"connect": 1, "read": 1}, HOLE),
    "exec check": ("exec_check", {"exec": 1}, HOLE),
    "judge of the commit": ("judge", KINDS, HOLE),
}
TRIES = 40
OTHERS = ("user", "root")  # on each push a mechanism is switched off for one caller, in turn


class Run:
    """The sums of many trials."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.counts: Counter[tuple[str, bool]] = Counter()
        self.documented: Counter[str] = Counter()
        self.near = 0

    def add(self, trial: Trial) -> None:
        self.differences += trial.differences
        self.counts.update(trial.counts)
        self.documented.update(trial.documented)
        self.near += trial.near

    def __str__(self) -> str:
        rows = [
            f"{mechanism}: {word} {count}"
            for (mechanism, allowed), count in sorted(self.counts.items())
            for word in ["allowed" if allowed else "denied"]
        ]
        total = sum(self.counts.values())
        return f"{total} operations, {self.near} near misses; {', '.join(rows)}; documented differences: {dict(self.documented)}"


def trials(host: Host, policies: int, operations: int) -> Run:
    prepare(host)
    print(f"MLSANDBOX_SEED={SEED}")
    run = Run()
    first = SEED if host.who == "root" else SEED + OTHER
    for seed in range(first, first + policies):
        run.add(Trial(host, seed, operations).run())
    print(f"{host.who}: {policies} policies, {run}")
    return run


def check(run: Run) -> None:
    assert run.differences == [], f"MLSANDBOX_SEED={SEED}: {len(run.differences)}, first {run.differences[:5]}"
    total = sum(run.counts.values())
    assert run.near >= total * (NEAR if total >= ENOUGH else NEAR * 0.7), f"MLSANDBOX_SEED={SEED}: {run}"


@pytest.mark.timeout(7200)
def test_the_process_and_the_kernel_agree(host: Host) -> None:
    check(trials(host, POLICIES, OPERATIONS))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_process_and_the_kernel_agree_in_the_full_form(host: Host) -> None:
    run = trials(host, *FULL)
    check(run)
    few = {}
    for mechanism in ("read", "write", "live", "exec"):
        for allowed in (True, False):
            count = sum(
                n for (name, verdict), n in run.counts.items() if name.startswith(mechanism) and verdict == allowed
            )
            few.update({(mechanism, allowed): count} if count < EACH else {})
    assert few == {}, f"MLSANDBOX_SEED={SEED}"


@pytest.mark.parametrize(
    "mechanism", [pytest.param(name, marks=pytest.mark.full_as(OTHERS[at % 2])) for at, name in enumerate(SWITCHES)]
)
def test_without_a_mechanism_they_differ(host: Host, mechanism: str) -> None:
    """So a mechanism that was lost would be seen."""
    without, kinds, direction = SWITCHES[mechanism]
    weak = WeakHost(host, without)
    prepare(weak)
    for seed in range(TRIES):
        found = Trial(weak, seed, 60, kinds).run().differences
        if any(difference.direction == direction for difference in found):
            return
    pytest.fail(f"nothing differs without the {mechanism}")


def test_the_probe_tells_what_the_kernel_says(host: Host) -> None:
    """Outside a sandbox everything works: so what fails inside was refused, and not the probe's own error."""
    prepare(host)
    trial = Trial(host, 1, 100)
    trial._make_tree()
    try:
        ran = subprocess.run([f"{host.workspace}/.probe"], input=trial._lines(), capture_output=True, check=True)
        failed = [line for line in ran.stdout.decode().splitlines() if line.split()[1] not in {"0", "list"}]
        assert failed == []
    finally:
        for listener in trial._sockets:
            listener.close()
