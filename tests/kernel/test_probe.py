"""The thorough probe tries everything for real, tells failures by name, and leaves nothing behind."""

from __future__ import annotations

import json
import os

import pytest

from launcher.kernel import probe
from launcher.kernel.features import fast


def text(path: str) -> str:
    with open(path) as file:
        return file.read()


@pytest.mark.kernel
def test_it_confirms_what_the_fast_probe_guesses_here() -> None:
    report = probe.full()
    guess = fast()
    for name in ("user_namespaces", "net_namespaces", "mount_api", "overlayfs", "landlock", "seccomp", "controllers"):
        assert getattr(report.features, name) == getattr(guess, name), (name, report.trials)
    json.dumps(report.to_data())


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_plain_user_finds_the_same_but_what_is_roots() -> None:
    def look(found: dict[str, str]) -> None:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        found.update({name: why for name, why in probe.full().trials.items() if why})

    assert set(probe._in_child(look)) == {"idmapped_mounts"}


@pytest.mark.kernel
def test_nothing_is_left_behind() -> None:
    mounts, groups = text("/proc/self/mountinfo"), [os.listdir(place) for place in fast().controllers.values()]
    descriptors = os.listdir("/proc/self/fd")
    probe.full()
    assert text("/proc/self/mountinfo") == mounts
    assert [os.listdir(place) for place in fast().controllers.values()] == groups
    assert os.listdir("/proc/self/fd") == descriptors
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_trial_that_dies_is_told_from_one_that_works() -> None:
    def half(found: dict[str, str]) -> None:
        found["first"] = ""
        raise OSError(5, "on purpose")

    assert probe._in_child(half) == {"first": ""}


def test_a_failure_carries_the_kernels_words() -> None:
    found: dict[str, str] = {}
    assert not probe._attempt(found, "step", lambda: os.mkdir("/proc/nothing"))
    assert "(ENOENT)" in found["step"] or "(EPERM)" in found["step"]
    assert probe._attempt(found, "other", lambda: None)
    assert found["other"] == ""


def test_missing_steps_are_missing_features() -> None:
    guess = fast().replaced(controllers={"memory": "/a", "pids": "/b"}, cgroup=1)
    trials = {"cgroup_memory": "Permission denied (EACCES)", "cgroup_pids": "", "idmapped_mounts": "no"}
    corrected = probe._corrected(guess, trials)
    assert corrected.controllers == {"pids": "/b"}
    for name in ("user_namespaces", "mount_api", "overlayfs", "seccomp", "idmapped_mounts", "net_namespaces"):
        assert getattr(corrected, name) is False, name
    assert corrected.landlock == 0


@pytest.mark.parametrize(
    ("row", "count"), [("me:1:65536\n", 0), ("{uid}:1:65536\n{uid}:9:4\n", 65540), ("{uid}:x\n", 0)]
)
def test_subordinate_ids_are_those_of_the_caller(tmp_path: object, row: str, count: int) -> None:
    path = f"{tmp_path}/subuid"
    with open(path, "w") as file:
        file.write(row.format(uid=os.geteuid()))
    assert probe._subordinate(path) == count
    assert probe._subordinate(f"{tmp_path}/absent") == 0
