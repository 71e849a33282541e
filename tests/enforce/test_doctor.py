"""doctor: every gap has its price and its remedy, and says the same as a launch would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from launcher.compile.requirements import DEGRADE, REFUSE, ROWS
from launcher.enforce import doctor
from launcher.enforce.doctor import DEGRADED, MISSING, NOTE, OK, diagnose, verdict
from launcher.kernel.probe import Report, full
from tests.compile.hosts import DEBIAN_ROOT, DEBIAN_USER

if TYPE_CHECKING:
    from launcher.kernel.features import Features

TRIALS = (
    "user_namespace", "id_map", "mount_namespace", "pid_namespace", "net_namespace", "ipc_namespace", "uts_namespace",
    "cgroup_namespace", "tmpfs", "overlay", "proc", "no_new_privs", "seccomp", "landlock", "idmapped_mounts",
)  # fmt: skip
FACTS = {
    "kernel": "6.12", "machine": "x86_64", "lsm": "landlock", "subuids": 65536, "subgids": 65536, "newuidmap": True,
    "audit": "on", "docker": "/run/docker.sock",
}  # fmt: skip
REFUSED = "Operation not permitted (EPERM)"


def report(features: Features = DEBIAN_ROOT, failed: tuple[str, ...] = (), **facts: Any) -> Report:
    trials = {name: REFUSED if name in failed else "" for name in TRIALS}
    host = {"landlock": 7, "tmpfs_xattr": True, **facts.pop("f", {})}
    return Report(features.replaced(**host), trials, {**FACTS, **facts})


def states(found: Report) -> dict[str, str]:
    return {diagnosis.name: diagnosis.state for diagnosis in diagnose(found) if diagnosis.state != OK}


def remedy(found: Report, name: str) -> str:
    return next(diagnosis.remedy for diagnosis in diagnose(found) if diagnosis.name == name)


def test_a_host_that_has_everything() -> None:
    found = diagnose(report())
    assert verdict(found) == OK
    assert all(not (diagnosis.cost or diagnosis.remedy or diagnosis.attacks) for diagnosis in found)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (report(failed=("user_namespace",)), {"user_namespaces": MISSING}),
        (report(failed=("pid_namespace",)), {"namespaces": MISSING}),
        (report(failed=("tmpfs",)), {"mount_api": MISSING}),
        (report(failed=("proc",)), {"proc": MISSING}),
        (report(failed=("overlay",)), {"overlayfs": DEGRADED}),
        (report(failed=("seccomp",)), {"seccomp": DEGRADED}),
        (report(failed=("landlock",)), {"landlock": DEGRADED}),
        (report(f={"seccomp_notify": False}), {"seccomp_notify": DEGRADED}),
        (report(f={"landlock": 2}), {"landlock_truncate": NOTE}),
        (report(f={"controllers": {}}), {"cgroup_memory": DEGRADED, "cgroup_cpu": DEGRADED, "cgroup_pids": NOTE}),
        (report(failed=("idmapped_mounts",)), {"idmapped_mounts": NOTE}),
        (report(DEBIAN_USER, failed=("idmapped_mounts",)), {}),
        (report(f={"tmpfs_xattr": False}), {"tmpfs_xattr": NOTE}),
        (report(DEBIAN_USER, subuids=0), {"subordinate_ids": NOTE}),
        (report(DEBIAN_USER, newuidmap=False), {"subordinate_ids": NOTE}),
        (report(subuids=0, newuidmap=False), {}),
        (report(audit="off"), {"audit": NOTE}),
        (report(docker=""), {"docker": NOTE}),
    ],
)
def test_each_gap_has_its_state(made: Report, expected: dict[str, str]) -> None:
    assert states(made) == expected
    worst = MISSING if MISSING in expected.values() else DEGRADED if DEGRADED in expected.values() else OK
    assert verdict(diagnose(made)) == worst


def test_every_gap_says_what_is_lost_and_how_to_get_it() -> None:
    nothing = Report(
        DEBIAN_USER.replaced(landlock=0, seccomp_notify=False, tmpfs_xattr=False, controllers={}),
        dict.fromkeys(TRIALS, REFUSED),
        {**FACTS, "subuids": 0, "newuidmap": False, "audit": "unknown", "docker": ""},
    )
    for diagnosis in diagnose(nothing):
        if diagnosis.state != OK:
            assert diagnosis.cost, diagnosis.name
            assert diagnosis.remedy, diagnosis.name
            assert diagnosis.found, diagnosis.name
    assert {diagnosis.name for diagnosis in diagnose(nothing) if diagnosis.state == OK} == {"idmapped_mounts"}


def test_the_kernels_words_are_kept() -> None:
    found = next(d for d in diagnose(report(failed=("pid_namespace",))) if d.name == "namespaces")
    assert found.found == f"pid namespace: {REFUSED}"


def test_what_was_not_reached_is_no_success() -> None:
    made = Report(DEBIAN_ROOT, {"user_namespace": REFUSED}, FACTS)
    assert states(made)["mount_api"] == MISSING
    assert states(made)["landlock"] == DEGRADED


@pytest.mark.parametrize(
    ("features", "word"),
    [
        (DEBIAN_USER.replaced(apparmor_userns=True), "AppArmor"),
        (DEBIAN_ROOT.replaced(container="docker"), "--security-opt"),
        (DEBIAN_USER, "sysctl"),
    ],
)
def test_the_remedy_fits_the_cause(features: Features, word: str) -> None:
    assert word in remedy(report(features, failed=("user_namespace",)), "user_namespaces")


def test_cgroups_of_a_user_a_container_and_root() -> None:
    def text(features: Features) -> str:
        return remedy(report(features, f={"controllers": {}}), "cgroup_memory")

    assert "systemd-run --user" in text(DEBIAN_USER)
    assert "container" in text(DEBIAN_USER.replaced(container="docker"))
    assert "/sys/fs/cgroup" in text(DEBIAN_ROOT)


def test_a_launch_and_the_doctor_agree() -> None:
    # requirement of a launch -> row of the doctor
    same = {
        "sandbox.user_namespaces": "user_namespaces", "sandbox.mount_api": "mount_api",
        "sandbox.net_namespaces": "namespaces", "sandbox.seccomp": "seccomp", "sandbox.landlock": "landlock",
        "files.staged": "overlayfs", "commands.refuse": "seccomp_notify", "commands.arguments": "seccomp",
        "sandbox.only_landlock": "landlock", "limits.max_disk": "user_namespaces",
        "limits.max_io_read": "", "limits.max_io_write": "",  # the doctor looks at no io controller
        "limits.max_jobs": "",  # no feature of a host
        "limits.max_memory": "cgroup_memory", "limits.cpus": "cgroup_cpu", "limits.max_cpu_time": "cgroup_cpu",
    }  # fmt: skip
    assert set(same) == {row.permission for row in ROWS}
    rows = {row.name: row for row in doctor.ROWS}
    for requirement in ROWS:
        if not same[requirement.permission]:
            continue
        if requirement.severity == DEGRADE:
            assert set(requirement.attacks) <= set(rows[same[requirement.permission]].attacks), requirement.permission
        else:
            assert requirement.severity == REFUSE


def test_names_are_unique_and_data_is_plain() -> None:
    names = [row.name for row in doctor.ROWS]
    assert len(set(names)) == len(names)
    json.dumps([diagnosis.to_data() for diagnosis in diagnose(report())])


@pytest.mark.kernel
def test_this_host_can_be_diagnosed() -> None:
    found = diagnose(full())
    assert len(found) == len(doctor.ROWS)
    assert verdict(found) in (OK, DEGRADED, MISSING)
