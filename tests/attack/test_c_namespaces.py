"""Attacks 34 to 40: namespaces and mounts."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.attack.report import CAPABILITIES, Report, program
from tests.sandboxed import Host

PROBE = "namespaces"


def test_c34_new_namespaces(report: Report) -> None:
    report.all("c34", "EPERM", "ENOSYS")
    report.all("c34b", "ENOSYS")


def test_c35_mounting(report: Report) -> None:
    report.all("c35", "EPERM")


def test_c36_undoing_a_mask_or_the_root(report: Report) -> None:
    report.all("c36", "EPERM")


def test_c37_the_new_mount_interface(report: Report) -> None:
    report.all("c37", "EPERM", "ENOSYS")


def test_c38_entering_namespaces(report: Report) -> None:
    report.all("c38.setns_own", "EPERM")
    report.all("c38", "EPERM", "EACCES")


def test_c39_mounts_do_not_propagate(report: Report) -> None:
    report.all("c39", "private")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting on the host needs root")
def test_c39_a_later_mount_of_the_host_is_not_seen(attacked: Host) -> None:
    """In a mount namespace with shared propagation, as a host that mounts a disk below a granted tree."""
    attacked.policy(CAPABILITIES)
    job = "import os, sys; print('up', flush=True); sys.stdin.readline(); print(sorted(os.listdir('in')))"
    script = (
        "import os, subprocess, sys\n"
        "words = eval(sys.argv[1]); user, group = int(sys.argv[2]), int(sys.argv[3])\n"
        "switch = {} if user == 0 else {'user': user, 'group': group, 'extra_groups': []}\n"
        "job = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **switch)\n"
        "assert job.stdout.readline() == b'up\\n'\n"
        "subprocess.run(['mount', '-t', 'tmpfs', 'x', 'in'], check=True)\n"
        "open('in/late', 'w').close()\n"
        "print(job.communicate(b'go\\n')[0].decode())"
    )
    words = attacked.command("launch", "--", "python3", "-I", "-c", job)
    ran = subprocess.run(
        ["unshare", "--mount", "--propagation", "shared", "/usr/bin/python3", "-c", script, repr(words), str(attacked.uid), str(attacked.gid)],
        cwd=attacked.workspace, env=attacked.drop()["env"], capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert b"'plain.txt'" in ran.stdout, ran
    assert b"late" not in ran.stdout, ran


def test_c40_host_name(report: Report) -> None:
    report.all("c40", "EPERM", "EACCES", "EROFS")


def test_c40b_the_job_is_never_host_root(report: Report, attacked: Host) -> None:
    for name in ("uid_map", "gid_map"):
        inside, outside, count = report[f"c40b.{name}"].split()
        assert (count, inside) == ("1", outside)
        assert outside != "0"
    assert report["c40c.setgroups"] == "deny"
    if attacked.who == "user":
        assert report["c40b.uid_map"].split()[1] == str(attacked.uid)


def test_d41_core_pattern(report: Report) -> None:
    report.all("d41", "EACCES", "EROFS")


def test_d42_system_settings(report: Report) -> None:
    report.all("d42", "EACCES", "EROFS", "ENOENT")


def test_d43_masked_files(report: Report) -> None:
    report.all("d43", "empty", "ENOENT")
    report.all("d43b", "null device", "EACCES", "ENOENT")
    report.all("d43c", "EPERM")
    report.all("d43d", "EROFS", "EACCES", "ENOENT")


def test_d44_null_is_the_null_device(report: Report) -> None:
    report.all("d44", "null device")


def test_d45_control_groups(report: Report) -> None:
    report.all("d45", "ENOENT", "absent")


def test_d46_sys_is_absent(report: Report) -> None:
    report.all("d46", "ENOENT")


def test_d47_own_files_of_proc(report: Report) -> None:
    report.all("d47", "EACCES", "EPERM", "EROFS", "ENOENT")


def test_d48_other_processes_are_not_seen(report: Report) -> None:
    report.all("d48", "own", "none")


def test_d44_a_device_that_is_not_the_device(attacked: Host) -> None:
    """CVE-2025-31133: /dev/null replaced by a link or a file on the host; a launch over it is refused."""
    if attacked.who != "root":
        pytest.skip("replacing a device needs root")
    attacked.policy(CAPABILITIES)
    for replace in (
        "ln -sf /etc/passwd /dev/null",
        "rm /dev/null; touch /dev/null",
        "rm /dev/null; mknod -m 666 /dev/null c 1 5",
    ):
        script = f'mount -t tmpfs x /dev -o mode=755; for d in zero:5 full:7 random:8 urandom:9; do mknod -m 666 /dev/${{d%:*}} c 1 ${{d#*:}}; done; mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/tty c 5 0; {replace}; exec "$@"'
        ran = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *attacked.command("launch", "--", *program(PROBE, "d44"))],
            cwd=attacked.workspace, capture_output=True, check=False, timeout=60, stdin=subprocess.PIPE,
        )  # fmt: skip
        assert ran.returncode == 125 and b"/dev/null" in ran.stderr, (replace, ran)
